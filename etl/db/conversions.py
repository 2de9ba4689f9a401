"""Stored values as values of another column type: SQL that never fails.

Only numbers and texts are converted, where the meaning stays the same. Any other value becomes
null, because what it means depends on the declaration by which it was read.
"""

from __future__ import annotations

import re

_TEXTS = frozenset({"text", "character varying", "character"})
_INTEGERS = {"smallint": 15, "integer": 31, "bigint": 63}  # bits
_FLOATS = {"real": "1e37", "double precision": "1e300"}
_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
_LENGTH = re.compile(r"\((\d+)\)")
_PLAIN_NUMBER = "^[+-]?[0-9]{1,99}([.][0-9]{1,99})?$"


def converted(value: str, stored: str, wanted: str, *, is_plain: bool = True) -> str | None:
    """The SQL of a value of type `stored` as type `wanted`, both as format_type shows them.

    A value that does not fit becomes null; None if no value of the type does. `is_plain`: texts are
    numbers in the notation of SQL.
    """
    source, target = stored.partition("(")[0], wanted.partition("(")[0]
    if target in _TEXTS:
        text, length = f"CAST({value} AS text)", _LENGTH.search(wanted)
        if length is None:
            return f"CAST({text} AS {wanted})"
        return f"CASE WHEN char_length({text}) <= {length[1]} THEN CAST({text} AS {wanted}) END"
    if source in _INTEGERS or source in _FLOATS or source == "numeric":
        return _number(f"CAST({value} AS numeric)", target, wanted)
    if source in _TEXTS and is_plain:
        number = f"CASE WHEN {value} ~ '{_PLAIN_NUMBER}' THEN CAST({value} AS numeric) END"
        return _number(f"({number})", target, wanted)
    return None


def _number(number: str, target: str, wanted: str) -> str | None:
    if target in _INTEGERS:
        bound = 1 << _INTEGERS[target]
        fits = f"{number} BETWEEN -{bound} AND {bound - 1} AND {number} = trunc({number})"
    elif target in _FLOATS:
        fits = f"abs({number}) < {_FLOATS[target]}"
    elif target == "numeric":
        fits = "true"
        if limits := _NUMERIC.fullmatch(wanted):
            precision, scale = int(limits[1]), int(limits[2])
            most = f"CAST('1e{precision - scale}' AS numeric)"
            fits = f"{number} = round({number}, {scale}) AND abs({number}) < {most}"
    else:
        return None
    return f"CASE WHEN {fits} THEN CAST({number} AS {wanted}) END"
