"""The bounds of milliseconds since the epoch, which are dates, and the hints for their faults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from etl.model.dataset import Moment
from etl.model.dates import DAY_MS, EPOCH
from etl.model.values import ProblemCode
from etl.read.types.column import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from etl.model.dataset import Constraints, Field

SAFE_DIGITS = 18  # always fit 64 bits

_DAY = timedelta(days=1)
_NUMBER = re.compile(r"([+-]?)([0-9]+)(?:\.0+)?")
_UNITS = ((1_000, "microseconds"), (1_000_000, "nanoseconds"))


@dataclass(frozen=True)
class Ranged:
    """The faults of a column's bounds. `valid_from` (n,), datetime64[D], as in CheckedColumn."""

    faults: list[Fault]
    valid_from: NDArray[np.datetime64] | None


@dataclass(frozen=True)
class Range:
    """The first and last valid days, both included. `is_birthdate`: from a date until today."""

    first: date
    last: date
    is_birthdate: bool

    @classmethod
    def of(cls, constraints: Constraints, today: date) -> Range:
        """The range of a field. Without bounds it is all dates of the years 1 to 9999."""
        first, last = _day(constraints.minimum, today), _day(constraints.maximum, today)
        after, before = (
            _day(bound, today)
            for bound in (constraints.exclusive_minimum, constraints.exclusive_maximum)
        )
        firsts = [date.min, first, None if after is None else after + _DAY]
        lasts = [date.max, last, None if before is None else before - _DAY]
        return cls(
            max(day for day in firsts if day is not None),
            min(day for day in lasts if day is not None),
            first is not None and constraints.maximum is Moment.TODAY,
        )

    def expected(self, name: str) -> str:
        """The range in words."""
        subject = "The birthdate" if self.is_birthdate else f"The date of {name}"
        return f"{subject} must be between {self.first} and {self.last}"


def check_range(
    milliseconds: NDArray[np.int64],
    is_valid: NDArray[np.bool_],
    fits: NDArray[np.bool_],
    field: Field,
    today: date,
) -> Ranged:
    """Check valid numbers; those that may not `fit` 64 bits are outside every range."""
    allowed = Range.of(field.constraints, today)
    first, last = milliseconds_of(allowed.first), last_millisecond_of(allowed.last)
    in_calendar = (
        fits
        & (milliseconds >= milliseconds_of(date.min))
        & (milliseconds <= last_millisecond_of(date.max))
    )
    is_early, is_late = fits & (milliseconds < first), fits & (milliseconds > last)
    masks = (
        {ProblemCode.BIRTHDATE_OUT_OF_RANGE: is_valid & (~fits | is_early | is_late)}
        if allowed.is_birthdate
        else {
            ProblemCode.NUMBER_OUT_OF_RANGE: is_valid & ~in_calendar,
            ProblemCode.BELOW_MINIMUM: is_valid & in_calendar & is_early,
            ProblemCode.ABOVE_MAXIMUM: is_valid & in_calendar & is_late,
        }
    )
    note = _note(allowed, field.name)
    faults = [Fault(mask, code, note) for code, mask in masks.items() if mask.any()]
    follows_clock = Moment.TODAY in {
        field.constraints.maximum,
        field.constraints.exclusive_maximum,
    }
    late = is_valid & is_late & in_calendar
    if not (follows_clock and late.any()):
        return Ranged(faults, None)
    return Ranged(faults, _days(milliseconds, late))


def milliseconds_of(day: date) -> int:
    """The first millisecond of a day in UTC."""
    return (day - EPOCH).days * DAY_MS


def last_millisecond_of(day: date) -> int:
    """The last millisecond of a day in UTC."""
    return milliseconds_of(day) + DAY_MS - 1


def range_hint(value: str, allowed: Range, name: str) -> str:
    """How to correct a text in the right form but outside the range."""
    expected = allowed.expected(name)
    number = _NUMBER.fullmatch(value)
    if number is None:
        return f"{expected}, but is {_shown_moment(value)}. Correct {name}."
    sign, digits = number[1], number[2].lstrip("0") or "0"
    if len(digits) > SAFE_DIGITS:
        return f"{expected}, but is outside the calendar. Correct {name}."
    milliseconds = int(sign + digits)
    shown = f"{expected}, but is {_shown_date(milliseconds)}."
    for factor, unit in _UNITS:
        if _is_within(milliseconds // factor, allowed):
            return f"{shown} If {name} is in {unit}, divide it by {factor:,}."
    return f"{shown} Correct {name}; its unit is milliseconds since 1970-01-01 UTC."


def _note(allowed: Range, name: str) -> Callable[[str], str]:
    return lambda value: range_hint(value, allowed, name)


def _day(bound: Hashable | None, today: date) -> date | None:
    if bound is Moment.TODAY:
        return today
    if bound is None or isinstance(bound, date):
        return bound
    raise TypeError(f"a bound of epoch-ms must be a date, not {bound!r}")


def _days(milliseconds: NDArray[np.int64], where: NDArray[np.bool_]) -> NDArray[np.datetime64]:
    days = np.full(len(where), np.datetime64("NaT"), "datetime64[D]")
    days[where] = (milliseconds[where] // DAY_MS).astype("datetime64[D]")
    return days


def _shown_moment(value: str) -> str:
    """The UTC date of an ISO 8601 text."""
    moment = datetime.fromisoformat(value)
    try:
        return str((moment if moment.tzinfo is None else moment.astimezone(UTC)).date())
    except OverflowError:
        return "before the year 1" if moment.year == 1 else "after the year 9999"


def _shown_date(milliseconds: int) -> str:
    try:
        return str(EPOCH + timedelta(days=milliseconds // DAY_MS))
    except OverflowError:
        return "after the year 9999" if milliseconds > 0 else "before the year 1"


def _is_within(milliseconds: int, allowed: Range) -> bool:
    days = timedelta(days=milliseconds // DAY_MS)
    return allowed.first - EPOCH <= days <= allowed.last - EPOCH
