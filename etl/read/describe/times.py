"""Guess dates and times: ISO 8601, or the first common format that fits all texts."""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

from etl.model.dataset import Field, FieldType
from etl.model.time_formats import time_pattern
from etl.read.describe.candidate import Context, Guess, accepts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DAY_FIRST = (
    *("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%d-%m-%y", "%d. %m. %Y"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d/%b/%Y", "%d %B %Y", "%d. %B %Y", "%d %b %y"),
    *("%a %d %b %Y", "%a, %d %b %Y"),
)
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y")
_YEAR_FIRST = ("%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d", "%Y-%b-%d", "%Y%m%d")
_TIMES = (
    *("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p", "%I:%M%p", "%H.%M"),
    *("%H:%M Uhr", "%H%M%S"),
)
_BETWEEN = (" ", "T", ", ", ":", "_", "-", "")
_SWAPPED = {
    "%d/%m/%Y": "%m/%d/%Y",
    "%d-%m-%Y": "%m-%d-%Y",
    "%d/%m/%y": "%m/%d/%y",
}
_DIGIT = re.compile("[0-9]")
_COMPACT = re.compile("(?:19|20)[0-9]{6}(?:[0-9]{6})?")
_ZONE = re.compile(r"( ?)(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)\Z")
_SHORTEST = len("1:30")
_LONGEST = 40
_DATE_WORDS = ("date", "day", "datum", "tag", "time", "zeit", "stamp", "ts", "_on", "_at", "birth")
_LOCAL_NOTE = 'no time zone, so UTC; for local times add timezone = "Europe/Berlin" or another'


def moment(values: Sequence[str], context: Context) -> Guess | None:
    """Dates, times or both."""
    if not all(_SHORTEST <= len(one) <= _LONGEST and _DIGIT.search(one) for one in values):
        return None
    for type_ in (FieldType.DATE, FieldType.DATETIME, FieldType.TIME):
        field = Field(name="", type=type_)
        if accepts(field, values):
            return Guess(field, _zone_note(type_, values))
    if all(value.isdigit() for value in values):
        return _compact(values, context)
    return _formatted(values, context)


def _compact(values: Sequence[str], context: Context) -> Guess | None:
    """Dates such as 20260131, also with a time, if the header is that of a date."""
    if not (all(map(_COMPACT.fullmatch, values)) and context.names(*_DATE_WORDS)):
        return None
    day = Field(name="", type=FieldType.DATE, format="%Y%m%d")
    if accepts(day, values):
        return Guess(day)
    second = Field(name="", type=FieldType.DATETIME, format="%Y%m%d%H%M%S")
    return Guess(second, _LOCAL_NOTE) if accepts(second, values) else None


def _formatted(values: Sequence[str], context: Context) -> Guess | None:
    for type_, format_ in _formats(values[0], context):
        field = Field(name="", type=type_, format=format_)
        if not accepts(field, values):
            continue
        notes = [_swap_note(values, type_, format_)]
        if type_ is FieldType.DATETIME and "%z" not in format_:
            notes.append(_LOCAL_NOTE)
        return Guess(field, "; ".join(filter(None, notes)))
    return None


def _formats(value: str, context: Context) -> Iterator[tuple[FieldType, str]]:
    """The formats that fit one text."""
    for time_ in _TIMES:
        if _pattern(FieldType.TIME, time_).fullmatch(value):
            yield FieldType.TIME, time_
    days = _DAY_FIRST + _MONTH_FIRST if context.has_decimal_commas else _MONTH_FIRST + _DAY_FIRST
    for date_ in (*days, *_YEAR_FIRST):
        found = _pattern(FieldType.DATE, date_).match(value)
        if found is None:
            continue
        rest = value[found.end() :]
        if not rest:
            yield FieldType.DATE, date_
        for after in _endings(rest):
            yield FieldType.DATETIME, date_ + after


def _endings(rest: str) -> Iterator[str]:
    """The formats that fit what follows a date."""
    zone = _ZONE.search(rest)
    ends = [(rest, "")]
    if zone is not None:
        ends.append((rest[: zone.start()], f"{zone[1]}%z"))
    for (text, end), between, time_ in product(ends, _BETWEEN, _TIMES):
        after = text.removeprefix(between)
        if text.startswith(between) and _pattern(FieldType.TIME, time_).fullmatch(after):
            yield f"{between}{time_}{end}"


@cache
def _pattern(type_: FieldType, format_: str) -> re.Pattern[str]:
    return re.compile(time_pattern(type_, format_), re.ASCII)


def _swap_note(values: Sequence[str], type_: FieldType, format_: str) -> str:
    """The other order of day and month, if it fits as well."""
    for day_first, month_first in _SWAPPED.items():
        for one, other in ((day_first, month_first), (month_first, day_first)):
            if format_.startswith(one):
                swapped = other + format_.removeprefix(one)
                if accepts(Field(name="", type=type_, format=swapped), values):
                    return f'or "{swapped}": no day in the sample is after the 12th'
    return ""


def _zone_note(type_: FieldType, values: Sequence[str]) -> str:
    if type_ is not FieldType.DATETIME:
        return ""
    has_zones = [bool(_ZONE.search(value[len("2026-01-31") :])) for value in values]
    return "" if all(has_zones) else _LOCAL_NOTE
