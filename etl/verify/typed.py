"""Turn typed values of a file, such as those of Parquet, into texts.

A value becomes the text that a field without lexical options reads as that value, so that one code
checks values and texts: decimal points, ISO 8601, `true` and `false`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal

from etl.model.dataset import Field, FieldType
from etl.model.values import ProblemCode
from etl.verify.documents import (
    DigitNumber,
    InexactNumber,
    JsonText,
    Written,
    json_text,
    json_value,
    moment_text,
)
from etl.verify.faults import FaultyCell

_WHOLE = frozenset({FieldType.INTEGER, FieldType.YEAR, FieldType.EPOCH_MS})
_DOCUMENTS = frozenset({FieldType.OBJECT, FieldType.ARRAY, FieldType.ANY})
_WHOLE_NUMBER = re.compile(r"-?[0-9]+")
_MOST_DIGITS = 500  # of a whole number that is written with an exponent
_DEFAULTS = Field(name="")


def without_options(field: Field) -> Field:
    """The field that reads the texts of typed values."""
    return replace(
        field,
        decimal_char=_DEFAULTS.decimal_char,
        group_char=_DEFAULTS.group_char,
        format=None,
        true_values=_DEFAULTS.true_values,
        false_values=_DEFAULTS.false_values,
    )


def text_of(value: object, kind: FieldType) -> str:
    """The text of a value, which is not a text, for a field of that type.

    Raises:  FaultyCell if the value has none.
    """
    if kind in _DOCUMENTS:
        return json_text(value)
    if isinstance(value, DigitNumber | Decimal) and kind in _WHOLE:
        return _whole(value)
    if isinstance(value, datetime) and kind is FieldType.DATE and value.tzinfo is None:
        return (value.date() if value.time() == time() else value).isoformat()
    if isinstance(value, Written) and value.is_number and kind is FieldType.STRING:
        raise FaultyCell(ProblemCode.NOT_A_NUMBER)
    return plain_text(value)


def text_with_options(value: object, field: Field) -> str:
    """The text with which the cell of a CSV would have the value, which is not a text."""
    if isinstance(value, bool) and field.type is FieldType.BOOLEAN:
        written = field.true_values if value else field.false_values
        return written[0] if written else json_text(value)
    if isinstance(value, date | time):
        return _moment_in_format(value, field)
    try:
        text = text_of(value, field.type)
    except FaultyCell:
        text = plain_text(value)
    return text.replace(".", field.decimal_char) if field.type is FieldType.NUMBER else text


def _moment_in_format(value: date | time, field: Field) -> str:
    """The moment in the format of the field if that keeps all of it, else in ISO 8601."""
    if isinstance(value, date) and not isinstance(value, datetime):
        kind = FieldType.DATE
        if field.type is FieldType.DATETIME and field.format is not None:
            kind, value = FieldType.DATETIME, datetime.combine(value, time())
    else:
        kind = FieldType.DATETIME if isinstance(value, datetime) else FieldType.TIME
    if field.format is None or field.type is not kind:
        return value.isoformat()
    written = value.strftime(field.format)
    try:
        read = datetime.strptime(written, field.format)  # noqa: DTZ007 - local times
    except ValueError:
        return value.isoformat()
    parts = {FieldType.DATE: read.date(), FieldType.TIME: read.time(), FieldType.DATETIME: read}
    return written if parts[kind] == value else value.isoformat()


def plain_text(value: object) -> str:
    """The text of a value for a column that is not declared."""
    if isinstance(value, str):
        return value
    if isinstance(value, date | time):
        return moment_text(value)
    return value.text if isinstance(value, Written) else json_text(value)


def written_in_json(value: object) -> str:
    """The text of a number, array or object as it is written in a file; empty for others."""
    is_of_file = isinstance(value, DigitNumber | JsonText | dict | list)
    return json_text(value) if is_of_file else ""


def extra_value(value: object) -> object:
    """The value in `_extra`: a text, or a JsonValue."""
    if isinstance(value, Written | date | time):
        return plain_text(value)
    return value if isinstance(value, str) else json_value(value)


def _whole(value: DigitNumber | Decimal) -> str:
    """The digits of a number if it is integral and not very large."""
    text = str(value) if isinstance(value, Decimal) else value.text
    if isinstance(value, InexactNumber) or _WHOLE_NUMBER.fullmatch(text):
        return text
    _, digits, exponent = Decimal(text).as_tuple()
    if not isinstance(exponent, int) or len(digits) + abs(exponent) >= _MOST_DIGITS:
        return text
    number = Decimal(text)
    return f"{number.to_integral_value():f}" if number == number.to_integral_value() else text
