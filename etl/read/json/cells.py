"""Values of JSON as cells: texts that the options of their field read back to the same values."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from etl.model.dataset import FieldType
from etl.read.json.objects import Doubled, Number
from etl.read.types.numerals import ungrouped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etl.model.dataset import Field
    from etl.read.json.objects import Value

_WHOLE = frozenset({FieldType.INTEGER, FieldType.YEAR, FieldType.EPOCH_MS})
_DOCUMENTS = frozenset({FieldType.OBJECT, FieldType.ARRAY, FieldType.ANY})

_MOST_DIGITS = 500  # that a whole number with an exponent is written out with
_LONGEST_EXPONENT = 10  # characters; all longer ones count as too large
_INTEGER = re.compile(r"-?[0-9]+")


def cell(value: Value, field: Field, missing_values: tuple[str, ...] = ()) -> str | None:
    """The cell of a declared field; None if the value is null.

    Strings are parsed as in other formats; a field of any type holds the string itself, unless
    that is one of its missing values.
    """
    if value is None:
        return None
    if isinstance(value, Number):
        return _number(value, field)
    if isinstance(value, str):
        return _any_string(value, field, missing_values) if field.type is FieldType.ANY else value
    if isinstance(value, bool):
        return _boolean(field, value=value)
    return json_text(value)


def plain_cell(value: Value) -> str | None:
    """The cell of a text column: strings as they are, anything else as JSON."""
    return value if value is None or isinstance(value, str) else json_text(value)


def json_text(value: Value) -> str:
    """The value as JSON, spaced like PostgreSQL's jsonb; numbers keep their digits."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Doubled):
        return _object_text(value.pairs)
    if isinstance(value, dict):
        return _object_text(value.items())
    if isinstance(value, list):
        return f"[{', '.join(map(json_text, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _object_text(members: Iterable[tuple[str, Value]]) -> str:
    listed = (f"{json.dumps(name, ensure_ascii=False)}: {json_text(one)}" for name, one in members)
    return f"{{{', '.join(listed)}}}"


def _number(literal: Number, field: Field) -> str:
    if field.type in _WHOLE:
        return ungrouped(_whole(literal), field)
    if field.type is FieldType.NUMBER and field.decimal_char != ".":
        return literal.replace(".", field.decimal_char)
    return str(literal)


def _whole(literal: Number) -> str:
    """The digits of a whole number; 1e3 and 1000.0 are 1000. Other numbers stay as they are."""
    if _INTEGER.fullmatch(literal):
        return str(literal)
    mantissa, _, exponent = literal.lower().removeprefix("-").partition("e")
    whole, _, decimals = mantissa.partition(".")
    zeros = _bounded(exponent) - len(decimals)
    digits = (whole + decimals).lstrip("0") or "0"
    kept, cut = (digits, "") if zeros >= 0 else (digits[:zeros], digits[zeros:])
    if cut.strip("0") or len(digits) + abs(zeros) > _MOST_DIGITS:
        return str(literal)
    sign = "-" if literal.startswith("-") else ""
    return sign + ((kept + "0" * zeros).lstrip("0") or "0")


def _bounded(exponent: str) -> int:
    return int(exponent or "0") if len(exponent) < _LONGEST_EXPONENT else _MOST_DIGITS


def _boolean(field: Field, *, value: bool) -> str:
    if field.type is FieldType.BOOLEAN:
        values = field.true_values if value else field.false_values
        if values:
            return values[0]
    return json_text(value)


def _any_string(text: str, field: Field, missing_values: tuple[str, ...]) -> str | None:
    trimmed = text.strip() if field.trim else text
    return None if trimmed in missing_values else json_text(trimmed)
