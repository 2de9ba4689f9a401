"""Check one column: missing values first, then the type, then the constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.dataset import FieldType
from etl.model.values import ProblemCode, Severity
from etl.read.types.booleans import parse_booleans
from etl.read.types.column import (
    TEXT,
    CheckedColumn,
    Fault,
    Parsed,
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
    texts: pa.ChunkedArray,
    field: Field,
    missing_values: tuple[str, ...],
    today: date,
    *,
    noun: str = "row",
) -> CheckedColumn:
    """Check the texts of a column against its field.

    The texts are large_string without nulls, already stripped if the field is trimmed.
    `missing_values` are those of the dataset; the field's own take precedence. `today` is the
    greatest value of a bound that is Moment.TODAY. `noun` names a row in the hint for a missing
    value. Each accepted value can be stored in the field's column type without loss.

    Raises:  UnsupportedSqlType, InvalidFormat when the declaration is not valid.
    """
    cells = _one_array(texts)
    if field.missing_values is not None:
        missing_values = field.missing_values
    is_present = ~_is_missing(cells, missing_values)
    present = cells if is_present.all() else cells.filter(pa.array(is_present))
    parsed = PARSERS[field.type](present, field, today)
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


def _one_array(texts: pa.ChunkedArray) -> pa.Array:
    if texts.num_chunks == 1:
        return texts.chunk(0)
    combined = texts.combine_chunks()
    # Without chunks, Arrow gives a chunked array.
    return combined if isinstance(combined, pa.Array) else pa.array([], TEXT)


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
