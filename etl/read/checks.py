"""Check the columns of users: names, and `birthts` in milliseconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.dataset import EARLIEST_BIRTHDATE, Field, FieldType
from etl.model.dates import DAY_MS, EPOCH
from etl.model.values import ProblemCode, Severity
from etl.read.arrow import to_mask
from etl.read.birthts import SAFE_DIGITS, hint_for, read_birthts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_NUMBER = re.compile(r"([+-]?)([0-9]+)(?:\.0+)?")


@dataclass(frozen=True, slots=True)
class Fault:
    """The rows of a column that have one fault; `note` makes the hint from the text of a cell."""

    rows: NDArray[np.bool_]
    code: ProblemCode
    note: Callable[[str], str]
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True)
class CheckedColumn:
    """The values of a column, null where missing or faulty, and its faults.

    `valid_from` is the day from which a row that is rejected only for being too late is valid.
    """

    values: pa.ChunkedArray
    faults: tuple[Fault, ...] = ()
    valid_from: NDArray[np.datetime64] | None = None
    dated: NDArray[np.bool_] | None = None


def check_column(
    texts: pa.ChunkedArray,
    field: Field,
    missing_values: tuple[str, ...],
    today: date,
    *,
    noun: str = "row",
) -> CheckedColumn:
    """Check the texts of one field."""
    is_missing = pc.is_in(texts, pa.array(missing_values, texts.type))
    missing = to_mask(is_missing)
    faults = []
    if field.constraints.required and missing.any():
        hint = f"Fill in {field.name}; it is required for every {noun}."
        faults.append(Fault(missing, ProblemCode.MISSING_CELL, lambda _: hint))
    if field.type is FieldType.EPOCH_MS:
        return _check_birthts(texts, missing, faults, today)
    values = pc.if_else(is_missing, pa.scalar(None, texts.type), texts) if missing.any() else texts
    return CheckedColumn(values, tuple(faults))


def _check_birthts(
    texts: pa.ChunkedArray, missing: NDArray[np.bool_], faults: list[Fault], today: date
) -> CheckedColumn:
    birthts = read_birthts(texts)
    milliseconds, is_valid = birthts.milliseconds, birthts.is_valid
    malformed = ~missing & ~is_valid
    first, last = milliseconds_of(EARLIEST_BIRTHDATE), last_millisecond_of(today)
    in_range = birthts.fits & (milliseconds >= first) & (milliseconds <= last)
    out_of_range = is_valid & ~in_range
    if malformed.any():
        faults.append(Fault(malformed, ProblemCode.NOT_AN_INTEGER, hint_for))
    if out_of_range.any():
        code = ProblemCode.BIRTHDATE_OUT_OF_RANGE
        faults.append(Fault(out_of_range, code, lambda value: _range_hint(value, today)))
    is_late = birthts.fits & (milliseconds > last)
    values = pa.array(milliseconds, mask=None if in_range.all() else ~in_range)
    days = np.where(is_late, milliseconds // DAY_MS, np.datetime64("NaT", "D").astype(np.int64))
    valid_from = days.astype("datetime64[D]") if is_late.any() else None
    return CheckedColumn(
        pa.chunked_array([values]), tuple(faults), valid_from, birthts.is_date & in_range
    )


def milliseconds_of(day: date) -> int:
    """The first millisecond of a day in UTC."""
    return (day - EPOCH).days * DAY_MS


def last_millisecond_of(day: date) -> int:
    """The last millisecond of a day in UTC."""
    return milliseconds_of(day) + DAY_MS - 1


def _range_hint(value: str, today: date) -> str:
    expected = f"The birthdate must be between {EARLIEST_BIRTHDATE} and {today}"
    number = _NUMBER.fullmatch(value)
    if number is None:
        return f"{expected}, but is {_shown_moment(value)}. Correct birthts."
    sign, digits = number[1], number[2].lstrip("0") or "0"
    if len(digits) > SAFE_DIGITS:
        return f"{expected}, but is outside the calendar. Correct birthts."
    milliseconds = int(sign + digits)
    shown = f"{expected}, but is {_shown_date(milliseconds)}."
    for factor, unit in ((1_000, "microseconds"), (1_000_000, "nanoseconds")):
        if _is_birthdate(milliseconds // factor, today):
            return f"{shown} If birthts is in {unit}, divide it by {factor:,}."
    return f"{shown} Correct birthts; its unit is milliseconds since 1970-01-01 UTC."


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


def _is_birthdate(milliseconds: int, today: date) -> bool:
    days = timedelta(days=milliseconds // DAY_MS)
    return EARLIEST_BIRTHDATE - EPOCH <= days <= today - EPOCH
