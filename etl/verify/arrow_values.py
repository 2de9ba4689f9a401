"""Values of Arrow columns as those of Python, with what Python has not as texts."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from etl.verify.documents import DigitNumber, InexactNumber, Members, Written
from etl.verify.typed import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable

    Values = list[Any]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # of local times
_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_DAY_MS = 86_400_000
_DAY_MICROS = 86_400_000_000
# By the bits of a type: its floats tell apart the whole numbers below.
_WHOLE_LIMITS = {16: 2**11, 32: 2**24, 64: 2**53}
_FLOATS = {16: np.float16, 32: np.float32, 64: float}
_LEAST_EXPONENT = -6  # of numbers that are written without one
_UUID_BYTES = 16


def is_readable(kind: pa.DataType) -> bool:
    """Whether a column of this type is read."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_readable(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return is_readable(kind.value_type)
    if pa.types.is_struct(kind) or pa.types.is_map(kind) or _is_list(kind):
        return all(is_readable(kind.field(n).type) for n in range(kind.num_fields))
    return any(
        is_kind(kind)
        for is_kind in (
            *(pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating),
            *(pa.types.is_decimal, pa.types.is_date, pa.types.is_time, pa.types.is_timestamp),
            *(pa.types.is_duration, _is_bytes),
        )
    )


def values(column: pa.Array, *, is_uuid: bool = False) -> Values:
    """The values of a column; None where it is null, and bytes if they are not UTF-8.

    `is_uuid`: 16 bytes are a UUID even if the file does not say so.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return values(column.storage, is_uuid=isinstance(kind, pa.UuidType))
    if pa.types.is_dictionary(kind):
        return values(column.dictionary_decode(), is_uuid=is_uuid)
    if is_uuid and pa.types.is_fixed_size_binary(kind) and kind.byte_width == _UUID_BYTES:
        return [None if one is None else str(UUID(bytes=one)) for one in column.to_pylist()]
    read = next((read for is_kind, read in _COLUMNS if is_kind(kind)), None)
    if read is not None:
        return read(column)
    moment = next((read for is_kind, read in _MOMENTS if is_kind(kind)), None)
    if moment is None:
        found: Values = column.to_pylist()
        return found
    bits = pa.int32() if kind.bit_width == pa.int32().bit_width else pa.int64()
    return [None if one is None else moment(one, kind) for one in column.view(bits).to_pylist()]


def _is_list(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (
            *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
            *(pa.types.is_list_view, pa.types.is_large_list_view),
        )
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (
            *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
            *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
            pa.types.is_fixed_size_binary,
        )
    )


def _texts(column: pa.Array) -> Values:
    contents = column.cast(pa.large_binary()).to_pylist()
    return [None if one is None else _text(one) for one in contents]


def _text(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _members_of(column: pa.Array) -> Values:
    """The values within arrays and objects; bytes that are not UTF-8 are hexadecimal."""
    return [f"\\x{one.hex()}" if isinstance(one, bytes) else one for one in values(column)]


def _lists(column: pa.Array) -> Values:
    return [_members_of(one.values) if one.is_valid else None for one in column]


def _maps(column: pa.MapArray) -> Values:
    return [_map(one.values) if one.is_valid else None for one in column]


def _map(entries: pa.StructArray) -> Members:
    keys, items = map(_members_of, entries.flatten())
    return Members(zip(map(plain_text, keys), items, strict=True))


def _floats(column: pa.Array) -> Values:
    return [None if one is None else _float(one, column.type) for one in column.to_pylist()]


def _objects(column: pa.StructArray) -> Values:
    """The members of each object, in the order of jsonb."""
    names = [column.type.field(n).name for n in range(column.type.num_fields)]
    columns = dict(enumerate(map(_members_of, column.flatten())))
    order = sorted(columns, key=lambda place: (len(names[place].encode()), names[place].encode()))
    return [
        Members((names[place], columns[place][row]) for place in order) if is_valid else None
        for row, is_valid in enumerate(column.is_valid().to_pylist())
    ]


def _float(value: float, kind: pa.DataType) -> object:
    """The number in the shortest digits that its type tells apart."""
    if not math.isfinite(value):
        return Written(
            "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity", is_number=True
        )
    if value == int(value) and abs(value) < _WHOLE_LIMITS[kind.bit_width]:
        return DigitNumber(str(int(value)))
    shortest = Decimal(str(_FLOATS[kind.bit_width](value))).normalize()
    if value == int(value):
        return InexactNumber(_scientific(shortest))
    is_small = shortest.adjusted() < _LEAST_EXPONENT
    return DigitNumber(_scientific(shortest) if is_small else f"{shortest:f}")


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
_COLUMNS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], Values]], ...] = (
    (_is_bytes, _texts),
    (pa.types.is_floating, _floats),
    (pa.types.is_struct, _objects),
    (pa.types.is_map, _maps),
    (_is_list, _lists),
)
