"""Check one column: missing values first, then the type, then the constraints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.dataset import FieldType
from etl.model.safe_text import safe_value
from etl.model.values import ProblemCode, Severity
from etl.read.types.booleans import parse_booleans
from etl.read.types.column import (
    TEXT,
    CheckedColumn,
    Fault,
    Parsed,
    all_true,
    mask_of,
    spread,
    spread_mask,
    text_bytes,
)
from etl.read.types.constraints import check_constraints
from etl.read.types.documents import parse_documents
from etl.read.types.epoch_ms import parse_epoch_ms
from etl.read.types.integers import parse_integers
from etl.read.types.numbers import parse_numbers
from etl.read.types.strings import parse_strings
from etl.read.types.times import parse_dates, parse_datetimes, parse_times
from etl.read.types.typed import as_written, parse_typed, texts_for, unfit
from etl.read.types.years import parse_years

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from numpy.typing import NDArray

    from etl.model.dataset import Field

PARSERS: dict[FieldType, Callable[[pa.Array, Field, date], Parsed]] = {
    FieldType.STRING: parse_strings,
    FieldType.INTEGER: parse_integers,
    FieldType.NUMBER: parse_numbers,
    FieldType.BOOLEAN: parse_booleans,
    FieldType.DATE: parse_dates,
    FieldType.TIME: parse_times,
    FieldType.DATETIME: parse_datetimes,
    FieldType.YEAR: parse_years,
    FieldType.OBJECT: parse_documents,
    FieldType.ARRAY: parse_documents,
    FieldType.ANY: parse_documents,
    FieldType.EPOCH_MS: parse_epoch_ms,
}


def check_column(
    cells: pa.ChunkedArray,
    field: Field,
    missing_values: tuple[str, ...],
    today: date,
    *,
    noun: str = "row",
) -> CheckedColumn:
    """Check the cells of a column, without nulls, against its field.

    Texts are large_string, already stripped if the field is trimmed. Cells of another type are
    checked as `typed` says.
    `missing_values` are those of the dataset; the field's own take precedence. `today` is the
    greatest value of a bound that is Moment.TODAY. `noun` names a row in the hint for a missing
    value. Each accepted value can be stored in the field's column type without loss.

    Raises:  UnsupportedSqlType, InvalidFormat when the declaration is not valid; TypeError when
             the cells have a type that no field takes.
    """
    array = _one_array(cells)
    if array.type == TEXT:
        if field.missing_values is not None:
            missing_values = field.missing_values
        is_present = ~_is_missing(array, missing_values)
        present = array if is_present.all() else array.filter(pa.array(is_present))
        parsed = PARSERS[field.type](present, field, today)
    else:
        is_present = all_true(len(array))
        parsed, present = _parse_typed(array, as_written(field), today)
    faults = parsed.faults + check_constraints(parsed, present, field)
    values = spread(_without_faulty(parsed, faults), is_present)
    all_faults = [
        Fault(spread_mask(fault.rows, is_present), fault.code, fault.note, fault.severity)
        for fault in faults
    ]
    if field.constraints.required and not is_present.all():
        note = f"Fill in {field.name}; it is required for every {noun}."
        all_faults.insert(0, Fault(~is_present, ProblemCode.MISSING_CELL, lambda _: note))
    return CheckedColumn(
        pa.chunked_array([values]),
        tuple(all_faults),
        _valid_from(parsed, faults, is_present),
        None if parsed.dated is None else spread_mask(parsed.dated, is_present),
    )


def _one_array(cells: pa.ChunkedArray) -> pa.Array:
    if cells.num_chunks == 1:
        return cells.chunk(0)
    combined = cells.combine_chunks()
    # Without chunks, Arrow gives a chunked array.
    return combined if isinstance(combined, pa.Array) else pa.array([], cells.type)


def _parse_typed(cells: pa.Array, field: Field, today: date) -> tuple[Parsed, pa.Array]:
    """The parsed cells, and their texts if the type of the field is checked by these."""
    parsed = parse_typed(cells, field)
    if parsed is not None:
        return parsed, cells
    texts = texts_for(cells, field)
    parsed = PARSERS[field.type](texts, field, today)
    found = [replace(one, note=_with_type(one.note, cells.type)) for one in parsed.faults]
    is_unfit = unfit(cells, field)
    if is_unfit is None:
        return replace(parsed, faults=found), texts
    fits = ~is_unfit.rows
    found = [replace(one, rows=one.rows & fits) for one in found if (one.rows & fits).any()]
    return replace(parsed, faults=[is_unfit, *found], is_valid=parsed.is_valid & fits), texts


def _with_type(note: Callable[[str], str], type_: pa.DataType) -> Callable[[str], str]:
    shown = safe_value(str(type_))
    return lambda value: f"{note(value)} The column has the type {shown} in the file."


def _is_missing(cells: pa.Array, missing_values: tuple[str, ...]) -> NDArray[np.bool_]:
    if missing_values == ("",):
        offsets, _ = text_bytes(cells)
        is_empty: NDArray[np.bool_] = offsets[1:] == offsets[:-1]
        return is_empty
    return mask_of(pc.is_in(cells, value_set=pa.array(missing_values, TEXT)))


def _without_faulty(parsed: Parsed, faults: list[Fault]) -> pa.Array:
    is_good = parsed.is_valid
    for fault in faults:
        if fault.severity is Severity.ERROR:
            is_good = is_good & ~fault.rows
    if is_good.all():
        return parsed.values
    return pc.if_else(pa.array(is_good), parsed.values, pa.scalar(None, parsed.values.type))


def _valid_from(
    parsed: Parsed, faults: list[Fault], is_present: NDArray[np.bool_]
) -> NDArray[np.datetime64] | None:
    if parsed.valid_from is None:
        return None
    days = parsed.valid_from.copy()
    late = ~np.isnat(days)
    for fault in faults:
        if fault.severity is Severity.ERROR and fault.code not in _TOO_LATE:
            late &= ~fault.rows
    days[~late] = np.datetime64("NaT")
    spread_out = np.full(len(is_present), np.datetime64("NaT"), "datetime64[D]")
    spread_out[is_present] = days
    return spread_out


_TOO_LATE = frozenset({ProblemCode.BIRTHDATE_OUT_OF_RANGE, ProblemCode.ABOVE_MAXIMUM})
