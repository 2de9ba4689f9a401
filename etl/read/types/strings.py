"""Text: all of it fits `text`; varchar, char and uuid have rules of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from etl.model.types import sql_type
from etl.model.values import ProblemCode
from etl.read.types.column import Fault, Parsed, all_true, mask_of, matches, text_bytes

if TYPE_CHECKING:
    from datetime import date

    import numpy as np
    from numpy.typing import NDArray

    from etl.model.dataset import Field

_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def parse_strings(texts: pa.Array, field: Field, _: date) -> Parsed:
    """Check that the texts fit the column type."""
    faults = [fault for fault in (_nul(texts), _sql_fault(texts, field)) if fault is not None]
    is_valid = all_true(len(texts))
    for fault in faults:
        is_valid &= ~fault.rows
    return Parsed(texts, is_valid, faults, lengths=lambda: characters(texts))


def characters(texts: pa.Array) -> NDArray[np.int64]:
    """The lengths in characters."""
    lengths: NDArray[np.int64] = pc.utf8_length(texts).to_numpy()
    return lengths


def _nul(texts: pa.Array) -> Fault | None:
    _, data = text_bytes(texts)
    if not data.size or data.min() > 0:
        return None
    note = "Remove the NUL characters; they often indicate a damaged export."
    return Fault(mask_of(pc.match_substring(texts, "\0")), ProblemCode.NUL_BYTE, lambda _: note)


def _sql_fault(texts: pa.Array, field: Field) -> Fault | None:
    sql = sql_type(field.type, field.sql)
    if sql.name == "uuid":
        is_wrong = ~matches(texts, _UUID)
        note = (
            f"Write {field.name} as a UUID of 32 hexadecimal digits with hyphens, "
            "for example 5f0c8a52-3d1e-4b7a-9c66-0d2f1e8b7a10."
        )
        code = ProblemCode.PATTERN_MISMATCH
    elif sql.length is not None:
        is_wrong = characters(texts) > sql.length
        note = f"Shorten {field.name}; its column type {sql} has room for {sql.length} characters."
        code = ProblemCode.TOO_LONG
    else:
        return None
    return Fault(is_wrong, code, lambda _: note) if is_wrong.any() else None
