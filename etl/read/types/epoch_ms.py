"""Parse milliseconds since the epoch: integers, integers with `.0`, ISO 8601 dates and times.

Arrow rejects a whole column if one text is invalid, and its lenient parsers turn 30 February into
1 March. A pattern and a calendar check therefore select the dates before the cast. Integers, which
nearly all files contain, skip these checks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.values import ProblemCode
from etl.read.types.column import Fault, Parsed, mask_of
from etl.read.types.epoch_range import SAFE_DIGITS, check_range

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray

    from etl.model.dataset import Field

    Texts: TypeAlias = pa.ChunkedArray | pa.Array

_SAFE_INTEGER = rf"\A[+-]?[0-9]{{1,{SAFE_DIGITS}}}\z"
_INTEGRAL = r"\A[+-]?[0-9]+\.0+\z"
_HOUR, _SIXTIETH = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]"
# Fractions of a second beyond milliseconds must be zeros.
_TIME = rf"[T ]{_HOUR}:{_SIXTIETH}(?::{_SIXTIETH}(?:\.[0-9]{{1,3}}0*)?)?"
_OFFSET = rf"(?:Z|[+-]{_HOUR}(?::?{_SIXTIETH})?)"
_DATE_LENGTH = len("1989-05-27")
_ISO = rf"\A[0-9]{{4}}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(?:{_TIME}{_OFFSET}?)?\z"
_WITH_OFFSET = rf"{_OFFSET}\z"
_MILLISECONDS = pa.timestamp("ms", "UTC")
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_FEBRUARY = 2

# Unsupported forms that a hint can recognize.
_DAY_FIRST = re.compile(r"\d{1,2}[-/. ]\d{1,2}[-/. ]\d{2,4}(?!\d).*", re.DOTALL)
_LIKE_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d).*", re.DOTALL)
_LIKE_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*", re.DOTALL)
_DECIMAL = re.compile(r"[+-]?\d*[.,]\d*([eE][+-]?\d+)?|[+-]?\d+[eE][+-]?\d+")
_EXPECTED = (
    "Write {name} as integer milliseconds since 1970-01-01 UTC (for example 612302400000) "
    "or as an ISO 8601 date (for example 1989-05-27)."
)


@dataclass(frozen=True)
class Milliseconds:
    """The parsed texts of a column.

    Shapes:  each (n,). milliseconds (int64, UTC, 0 if invalid); is_valid: the form is valid;
             fits: valid, and certain to fit 64 bits; is_date: valid, and not a number.
    """

    milliseconds: NDArray[np.int64]
    is_valid: NDArray[np.bool_]
    fits: NDArray[np.bool_]
    is_date: NDArray[np.bool_]


def parse_epoch_ms(texts: pa.Array, field: Field, today: date) -> Parsed:
    """Parse the texts to int64 and check the bounds of the field, which are dates."""
    found = read_milliseconds(texts)
    faults = []
    if not found.is_valid.all():
        faults.append(
            Fault(
                ~found.is_valid,
                ProblemCode.NOT_AN_INTEGER,
                lambda value: hint_for(value, field.name),
            )
        )
    ranged = check_range(found.milliseconds, found.is_valid, found.fits, field, today)
    return Parsed(
        pa.array(found.milliseconds),
        found.is_valid & found.fits,
        faults + ranged.faults,
        valid_from=ranged.valid_from,
        dated=found.is_date if found.is_date.any() else None,
    )


def read_milliseconds(texts: Texts) -> Milliseconds:
    """Parse stripped texts."""
    is_integer = mask_of(pc.match_substring_regex(texts, r"\A[+-]?[0-9]+\z"))
    milliseconds, fits = _integers(texts, is_integer)
    if is_integer.all():
        return Milliseconds(milliseconds, is_integer, fits, ~is_integer)
    others = np.flatnonzero(~is_integer)
    found = _read_others(texts.take(pa.array(others)))
    milliseconds, is_valid = milliseconds.copy(), is_integer.copy()
    fits, is_date = fits.copy(), np.zeros(len(fits), dtype=np.bool_)
    milliseconds[others], is_valid[others] = found.milliseconds, found.is_valid
    fits[others], is_date[others] = found.fits, found.is_date
    return Milliseconds(milliseconds, is_valid, fits, is_date)


def hint_for(value: str, name: str) -> str:
    """How to correct an invalid text of the column `name`."""
    expected = _EXPECTED.format(name=name)
    if _LIKE_ISO.fullmatch(value):
        return (
            f"{expected} This is not a valid ISO 8601 date and time, or is more precise than "
            "milliseconds."
        )
    if _DAY_FIRST.fullmatch(value):
        return f"{expected} This date is ambiguous: day and month can be swapped."
    if _LIKE_DATE.fullmatch(value):
        return f"{expected} This value is a date in another format."
    if _DECIMAL.fullmatch(value):
        return f"{expected} This value is a decimal number, or was shortened by a spreadsheet."
    return expected


def _read_others(texts: Texts) -> Milliseconds:
    """Parse the texts that are not integers, usually few."""
    is_integral = mask_of(pc.match_substring_regex(texts, _INTEGRAL))
    is_date = mask_of(pc.match_substring_regex(texts, _ISO))
    numbers = pc.if_else(
        pa.array(is_integral), pc.replace_substring_regex(texts, r"\.0+\z", ""), texts
    )
    milliseconds, fits = _integers(numbers, is_integral)
    if is_date.any():
        where = np.flatnonzero(is_date)
        dates = texts.take(pa.array(where))
        exists = _is_in_calendar(dates)
        is_date[where] = exists
        milliseconds = milliseconds.copy()
        milliseconds[where[exists]] = _cast(dates.filter(pa.array(exists)))
    return Milliseconds(milliseconds, is_integral | is_date, fits | is_date, is_date)


def _integers(
    texts: Texts, is_integer: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The integers (0 if not one), and which of them are certain to fit 64 bits."""
    fits = is_integer
    if mask_of(pc.greater(pc.binary_length(texts), SAFE_DIGITS)).any():
        # A long text may be a small number with leading zeros.
        texts = pc.replace_substring_regex(texts, r"\A([+-]?)0+([0-9])", r"\1\2")
        fits = is_integer & mask_of(pc.match_substring_regex(texts, _SAFE_INTEGER))
    digits = pc.if_else(pa.array(fits), pc.utf8_ltrim(texts, characters="+"), "0")
    return digits.cast(pa.int64()).to_numpy(), fits


def _is_in_calendar(dates: Texts) -> NDArray[np.bool_]:
    """Which of the texts in the form of a date are in the calendar; the year 0 is not."""
    year, month, day = (_number(dates, *span) for span in ((0, 4), (5, 7), (8, 10)))
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    last = _DAYS_IN_MONTH[month] + (is_leap & (month == _FEBRUARY))
    exists: NDArray[np.bool_] = (year > 0) & (day <= last)
    return exists


def _number(texts: Texts, start: int, stop: int) -> NDArray[np.int64]:
    number: NDArray[np.int64] = (
        pc.utf8_slice_codeunits(texts, start, stop).cast(pa.int64()).to_numpy()
    )
    return number


def _cast(dates: Texts) -> NDArray[np.int64]:
    """Milliseconds of valid dates and times; those without an offset are in UTC."""
    is_day = pc.equal(pc.binary_length(dates), _DATE_LENGTH)
    if pc.any(is_day).as_py():
        dates = pc.if_else(is_day, _append(dates, " 00:00"), dates)
    has_offset = pc.match_substring_regex(dates, _WITH_OFFSET)
    dates = pc.if_else(has_offset, dates, _append(dates, "Z"))
    dates = pc.replace_substring_regex(dates, r"(\.[0-9]{3})0+", r"\1")
    milliseconds: NDArray[np.int64] = dates.cast(_MILLISECONDS).cast(pa.int64()).to_numpy()
    return milliseconds


def _append(texts: Texts, tail: str) -> pa.ChunkedArray:
    text = pa.large_string()
    return pc.binary_join_element_wise(texts, pa.scalar(tail, text), pa.scalar("", text))
