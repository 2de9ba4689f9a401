"""The values in constraints, as the values that cells of the field have."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from etl.model.dataset import FieldType, Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from etl.model.dataset import Field

_EXAMPLES = {
    FieldType.STRING: 'a text, such as "new"',
    FieldType.INTEGER: "a whole number, such as 10",
    FieldType.NUMBER: "a number, such as 9.95",
    FieldType.BOOLEAN: "true or false",
    FieldType.DATE: "a date, such as 2026-03-27",
    FieldType.TIME: "a time, such as 18:30:00",
    FieldType.DATETIME: "a date and time, such as 2026-03-27T18:30:00Z",
    FieldType.YEAR: "a year, such as 2026",
    FieldType.EPOCH_MS: 'a date, such as 1900-01-01, or as maximum also "today"',
}


class WrongBound(ValueError):
    """A value that a cell of the field cannot have; the message says what to write."""


def bound(value: object, field: Field, *, is_maximum: bool = False) -> Hashable:
    """The value of a constraint of the field; a text is read as JSON schemas write it.

    Dates and times are in ISO 8601 or in the format of the field.

    Raises:  WrongBound.
    """
    if field.type is FieldType.EPOCH_MS and is_maximum and value == Moment.TODAY.value:
        return Moment.TODAY
    try:
        return _READERS[field.type](value, field)
    except (ValueError, InvalidOperation) as error:
        raise WrongBound(f"Write {_EXAMPLES[field.type]}.") from error


def _text(value: object, _field: Field) -> str:
    if isinstance(value, str):
        return value
    raise ValueError


def _boolean(value: object, _field: Field) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError


def _integer(value: object, _field: Field) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,1000}", value):
        return int(value)
    raise ValueError


def _number(value: object, _field: Field) -> Decimal:
    if isinstance(value, (int, Decimal, str)) and not isinstance(value, bool):
        number = Decimal(value)
        if number.is_finite():
            return number
    raise ValueError


def _year(value: object, field: Field) -> int:
    year = _integer(value, field)
    if not date.min.year <= year <= date.max.year:
        raise ValueError
    return year


def _date(value: object, field: Field) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return date.fromisoformat(value)
    return _by_format(value, field).date()


def _time(value: object, field: Field) -> time:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{2}:[0-9]{2}[0-9:.]*", value):
        value = time.fromisoformat(value)
    elif not isinstance(value, time):
        value = _by_format(value, field).time()
    if value.tzinfo is None:
        return value
    raise ValueError


def _datetime(value: object, field: Field) -> datetime:
    if isinstance(value, str) and re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        value = datetime.fromisoformat(value)
    elif not isinstance(value, datetime):
        value = _by_format(value, field)
    if value.tzinfo is None:
        value = value.replace(tzinfo=ZoneInfo(field.timezone or "UTC"))
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError from error


def _by_format(value: object, field: Field) -> datetime:
    if field.format is None or not isinstance(value, str):
        raise ValueError
    return datetime.strptime(value, field.format)  # noqa: DTZ007 - the caller adds the zone


_READERS: dict[FieldType, Callable[[object, Field], Hashable]] = {
    FieldType.STRING: _text,
    FieldType.INTEGER: _integer,
    FieldType.NUMBER: _number,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATE: _date,
    FieldType.TIME: _time,
    FieldType.DATETIME: _datetime,
    FieldType.YEAR: _year,
    FieldType.EPOCH_MS: _date,
}
