"""Cells that have a type already: those of Parquet, and of JSON where a whole column has one.

A value means what its text means to the field, but no option of the declaration that says how texts
are written has a bearing on it: `decimalChar`, `groupChar`, `format`, `trueValues`, `falseValues`,
`missingValues`, `trim`. Where the type agrees with the field, no text is made. These are stricter
or more lenient than their texts:

- A float for an integer must be whole, and so small that floats tell whole numbers apart.
- NaN and infinity are no text.
- A decimal with zeros only is an integer, and midnight without a time zone is a date, because
  pandas has no other type for dates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from etl.model.dataset import Field, FieldType
from etl.model.types import sql_type
from etl.model.values import ProblemCode
from etl.read.types.calendar import DAY_US
from etl.read.types.column import TEXT, Fault, Parsed, all_true, mask_of, sign_of
from etl.read.types.integers import bounded_integers, integer_note
from etl.read.types.nested import json_texts
from etl.read.types.numbers import parsed_decimals, parsed_floats
from etl.read.types.numerals import to_canonical
from etl.read.types.times import parsed_datetimes, parsed_days, parsed_times
from etl.read.types.typed_texts import (
    UNITS_PER_SECOND,
    are_in_calendar,
    floats_of,
    numbers_of,
    texts_of,
    whole_limit,
    whole_numbers,
)
from etl.read.types.zones import to_utc

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_US_PER_SECOND = UNITS_PER_SECOND["us"]
_DOCUMENTS = frozenset({FieldType.OBJECT, FieldType.ARRAY, FieldType.ANY})
_DEFAULTS = Field(name="")


def as_written(field: Field) -> Field:
    """The field without the options of texts."""
    return replace(
        field,
        format=None,
        decimal_char=_DEFAULTS.decimal_char,
        group_char=_DEFAULTS.group_char,
        true_values=_DEFAULTS.true_values,
        false_values=_DEFAULTS.false_values,
    )


def parse_typed(cells: pa.Array, field: Field) -> Parsed | None:
    """Check typed cells, without nulls, of a type that agrees with the field; None: others."""
    parse = _PARSERS.get(field.type)
    return None if parse is None else parse(cells, field)


def texts_for(cells: pa.Array, field: Field) -> pa.Array:
    """The texts of typed cells by which they are checked against the field."""
    type_ = cells.type
    if field.type in _DOCUMENTS:
        return json_texts(cells, texts_of)
    texts = texts_of(cells)
    if field.type is FieldType.INTEGER and pa.types.is_decimal(type_):
        return to_canonical(texts)
    return texts


def unfit(cells: pa.Array, field: Field) -> Fault | None:
    """The fault of cells that have a text, but should have none."""
    if field.type is not FieldType.STRING or not pa.types.is_floating(cells.type):
        return None
    is_special = ~np.isfinite(floats_of(cells))
    if not is_special.any():
        return None
    note = f"{field.name} is text. Write null in place of NaN and infinity."
    return Fault(is_special, ProblemCode.NOT_A_NUMBER, lambda _: note)


def _integers(cells: pa.Array, field: Field) -> Parsed | None:
    type_ = cells.type
    if pa.types.is_floating(type_):
        return _whole_floats(cells, field)
    if sql_type(field.type, field.sql).name == "numeric" or not pa.types.is_integer(type_):
        return None
    fits = all_true(len(cells))
    if pa.types.is_uint64(type_):
        fits = cells.view(pa.int64()).to_numpy() >= 0
    numbers = cells.cast(pa.int64(), safe=False)
    return bounded_integers(numbers, all_true(len(cells)), fits, field, [])


def _whole_floats(cells: pa.Array, field: Field) -> Parsed:
    is_whole, numbers = whole_numbers(cells)
    faults = []
    if not is_whole.all():
        faults.append(Fault(~is_whole, ProblemCode.NOT_AN_INTEGER, _float_note(cells.type, field)))
    if sql_type(field.type, field.sql).name != "numeric":
        return bounded_integers(pa.array(numbers), is_whole, is_whole, field, faults)
    return Parsed(
        pa.array(numbers).cast(TEXT),
        is_whole,
        faults,
        compare=lambda bound: sign_of(numbers, bound),
    )


def _float_note(type_: pa.DataType, field: Field) -> Callable[[str], str]:
    as_text = integer_note(field)

    def note(value: str) -> str:
        expected = as_text("")
        if value == "NaN":
            return f"{expected} Write null in place of NaN."
        if value.endswith("Infinity") or not float(value).is_integer():
            return as_text(value)
        return (
            f"{expected} From {whole_limit(type_):,} on, floats of the type {type_} cannot tell "
            "whole numbers apart; write the column as integers."
        )

    return note


def _numbers(cells: pa.Array, field: Field) -> Parsed | None:
    sql = sql_type(field.type, field.sql)
    type_ = cells.type
    if sql.name == "numeric":
        if sql.precision is None or sql.scale is None or not pa.types.is_decimal(type_):
            return None
        return _exact_decimals(cells, sql.precision, sql.scale)
    if (sql.name, type_) in {("double precision", pa.float64()), ("real", pa.float32())}:
        floats = cells.to_numpy()
    elif sql.name == "double precision" and pa.types.is_integer(type_):
        floats = cells.to_numpy().astype(np.float64)
    else:
        return None
    return parsed_floats(floats, all_true(len(floats)), [])


def _exact_decimals(cells: pa.Array, precision: int, scale: int) -> Parsed | None:
    decimal = next(
        (type_ for most, type_ in ((38, pa.decimal128), (76, pa.decimal256)) if precision <= most),
        None,
    )
    if decimal is None:
        return None
    try:
        values = cells.cast(decimal(precision, scale))
    except pa.ArrowInvalid:  # some have more digits
        return None
    return parsed_decimals(values, all_true(len(values)), [])


def _booleans(cells: pa.Array, _: Field) -> Parsed | None:
    if not pa.types.is_boolean(cells.type):
        return None
    numbers = mask_of(cells).astype(np.int8)
    return Parsed(cells, all_true(len(cells)), compare=lambda bound: sign_of(numbers, bound))


def _dates(cells: pa.Array, field: Field) -> Parsed | None:
    type_ = cells.type
    if pa.types.is_date32(type_):
        days = numbers_of(cells)
        is_day = are_in_calendar(days * (DAY_US // _US_PER_SECOND), "s")
    elif pa.types.is_timestamp(type_) and type_.tz is None:
        moments = numbers_of(cells)
        days, rest = np.divmod(moments, DAY_US // _US_PER_SECOND * UNITS_PER_SECOND[type_.unit])
        is_day = (rest == 0) & are_in_calendar(moments, type_.unit)
    else:
        return None
    return parsed_days(days, is_day, field)


def _times(cells: pa.Array, field: Field) -> Parsed | None:
    if not pa.types.is_time(cells.type):
        return None
    numbers = numbers_of(cells)
    is_in_day = (numbers >= 0) & (
        numbers < DAY_US // _US_PER_SECOND * UNITS_PER_SECOND[cells.type.unit]
    )
    moments, is_exact = _in_microseconds(numbers, cells.type.unit, is_in_day)
    return parsed_times(moments, is_exact & is_in_day, field)


def _datetimes(cells: pa.Array, field: Field) -> Parsed | None:
    type_ = cells.type
    if not pa.types.is_timestamp(type_):
        return None
    numbers = numbers_of(cells)
    is_in = are_in_calendar(numbers, type_.unit)
    moments, is_exact = _in_microseconds(numbers, type_.unit, is_in)
    is_valid = is_in & is_exact
    nothing = np.zeros(len(moments), np.bool_)
    if type_.tz is not None or field.timezone in {None, "UTC"}:
        return parsed_datetimes(moments, is_valid, nothing, nothing, field)
    instants = to_utc(np.where(is_valid, moments, 0), field.timezone)
    is_gap, is_twice = ~instants.exists & is_valid, instants.twice & is_valid
    return parsed_datetimes(instants.utc, is_valid, is_gap, is_twice, field)


def _in_microseconds(
    numbers: NDArray[np.int64], unit: str, is_in: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The numbers in microseconds (any for those not in range), and which of them are exact."""
    per_second = UNITS_PER_SECOND[unit]
    if per_second <= _US_PER_SECOND:
        factor = _US_PER_SECOND // per_second
        moments = numbers if factor == 1 else np.where(is_in, numbers, 0) * factor
        return moments, all_true(len(numbers))
    moments, rest = np.divmod(numbers, per_second // _US_PER_SECOND)
    return moments, rest == 0


_PARSERS: dict[FieldType, Callable[[pa.Array, Field], Parsed | None]] = {
    FieldType.INTEGER: _integers,
    FieldType.NUMBER: _numbers,
    FieldType.BOOLEAN: _booleans,
    FieldType.DATE: _dates,
    FieldType.TIME: _times,
    FieldType.DATETIME: _datetimes,
}
