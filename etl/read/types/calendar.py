"""Days of the Gregorian calendar, of the years 1 to 9999, from the numbers in texts."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from etl.read.types.layouts import Numbers

DAY_US = 86_400_000_000
_HOUR_US, _MINUTE_US, _SECOND_US = 3_600_000_000, 60_000_000, 1_000_000
_MONTHS_PER_YEAR = 12
_MAX_YEAR = 9999
_FIRST_YEAR_OF_1900S = 69  # of two digits, as strptime reads them


def days(numbers: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which dates exist, and their days since 1970-01-01 (any number for the others)."""
    year = _years(numbers)
    is_valid = year > 0
    if "year_day" in numbers:
        start = year * _MONTHS_PER_YEAR
        first = _first_days()[start]
        last = _first_days()[start + _MONTHS_PER_YEAR] - first
        return is_valid & _is_between(numbers["year_day"], 1, last), (
            first + numbers["year_day"] - 1
        )
    month = numbers["month_name"] if "month_name" in numbers else numbers["month"]
    is_month = _is_between(month, 1, _MONTHS_PER_YEAR)
    index = year * _MONTHS_PER_YEAR + np.where(is_month, month, 1) - 1
    first = _first_days()[index]
    last = _first_days()[index + 1] - first
    return is_valid & is_month & _is_between(numbers["day"], 1, last), first + numbers["day"] - 1


def time_of_day(numbers: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which times of day exist, and their microseconds since midnight."""
    hour = numbers["hour12"] if "hour12" in numbers else numbers["hour"]
    is_valid = hour < 24  # noqa: PLR2004
    if "hour12" in numbers:
        is_valid = _is_between(hour, 1, 12)
        hour = hour % 12 + 12 * numbers["half"]
    time = hour * _HOUR_US
    for name, unit in (("minute", _MINUTE_US), ("second", _SECOND_US)):
        if name in numbers:
            is_valid &= numbers[name] < 60  # noqa: PLR2004
            time += numbers[name] * unit
    if "micro" in numbers:
        time += numbers["micro"]
    return is_valid, time


def offsets(numbers: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which offsets exist, and their microseconds; positive east of Greenwich."""
    hour, minute = numbers["offset_hour"], numbers["offset_minute"]
    is_valid = (hour < 24) & (minute < 60)  # noqa: PLR2004
    return is_valid, numbers["sign"] * (hour * _HOUR_US + minute * _MINUTE_US)


def _years(numbers: Numbers) -> NDArray[np.int64]:
    if "year" in numbers:
        return numbers["year"]
    short = numbers["year2"]
    return short + np.where(short >= _FIRST_YEAR_OF_1900S, 1900, 2000)


def _is_between(
    numbers: NDArray[np.int64], least: int, most: int | NDArray[np.int64]
) -> NDArray[np.bool_]:
    is_between: NDArray[np.bool_] = (numbers >= least) & (numbers <= most)
    return is_between


@lru_cache(maxsize=1)
def _first_days() -> NDArray[np.int64]:
    """The first day of each month of the years 0 to 9999, and of the month after them."""
    months = np.arange("0000-01", f"{_MAX_YEAR + 1:05}-02", dtype="datetime64[M]")
    first_days: NDArray[np.int64] = months.astype("datetime64[D]").astype(np.int64)
    return first_days
