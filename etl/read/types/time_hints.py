"""Hints for dates and times that are not valid: the format, an example, and likely mistakes."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from etl.model.time_formats import example_of, time_pattern

if TYPE_CHECKING:
    from etl.model.dataset import Field

_DATES = {
    "%Y-%m-%d": r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}",
    "%d.%m.%Y": r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}",
    "%d/%m/%Y": r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}",
    "%d-%m-%Y": r"[0-9]{1,2}-[0-9]{1,2}-[0-9]{4}",
    "%Y/%m/%d": r"[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}",
    "%Y%m%d": r"(?:19|20)[0-9]{6}",
    "%d.%m.%y": r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{2}",
    "%d/%m/%y": r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{2}",
}
_CLOCKS = {
    "": "",
    " %H:%M": r" [0-9]{1,2}:[0-9]{2}",
    " %H:%M:%S": r" [0-9]{1,2}:[0-9]{2}:[0-9]{2}",
    "T%H:%M:%S": r"T[0-9]{2}:[0-9]{2}:[0-9]{2}",
}
_EPOCH_DIGITS = re.compile(r"[0-9]{10}|[0-9]{13}")
_SERIAL = re.compile(r"[3-6][0-9]{4}(\.[0-9]+)?")
_MIDNIGHT = re.compile(r"24:00(:00)?(\.0+)?(?![0-9:])")
_LEAP_SECOND = re.compile(r":60(?![0-9])")
_LONG_FRACTION = re.compile(r"\.[0-9]{7,}")
_SHORT_CLOCK = re.compile(r"[0-9]:[0-9]{2}(:[0-9]{2})?")
_ANY_CLOCK = re.compile(r"[0-9]:[0-9]{2}")


def date_hint(value: str, field: Field) -> str:
    """How to correct a text that is not a date."""
    expected = _expected(field, "a date")
    if _has_form(value, field):
        return f"{expected} There is no such day in the calendar."
    if _ANY_CLOCK.search(value):
        return f"{expected} This value has a time of day; remove it, or declare a datetime."
    return expected + _other_format(value, with_clock=False)


def time_hint(value: str, field: Field) -> str:
    """How to correct a text that is not a time."""
    expected = _expected(field, "a time of day")
    if field.format is None and _SHORT_CLOCK.fullmatch(value):
        return f"{expected} The hour has two digits, as in 0{value}."
    return expected + (_clock_remark(value) or _offset_remark(value))


def datetime_hint(value: str, field: Field) -> str:
    """How to correct a text that is not a datetime."""
    expected = _expected(field, "a date and time")
    if remark := _clock_remark(value):
        return expected + remark
    if _has_form(value, field):
        return (
            f"{expected} There is no such date and time in the calendar, which has the years 1 to "
            "9999 in UTC."
        )
    return expected + _other_format(value, with_clock=True)


def nonexistent_hint(field: Field) -> str:
    """How to correct a local time that does not exist."""
    return (
        f"This time does not exist in {field.timezone}: clocks were put forward over it. "
        f"Correct {field.name}, or write it with its offset from UTC."
    )


def ambiguous_hint(field: Field) -> str:
    """Which of two times was taken."""
    return (
        f"This time occurs twice in {field.timezone}, because clocks were put back; the earlier "
        f"one was taken. Write {field.name} with its offset from UTC to be exact."
    )


def _expected(field: Field, what: str) -> str:
    example = example_of(field.type, field.format)
    form = "ISO 8601" if field.format is None else field.format
    return f"Write {field.name} as {what} in the format {form}, for example {example}."


def _has_form(value: str, field: Field) -> bool:
    pattern = time_pattern(field.type, field.format)
    return re.fullmatch(pattern, value, re.ASCII) is not None


def _clock_remark(value: str) -> str:
    if _MIDNIGHT.search(value):
        return " Write midnight as 00:00 of the next day, not as 24:00."
    if _LEAP_SECOND.search(value):
        return " Seconds are 00 to 59."
    if _LONG_FRACTION.search(value):
        return " Microseconds (six decimals) are the finest unit that can be stored."
    return ""


def _offset_remark(value: str) -> str:
    if re.search(r"[0-9](Z|[+-][0-9]{2}:?[0-9]{2})$", value):
        return " A time of day has no offset; remove it, or declare a datetime."
    return ""


def _other_format(value: str, *, with_clock: bool) -> str:
    """Name the format that the value seems to have."""
    for date_format, date_form in _DATES.items():
        for clock_format, clock_form in _CLOCKS.items():
            if re.fullmatch(date_form + clock_form, value):
                return _declare(value, date_format + clock_format)
    if _EPOCH_DIGITS.fullmatch(value):
        return " This value looks like a number of seconds or milliseconds since 1970."
    if _SERIAL.fullmatch(value):
        return " This value looks like a serial number of a spreadsheet; format its cells as dates."
    if with_clock and "." in value and "," in value:
        return " Write a decimal point before the fraction of a second."
    return ""


def _declare(value: str, format_: str) -> str:
    try:
        datetime.strptime(value, format_)  # noqa: DTZ007
    except ValueError:
        return " This date is in another format, with day and month possibly swapped."
    remark = f' This value looks like "{format_}"'
    if format_.startswith(("%d/", "%d-")):
        remark += ", with day and month possibly swapped"
    return f"{remark}; declare that format if the whole column is written so."
