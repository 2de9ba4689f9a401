"""The texts of typed cells, one canonical text per value; nested values are JSON.

The text of a number has no exponent where a whole number is exact in its type, so ids that were
stored as floats keep their form: 1000.0 is `1000`. Datetimes are ISO 8601, in UTC if the column has
a time zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.read.types.column import TEXT, mask_of
from etl.read.types.nested import is_nested, json_texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DAY_MS = 86_400_000
UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

_FIRST_SECOND = int(np.datetime64("0001-01-01", "s").astype(np.int64))
_END_SECOND = int(np.datetime64("10000-01-01", "s").astype(np.int64))
_INT32 = 2**31
_FIRST_WITH_EXPONENT, _FIRST_WITH_EXPONENT_OF_PYTHON = 10**10, 10**16
_WHOLE_LIMITS = {16: 2**11, 32: 2**24, 64: 2**53}
_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def texts_of(cells: pa.Array) -> pa.Array:
    """The texts of cells of any type but binary ones; null where the cell is.

    Raises:  TypeError when Bucketline does not read the type.
    """
    type_ = cells.type
    if pa.types.is_large_string(type_):
        return cells
    if is_nested(type_):
        return json_texts(cells, texts_of)
    convert = next((convert for applies, convert in _CONVERSIONS if applies(type_)), None)
    if convert is None:
        raise TypeError(str(type_))
    return convert(cells)


def whole_limit(type_: pa.DataType) -> int:
    """The whole number from which on floats of the type do not tell all whole numbers apart."""
    return _WHOLE_LIMITS[type_.bit_width]


def whole_numbers(cells: pa.Array) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which floats are exact whole numbers, and these numbers (0 for the others)."""
    floats = floats_of(cells)
    with np.errstate(invalid="ignore"):  # of some NaN
        is_whole: NDArray[np.bool_] = np.floor(floats) == floats
    is_whole &= np.abs(floats) < whole_limit(cells.type)
    return is_whole, np.where(is_whole, floats, 0).astype(np.int64)


def floats_of(cells: pa.Array) -> NDArray[np.float64]:
    """The floats of a column in double precision; null is NaN."""
    with np.errstate(invalid="ignore"):  # of some NaN
        floats: NDArray[np.float64] = cells.to_numpy(zero_copy_only=False).astype(np.float64)
    return floats


def numbers_of(cells: pa.Array) -> NDArray[np.int64]:
    """The numbers by which Arrow stores dates and times, in the unit of their type; 0 for null."""
    width = pa.int32() if cells.type.bit_width == pa.int32().bit_width else pa.int64()
    stored = cells.view(width)
    numbers = stored.fill_null(0) if stored.null_count else stored
    found: NDArray[np.int64] = numbers.to_numpy().astype(np.int64, copy=False)
    return found


def are_in_calendar(moments: NDArray[np.int64], unit: str) -> NDArray[np.bool_]:
    """Which timestamps are of the years 1 to 9999."""
    per_second = UNITS_PER_SECOND[unit]
    if unit == "ns":
        return np.ones(len(moments), np.bool_)  # 64 bits hold only some centuries
    is_in: NDArray[np.bool_] = (moments >= _FIRST_SECOND * per_second) & (
        moments < _END_SECOND * per_second
    )
    return is_in


def _of_floats(cells: pa.Array) -> pa.Array:
    if pa.types.is_float16(cells.type):
        written = [None if one is None else str(np.float16(one)) for one in cells.to_pylist()]
        texts = pa.array(written, TEXT)
    else:
        texts = cells.cast(TEXT)
    is_whole, numbers = whole_numbers(cells)
    # Arrow writes -0, and an exponent from 1e10 on; numpy writes half floats with `.0`.
    is_odd = is_whole & ((numbers == 0) | (np.abs(numbers) >= _FIRST_WITH_EXPONENT))
    if pa.types.is_float16(cells.type):
        is_odd = is_whole
    if is_odd.any():
        exact = pa.array(numbers[is_odd]).cast(TEXT)
        texts = pc.replace_with_mask(texts, pa.array(is_odd), exact)
    size = np.abs(floats_of(cells))
    is_large = (size >= _FIRST_WITH_EXPONENT) & (size < _FIRST_WITH_EXPONENT_OF_PYTHON) & ~is_whole
    if is_large.any() and pa.types.is_float64(cells.type):
        plain = [repr(one) for one in cells.filter(pa.array(is_large)).to_pylist()]
        texts = pc.replace_with_mask(texts, pa.array(is_large), pa.array(plain, TEXT))
    is_special = ~np.isfinite(floats_of(cells)) & mask_of(cells.is_valid())
    if is_special.any():
        names = [_SPECIAL[one] for one in texts.filter(pa.array(is_special)).to_pylist()]
        texts = pc.replace_with_mask(texts, pa.array(is_special), pa.array(names, TEXT))
    return texts


def _of_timestamps(cells: pa.Array) -> pa.Array:
    unit = cells.type.unit
    numbers = numbers_of(cells)
    is_in = are_in_calendar(numbers, unit)
    shown = pa.array(np.where(is_in, numbers, 0), mask=~mask_of(cells.is_valid()))
    texts = shown.cast(pa.timestamp(unit)).cast(TEXT)
    texts = pc.utf8_replace_slice(texts, len("2026-01-01"), len("2026-01-01 "), "T")
    texts = _without_zeros(texts, numbers, unit)
    if cells.type.tz is not None:
        texts = _joined(texts, "Z")
    if is_in.all():
        return texts
    beyond = _joined(cells.view(pa.int64()).cast(TEXT), f" {unit} since 1970")
    return pc.if_else(pa.array(is_in), texts, beyond)


def _of_days(cells: pa.Array) -> pa.Array:
    """The texts of date64: milliseconds, which should be those of whole days."""
    numbers = numbers_of(cells)
    days, rest = np.divmod(numbers, DAY_MS)
    is_day = (rest == 0) & (np.abs(days) < _INT32)
    shown = np.where(is_day, days, 0).astype(np.int32)
    texts = pa.array(shown, mask=~mask_of(cells.is_valid())).cast(pa.date32()).cast(TEXT)
    if is_day.all():
        return texts
    moments = _of_timestamps(cells.view(pa.int64()).cast(pa.timestamp("ms")))
    return pc.if_else(pa.array(is_day), texts, moments)


def _of_times(cells: pa.Array) -> pa.Array:
    return _without_zeros(cells.cast(TEXT), numbers_of(cells), cells.type.unit)


def _of_durations(cells: pa.Array) -> pa.Array:
    """ISO 8601, in the unit of the column, because days need not have 24 hours."""
    per_second = UNITS_PER_SECOND[cells.type.unit]
    digits = len(str(per_second)) - 1
    found: list[str | None] = []
    for one in cells.view(pa.int64()).to_pylist():
        if one is None:
            found.append(None)
            continue
        whole, fraction = divmod(abs(one), per_second)
        decimals = f".{fraction:0{digits}}".rstrip("0") if fraction else ""
        found.append(f"{'-' if one < 0 else ''}PT{whole}{decimals}S")
    return pa.array(found, TEXT)


def _without_zeros(texts: pa.Array, numbers: NDArray[np.int64], unit: str) -> pa.Array:
    """Times without the zeros at the end of their fractions."""
    if unit == "s":
        return texts
    if not (numbers % UNITS_PER_SECOND[unit]).any():
        return pc.replace_substring_regex(texts, r"\.0+\z", "")
    return pc.replace_substring_regex(texts, r"(\.[0-9]*[1-9])0+\z|\.0+\z", r"\1")


def _joined(texts: pa.Array, suffix: str) -> pa.Array:
    return pc.binary_join_element_wise(texts, pa.scalar(suffix, TEXT), pa.scalar("", TEXT))


def _is_plain(type_: pa.DataType) -> bool:
    """Whether Arrow's own texts are canonical."""
    return any(
        applies(type_)
        for applies in (
            pa.types.is_null,
            pa.types.is_boolean,
            pa.types.is_integer,
            pa.types.is_decimal,
            pa.types.is_date32,
            pa.types.is_string,
            pa.types.is_string_view,
        )
    )


_CONVERSIONS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (_is_plain, lambda cells: cells.cast(TEXT)),
    (pa.types.is_floating, _of_floats),
    (pa.types.is_timestamp, _of_timestamps),
    (pa.types.is_date64, _of_days),
    (pa.types.is_time, _of_times),
    (pa.types.is_duration, _of_durations),
)
