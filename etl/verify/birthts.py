"""Parse birth times: a number of milliseconds, or an ISO 8601 date or datetime."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_BEYOND_ANY_CALENDAR = Decimal(10) ** 18
_NUMBER = re.compile(r"[+-]?[0-9]+(\.0+)?")
# fromisoformat() also accepts week dates, dates without hyphens and any character before the time.
_MOMENT = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"([T ](?P<clock>[0-9]{2}:[0-9]{2})(:(?P<second>[0-9]{2})(\.(?P<milli>[0-9]{1,3})0*)?)?"
    r"(?P<offset>Z|[+-][0-9]{2}(:?[0-5][0-9])?)?)?"
)


class NotABirthTime(Exception):
    """A cell with neither an integer nor an ISO 8601 date or datetime."""


def is_number(written: str) -> bool:
    """Whether a cell is an integer, optionally followed by a decimal point and zeros."""
    return _NUMBER.fullmatch(written) is not None


def milliseconds(written: str) -> int:
    """Milliseconds since 1970-01-01T00:00:00Z.

    Limits an excessively large number to one that is still outside every calendar.

    Raises:  NotABirthTime.
    """
    if is_number(written):
        number = Decimal(written)  # exact, and not limited to 4,300 digits as int() is
        return int(max(-_BEYOND_ANY_CALENDAR, min(number, _BEYOND_ANY_CALENDAR)))
    return (_parse_moment(written) - _EPOCH) // _MILLISECOND


def utc_date(birthts: int) -> date | None:
    """The UTC date; None if it is outside the years 1 to 9999."""
    try:
        return _date(timedelta(milliseconds=birthts))
    except OverflowError:
        return None


class SecondsDetector:
    """Detects birth times of a file that look like seconds instead of milliseconds.

    They do if each is a number that, read as milliseconds, is in January or February 1970 and, read
    as seconds, is not after `today`, and if the two dates differ for at least one number.
    """

    def __init__(self, today: date) -> None:
        self._today = today
        self._fits_all = True
        self._differs = False

    @property
    def are_seconds(self) -> bool:
        """Whether the birth times added so far look like seconds."""
        return self._fits_all and self._differs

    def add(self, written: str, birthts: int) -> None:
        """Add the birth time of a valid row."""
        in_milliseconds = _date(timedelta(milliseconds=birthts))
        if not is_number(written) or not date(1970, 1, 1) <= in_milliseconds < date(1970, 3, 1):
            self._fits_all = False
            return
        in_seconds = _date(timedelta(seconds=birthts))
        self._fits_all &= in_seconds <= self._today
        self._differs |= in_seconds != in_milliseconds


def _date(since_epoch: timedelta) -> date:
    return (_EPOCH + since_epoch).date()


def _parse_moment(written: str) -> datetime:
    """The instant of an ISO 8601 date or datetime, in UTC unless it has an offset."""
    found = _MOMENT.fullmatch(written)
    if found is None:
        raise NotABirthTime
    clock = f"{found['clock'] or '00:00'}:{found['second'] or '00'}"
    try:
        moment = datetime.fromisoformat(f"{found['day']}T{clock}{found['offset'] or 'Z'}")
    except ValueError as error:
        raise NotABirthTime from error
    return moment.replace(microsecond=int((found["milli"] or "0").ljust(3, "0")) * 1000)
