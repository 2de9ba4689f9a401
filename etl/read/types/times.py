"""Dates, times and datetimes, in ISO 8601 or a strptime pattern.

Datetimes are converted to UTC. They are written as text with an offset, because timestamps with
a time zone take Arrow twenty times as long to write, and without one COPY would use the zone of
the session.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.dataset import FieldType
from etl.model.time_formats import time_pattern
from etl.model.types import sql_type
from etl.model.values import ProblemCode, Severity
from etl.read.types.calendar import DAY_US, days, offsets, time_of_day
from etl.read.types.column import TEXT, Fault, Parsed, sign_of
from etl.read.types.layouts import read_numbers
from etl.read.types.time_hints import (
    ambiguous_hint,
    date_hint,
    datetime_hint,
    nonexistent_hint,
    time_hint,
)
from etl.read.types.zones import to_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from etl.model.dataset import Field
    from etl.read.types.layouts import Numbers

Bound = TypeVar("Bound", date, time, datetime)

_EPOCH = date(1970, 1, 1)
_FIRST_US = int(np.datetime64("0001-01-01", "us").astype(np.int64))
_END_US = int(np.datetime64("10000-01-01", "us").astype(np.int64))
_UTC_SUFFIX = pa.scalar("+00", TEXT)


def parse_dates(texts: pa.Array, field: Field, _: date) -> Parsed:
    """Parse the texts to date32."""
    is_valid, numbers = read_numbers(texts, time_pattern(FieldType.DATE, field.format))
    exists, day = days(numbers)
    return parsed_days(day, is_valid & exists, field)


def parsed_days(day: NDArray[np.int64], is_valid: NDArray[np.bool_], field: Field) -> Parsed:
    """Days since 1970 as a parsed column of date32."""
    return Parsed(
        pa.array(np.where(is_valid, day, 0).astype(np.int32)).cast(pa.date32()),
        is_valid,
        _faults(is_valid, ProblemCode.NOT_A_DATE, lambda value: date_hint(value, field)),
        compare=lambda bound: sign_of(day, (_expect(bound, date) - _EPOCH).days),
    )


def parse_times(texts: pa.Array, field: Field, _: date) -> Parsed:
    """Parse the texts to time64, in microseconds."""
    is_valid, numbers = read_numbers(texts, time_pattern(FieldType.TIME, field.format))
    exists, moment = time_of_day(numbers)
    return parsed_times(moment, is_valid & exists, field)


def parsed_times(moment: NDArray[np.int64], is_valid: NDArray[np.bool_], field: Field) -> Parsed:
    """Microseconds of a day as a parsed column of time64."""
    return Parsed(
        pa.array(np.where(is_valid, moment, 0)).cast(pa.time64("us")),
        is_valid,
        _faults(is_valid, ProblemCode.NOT_A_TIME, lambda value: time_hint(value, field)),
        compare=lambda bound: sign_of(moment, _microseconds_of_day(_expect(bound, time))),
    )


def parse_datetimes(texts: pa.Array, field: Field, _: date) -> Parsed:
    """Parse the texts to UTC, as text for timestamptz and as timestamps for timestamp."""
    is_valid, numbers = read_numbers(texts, time_pattern(FieldType.DATETIME, field.format))
    exists, local = _local_times(numbers)
    is_valid = is_valid & exists
    utc, is_gap, is_twice = _to_utc(local, numbers, is_valid, field.timezone)
    return parsed_datetimes(utc, is_valid, is_gap, is_twice, field)


def parsed_datetimes(
    utc: NDArray[np.int64],
    is_valid: NDArray[np.bool_],
    is_gap: NDArray[np.bool_],
    is_twice: NDArray[np.bool_],
    field: Field,
) -> Parsed:
    """Microseconds since 1970 in UTC as a parsed column.

    `is_gap` are local times that do not exist, `is_twice` those that occur twice.
    """
    is_form = is_valid & ~is_gap & (utc >= _FIRST_US) & (utc < _END_US)
    is_valid = is_valid & (is_form | is_gap)
    faults = _faults(
        is_valid, ProblemCode.NOT_A_DATETIME, lambda value: datetime_hint(value, field)
    )
    faults += _faults(~is_gap, ProblemCode.NONEXISTENT_TIME, lambda _: nonexistent_hint(field))
    if (is_twice & is_form).any():
        faults.append(
            Fault(
                is_twice & is_form,
                ProblemCode.AMBIGUOUS_TIME,
                lambda _: ambiguous_hint(field),
                Severity.WARNING,
            )
        )
    return Parsed(
        _timestamps(np.where(is_form, utc, 0), field),
        is_form,
        faults,
        compare=lambda bound: sign_of(utc, _microseconds(bound)),
    )


def _local_times(numbers: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    is_date, day = days(numbers)
    if "hour" not in numbers and "hour12" not in numbers:
        return is_date, day * DAY_US
    is_time, moment = time_of_day(numbers)
    is_valid = is_date & is_time
    if "sign" in numbers:
        is_valid = is_valid & offsets(numbers)[0]
    return is_valid, day * DAY_US + moment


def _to_utc(
    local: NDArray[np.int64], numbers: Numbers, is_valid: NDArray[np.bool_], zone: str | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """The times in UTC, which do not exist, and which occur twice."""
    nothing = np.zeros(len(local), np.bool_)
    utc = local - offsets(numbers)[1] if "sign" in numbers else local
    is_local = is_valid & ~_has_offset(numbers, len(local))
    if zone is None or zone == "UTC" or not is_local.any():
        return utc, nothing, nothing
    if is_local.all():
        instants = to_utc(local, zone)
        return instants.utc, ~instants.exists, instants.twice
    instants = to_utc(local[is_local], zone)
    utc, is_gap, is_twice = utc.copy(), nothing.copy(), nothing.copy()
    utc[is_local] = instants.utc
    is_gap[is_local], is_twice[is_local] = ~instants.exists, instants.twice
    return utc, is_gap, is_twice


def _has_offset(numbers: Numbers, count: int) -> NDArray[np.bool_]:
    if "zulu" not in numbers:
        return np.zeros(count, np.bool_)
    has_offset: NDArray[np.bool_] = (numbers["zulu"] != 0) | (numbers["sign"] != 0)
    return has_offset


def _timestamps(utc: NDArray[np.int64], field: Field) -> pa.Array:
    moments = pa.array(utc).cast(pa.timestamp("us"))
    if sql_type(field.type, field.sql).name == "timestamp":
        return moments
    return pc.binary_join_element_wise(moments.cast(TEXT), _UTC_SUFFIX, pa.scalar("", TEXT))


def _faults(
    is_valid: NDArray[np.bool_], code: ProblemCode, note: Callable[[str], str]
) -> list[Fault]:
    return [] if is_valid.all() else [Fault(~is_valid, code, note)]


def _expect(bound: Hashable, kind: type[Bound]) -> Bound:
    if isinstance(bound, kind):
        return bound
    raise TypeError(f"a bound must be a {kind.__name__}, not {bound!r}")


def _microseconds_of_day(moment: time) -> int:
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds * 1_000_000 + moment.microsecond


def _microseconds(bound: Hashable) -> int:
    moment = _expect(bound, datetime)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
