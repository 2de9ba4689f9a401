"""Constraints of a field: bounds, lengths, pattern, enumeration."""

from __future__ import annotations

import re
import warnings
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.dataset import FieldType
from etl.model.values import ProblemCode
from etl.read.types.column import TEXT, Fault, mask_of, matches

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from numpy.typing import NDArray

    from etl.model.dataset import Field
    from etl.read.types.column import Parsed

    Check = tuple[NDArray[np.bool_], ProblemCode, Callable[[str], str]]

_MOST_SHOWN = 20
_ITEMS = frozenset({FieldType.OBJECT, FieldType.ARRAY})


def check_constraints(parsed: Parsed, texts: pa.Array, field: Field) -> list[Fault]:
    """The faults of valid values that break a constraint.

    Bounds of epoch-ms are part of its type.
    """
    checks = [*_bounds(parsed, field), *_lengths(parsed, field), *_pattern(texts, field)]
    if field.constraints.enum is not None:
        checks.append(_enum(parsed, texts, field, field.constraints.enum))
    found = [(rows & parsed.is_valid, code, note) for rows, code, note in checks]
    return [Fault(rows, code, note) for rows, code, note in found if rows.any()]


def pattern_error(pattern: str) -> str | None:
    """Why a pattern cannot be used, or None.

    It must be valid RE2, with which columns are checked, and valid for Python's `re`, with which
    they are verified.
    """
    try:
        # Alone, because in the group that anchors it `a)(b` would be valid.
        pc.match_substring_regex(pa.array([""], TEXT), pattern)
        matches(pa.array([""], TEXT), pattern)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern, re.ASCII)
    except (pa.ArrowInvalid, re.error, FutureWarning) as error:
        return str(error)
    return None


def _bounds(parsed: Parsed, field: Field) -> Iterator[Check]:
    if parsed.compare is None:
        return
    limits = field.constraints
    reported: dict[ProblemCode, NDArray[np.bool_]] = {}
    for bound, is_wrong, code, words in (
        (limits.minimum, np.less, ProblemCode.BELOW_MINIMUM, "at least"),
        (limits.exclusive_minimum, np.less_equal, ProblemCode.BELOW_MINIMUM, "greater than"),
        (limits.maximum, np.greater, ProblemCode.ABOVE_MAXIMUM, "at most"),
        (limits.exclusive_maximum, np.greater_equal, ProblemCode.ABOVE_MAXIMUM, "less than"),
    ):
        if bound is not None:
            rows = is_wrong(parsed.compare(bound), 0)
            rows &= ~reported.get(code, np.zeros(len(rows), np.bool_))  # one problem per code
            reported[code] = rows
            yield rows, code, _say(f"{field.name} must be {words} {bound}.")


def _lengths(parsed: Parsed, field: Field) -> Iterator[Check]:
    least, most = field.constraints.min_length, field.constraints.max_length
    if parsed.lengths is None or (least is None and most is None):
        return
    lengths = parsed.lengths()
    unit = "items" if field.type in _ITEMS else "characters"
    if least is not None:
        rows = lengths < least
        yield rows, ProblemCode.TOO_SHORT, _say(f"{field.name} must have {least} {unit} or more.")
    if most is not None:
        rows = lengths > most
        yield rows, ProblemCode.TOO_LONG, _say(f"{field.name} must have {most} {unit} or fewer.")


def _say(note: str) -> Callable[[str], str]:
    return lambda _: note


def _pattern(texts: pa.Array, field: Field) -> Iterator[Check]:
    pattern = field.constraints.pattern
    if pattern is not None:
        yield (
            ~matches(texts, pattern),
            ProblemCode.PATTERN_MISMATCH,
            lambda value: _pattern_note(value, field.name, pattern),
        )


def _pattern_note(value: str, name: str, pattern: str) -> str:
    """The hint for a value that does not match. RE2, because `re` may take hours for a pattern."""
    expected = f"{name} must match the pattern {pattern}"
    if matches(pa.array([value], TEXT), f"(?i:{pattern})")[0]:
        return f"{expected}; this value differs in letter case."
    if matches(pa.array([value.strip()], TEXT), pattern)[0]:
        return f"{expected}; remove the space around the value."
    if mask_of(pc.match_substring_regex(pa.array([value], TEXT), f"(?:{pattern})"))[0]:
        return f"{expected} as a whole; only a part of this value does."
    return f"{expected}."


def _enum(parsed: Parsed, texts: pa.Array, field: Field, allowed: tuple[Hashable, ...]) -> Check:
    if parsed.compare is None:
        is_allowed = mask_of(pc.is_in(texts, value_set=pa.array([str(v) for v in allowed], TEXT)))
    else:
        is_allowed = np.zeros(len(texts), np.bool_)
        for value in allowed:
            is_allowed |= parsed.compare(value) == 0
    names = [_shown(value) for value in allowed]
    return ~is_allowed, ProblemCode.NOT_IN_ENUM, lambda value: _enum_note(value, field.name, names)


def _shown(value: Hashable) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _enum_note(value: str, name: str, allowed: list[str]) -> str:
    for one in allowed:
        if one.casefold() == value.casefold():
            return f"Write {one}: letter case matters in {name}."
    listed = ", ".join(allowed[:_MOST_SHOWN])
    if len(allowed) > _MOST_SHOWN:
        listed += f" and {len(allowed) - _MOST_SHOWN} more"
    expected = f"{name} must be one of {listed}."
    close = get_close_matches(value, allowed, n=1)
    return f"{expected} Is {close[0]} intended?" if close else expected
