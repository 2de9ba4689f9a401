"""Columns of typed cells, and their texts by plain rules of Python."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, timedelta
from decimal import Context, Decimal

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from etl.model.dataset import Field, FieldType
from etl.read.types.typed_texts import texts_of

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
_CONTEXT = Context(prec=100)
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]
DECIMALS = [
    pa.decimal32(7, 2),
    pa.decimal64(15, 0),
    pa.decimal128(20, 7),
    pa.decimal128(12, -2),
    pa.decimal128(38, 10),
    pa.decimal256(60, 20),
]
TIMESTAMPS = [pa.timestamp(unit, zone) for unit in UNITS for zone in (None, "Europe/Berlin")]
TIMES = [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]
TYPES = [
    *INTEGERS,
    *FLOATS,
    *DECIMALS,
    *TIMESTAMPS,
    *TIMES,
    pa.bool_(),
    pa.date32(),
    pa.date64(),
    pa.duration("us"),
]

FIELDS = [
    *(Field(name="n", type=FieldType.INTEGER, sql=sql) for sql in (None, "smallint", "numeric")),
    *(
        Field(name="x", type=FieldType.NUMBER, sql=sql)
        for sql in (None, "double precision", "real", "numeric(12,2)", "numeric(60,20)")
    ),
    *(Field(name="t", sql=sql) for sql in (None, "varchar(6)", "uuid")),
    Field(name="b", type=FieldType.BOOLEAN),
    Field(name="d", type=FieldType.DATE),
    Field(name="c", type=FieldType.TIME),
    *(Field(name="w", type=FieldType.DATETIME, timezone=z) for z in (None, "Europe/Berlin")),
    Field(name="w", type=FieldType.DATETIME, sql="timestamp"),
    Field(name="y", type=FieldType.YEAR),
    Field(name="j", type=FieldType.ANY),
]


def _integers(type_: pa.DataType) -> st.SearchStrategy[int]:
    is_signed = pa.types.is_signed_integer(type_)
    most = 2 ** (type_.bit_width - is_signed) - 1
    least = -most - 1 if is_signed else 0
    return st.integers(least, most) | st.integers(max(least, -3), min(most, 2030))


def _moments(unit: str) -> st.SearchStrategy[int]:
    per_second = UNITS[unit]
    common = st.integers(-(2**33), 2**33).map(lambda seconds: seconds * per_second)
    days = st.integers(-800_000, 3_000_000).map(lambda day: day * 86_400 * per_second)
    gaps = st.integers(1_774_744_000, 1_774_752_000).map(lambda seconds: seconds * per_second)
    some = st.one_of(common, days, gaps, st.integers(-(2**63), 2**63 - 1))
    return some.map(lambda n: max(-(2**63), min(2**63 - 1, n)))


def cells(type_: pa.DataType) -> st.SearchStrategy[pa.Array]:  # noqa: PLR0911
    """Arrays of the type, without nulls."""
    if pa.types.is_integer(type_):
        return st.lists(_integers(type_), max_size=24).map(lambda v: pa.array(v, type_))
    if pa.types.is_floating(type_):
        width = type_.bit_width
        some = st.floats(width=width) | st.integers(-(2**11), 2**11).map(float)
        if width == 64:
            some |= st.integers(2**53 - 3, 2**53 + 3).map(float) | st.floats(-1e6, 1e6)
        kind = {16: np.float16, 32: np.float32, 64: np.float64}[width]
        return st.lists(some, max_size=24).map(lambda v: pa.array(np.array(v, kind)))
    if pa.types.is_decimal(type_):
        most = 10**type_.precision - 1
        some = st.integers(-most, most) | st.integers(-999, 999)
        return st.lists(some, max_size=24).map(
            lambda v: pa.array([Decimal(n).scaleb(-type_.scale, _CONTEXT) for n in v], type_)
        )
    if pa.types.is_boolean(type_):
        return st.lists(st.booleans(), max_size=24).map(lambda v: pa.array(v, type_))
    if pa.types.is_date32(type_):
        some = st.integers(-800_000, 3_000_000) | st.integers(-(2**31), 2**31 - 1)
        return st.lists(some, max_size=24).map(lambda v: pa.array(v, pa.int32()).cast(type_))
    if pa.types.is_time(type_):
        last = 86_400 * UNITS[type_.unit]
        stored = pa.int32() if type_.bit_width == 32 else pa.int64()
        some = st.integers(-2, last + 2) | st.integers(0, 86_400).map(
            lambda s: s * UNITS[type_.unit]
        )
        return st.lists(some, max_size=24).map(lambda v: pa.array(v, stored).view(type_))
    unit = "ms" if pa.types.is_date64(type_) else type_.unit
    return st.lists(_moments(unit), max_size=24).map(lambda v: pa.array(v, pa.int64()).view(type_))


def plain_text(array: pa.Array, row: int) -> str | None:  # noqa: PLR0911
    """The text of a value by plain rules; None if no rule here has one."""
    type_ = array.type
    if pa.types.is_floating(type_):
        return _float_text(array[row].as_py(), type_)
    if pa.types.is_boolean(type_):
        return str(array[row].as_py()).lower()
    if pa.types.is_integer(type_):
        return str(array[row].as_py())
    if not (pa.types.is_temporal(type_)):
        return None
    number = array.view(pa.int32() if type_.bit_width == 32 else pa.int64())[row].as_py()
    if pa.types.is_date32(type_) and -719_162 <= number <= 2_932_896:
        return (date(1970, 1, 1) + timedelta(days=number)).isoformat()
    if pa.types.is_timestamp(type_):
        whole, rest = divmod(number, UNITS[type_.unit])
        if not -62_135_596_800 <= whole < 253_402_300_800:
            return None
        digits = len(str(UNITS[type_.unit])) - 1
        decimals = f".{rest:0{digits}}".rstrip("0") if rest else ""
        moment = (EPOCH + timedelta(seconds=whole)).isoformat()
        return f"{moment}{decimals}{'Z' if type_.tz else ''}"
    return None


def _float_text(value: float, type_: pa.DataType) -> str | None:
    if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    limit = {16: 2**11, 32: 2**24, 64: 2**53}[type_.bit_width]
    if value.is_integer() and abs(value) < limit:
        return str(int(value))
    return None


def alike(value: object, field: Field) -> object:
    """The value as PostgreSQL reads it: equal numbers are the same."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return str(value)
    if (field.sql or "numeric").startswith("numeric") and field.type in {
        FieldType.INTEGER,
        FieldType.NUMBER,
    }:
        return Decimal(str(value))
    return value


def expected_text(array: pa.Array, row: int, field: Field) -> str:
    """The text that a cell must mean; an exception has one that means it."""
    text: str = texts_of(array)[row].as_py()
    type_ = array.type
    if field.type is FieldType.INTEGER and pa.types.is_floating(type_):
        value = array[row].as_py()
        limit = {16: 2**11, 32: 2**24, 64: 2**53}[type_.bit_width]
        return text if math.isfinite(value) and abs(value) < limit else "no integer"
    if field.type is FieldType.INTEGER and pa.types.is_decimal(type_):
        value = array[row].as_py()
        return str(int(value)) if value == int(value) else text
    if field.type is FieldType.DATE and pa.types.is_timestamp(type_) and type_.tz is None:
        return text.removesuffix("T00:00:00")
    is_bare = any(
        applies(type_)
        for applies in (
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_decimal,
            pa.types.is_boolean,
        )
    )
    if field.type is FieldType.ANY and not (is_bare and text[-1] not in "Ny"):
        return json.dumps(text)
    return text
