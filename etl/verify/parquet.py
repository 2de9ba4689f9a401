"""Read Parquet files."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etl.model.values import ProblemCode
from etl.verify.documents import InexactNumber, Members, Number, Written
from etl.verify.faults import FileError
from etl.verify.rows import Rows
from etl.verify.typed import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.verify.file import File
    from etl.verify.rows import Reading

_ROWS_AT_A_TIME = 10_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # of local times
_DAY_MS = 86_400_000
_DAY_MICROS = 86_400_000_000
# By the bits of a type: its floats tell apart the whole numbers below.
_WHOLE_LIMITS = {16: 2**11, 32: 2**24, 64: 2**53}
_FLOATS = {16: np.float16, 32: np.float32, 64: float}
_LEAST_EXPONENT = -6  # of numbers that are written without one
_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def read(file: File) -> Reading:
    """The rows and faults of a file; a row's line is its number, from 1.

    Raises:  FileError.
    """
    try:
        source = pq.ParquetFile(io.BytesIO(file.content))
        in_file = file.names(source.schema_arrow.names)
        file.check(in_file)
        rows = Rows(file.columns(in_file))
        for number, cells in enumerate(_rows(source), 1):
            rows.add(number, cells)
    except (pa.ArrowException, OSError) as error:
        raise FileError(ProblemCode.WRONG_FORMAT) from error
    return rows.finish()


def _rows(source: pq.ParquetFile) -> Iterator[tuple[object, ...]]:
    for batch in source.iter_batches(_ROWS_AT_A_TIME, use_threads=False):
        yield from zip(*map(_values, batch.columns), strict=True)


def _values(column: pa.Array) -> list[Any]:
    """The values of a column as those of Python; None where it is null."""
    kind = column.type
    read = next((read for is_kind, read in _COLUMNS if is_kind(kind)), None)
    if read is not None:
        return read(column)
    moment = next((read for is_kind, read in _MOMENTS if is_kind(kind)), None)
    if moment is None:
        found: list[Any] = column.to_pylist()
        return found
    bits = pa.int32() if kind.bit_width == pa.int32().bit_width else pa.int64()
    return [None if one is None else moment(one, kind) for one in column.view(bits).to_pylist()]


def _lists(column: pa.Array) -> list[Any]:
    return [_values(one.values) if one.is_valid else None for one in column]


def _maps(column: pa.MapArray) -> list[Any]:
    return [_map(one.values) if one.is_valid else None for one in column]


def _map(entries: pa.StructArray) -> Members:
    keys, values = map(_values, entries.flatten())
    return Members(zip(map(plain_text, keys), values, strict=True))


def _floats(column: pa.Array) -> list[Any]:
    return [None if one is None else _float(one, column.type) for one in column.to_pylist()]


def _objects(column: pa.StructArray) -> list[dict[str, object] | None]:
    names = [field.name for field in column.type]
    members = [_values(one) for one in column.flatten()]
    rows = zip(*members, strict=True) if members else [()] * len(column)
    return [
        dict(zip(names, row, strict=True)) if is_valid else None
        for row, is_valid in zip(rows, column.is_valid().to_pylist(), strict=True)
    ]


def _float(value: float, kind: pa.DataType) -> object:
    """The number in the shortest digits that its type tells apart."""
    if not math.isfinite(value):
        return Written(
            "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity", is_number=True
        )
    if value == int(value) and abs(value) < _WHOLE_LIMITS[kind.bit_width]:
        return Number(str(int(value)))
    shortest = Decimal(str(_FLOATS[kind.bit_width](value))).normalize()
    if value == int(value):
        return InexactNumber(_scientific(shortest))
    is_small = shortest.adjusted() < _LEAST_EXPONENT
    return Number(_scientific(shortest) if is_small else f"{shortest:f}")


def _scientific(number: Decimal) -> str:
    sign, digits, exponent = number.as_tuple()
    first, *others = map(str, digits)
    point = "." if others else ""
    return f"{'-' * sign}{first}{point}{''.join(others)}e{int(exponent) + len(others):+}"


def _timestamp(value: int, kind: pa.DataType) -> object:
    """The moment, aware if its column has a time zone; a Written if Python has no such value."""
    micros, rest = divmod(value * _NANOSECONDS[kind.unit], 1_000)
    try:
        moment = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return Written(f"{value} {kind.unit} since 1970")
    if rest:
        digits = f"{moment.isoformat(timespec='microseconds')}{rest:03}".rstrip("0")
        return Written(digits if kind.tz is None else f"{digits}Z")
    return moment if kind.tz is None else moment.replace(tzinfo=UTC)


def _date(value: int, kind: pa.DataType) -> object:
    days = value if pa.types.is_date32(kind) else value // _DAY_MS
    try:
        return (_EPOCH + timedelta(days=days)).date()
    except OverflowError:
        return Written(f"{days} days since 1970-01-01")


def _time(value: int, kind: pa.DataType) -> object:
    micros, rest = divmod(value * _NANOSECONDS[kind.unit], 1_000)
    if not 0 <= micros < _DAY_MICROS:
        return Written(f"{value} {kind.unit} since midnight")
    clock = (_EPOCH + timedelta(microseconds=micros)).time()
    if rest:
        return Written(f"{clock.isoformat(timespec='microseconds')}{rest:03}".rstrip("0"))
    return clock


def _duration(value: int, kind: pa.DataType) -> object:
    whole, part = divmod(abs(value) * _NANOSECONDS[kind.unit], 1_000_000_000)
    fraction = f".{part:09}".rstrip("0") if part else ""
    return Written(f"{'-' * (value < 0)}PT{whole}{fraction}S")


_MOMENTS = (
    (pa.types.is_timestamp, _timestamp),
    (pa.types.is_date, _date),
    (pa.types.is_time, _time),
    (pa.types.is_duration, _duration),
)
_COLUMNS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], list[Any]]], ...] = (
    (pa.types.is_dictionary, lambda column: _values(column.dictionary_decode())),
    (pa.types.is_struct, _objects),
    (pa.types.is_map, _maps),
    (pa.types.is_nested, _lists),
    (pa.types.is_floating, _floats),
)
