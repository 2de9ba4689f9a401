"""Turn rows into the text of a COPY, in the thread that read them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyarrow import csv

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class StagedRows:
    """Valid rows of one dataset: CSV without a header, their columns, and their number."""

    csv: bytes
    columns: tuple[str, ...]
    count: int


def staged_rows(rows: pa.Table) -> StagedRows:
    """The rows as COPY takes them."""
    return StagedRows(copy_text(rows), tuple(rows.column_names), len(rows))


def copy_text(cells: pa.Table) -> bytes:
    """The cells as CSV.

    Arrow quotes every text and no null, so COPY distinguishes '' from NULL and no cell is syntax.
    """
    if not cells.num_rows:
        return b""
    buffer = io.BytesIO()
    # The table has one chunk, because Arrow writes 8 KB of NULs for an empty chunk.
    csv.write_csv(cells.combine_chunks(), buffer, csv.WriteOptions(include_header=False))
    return buffer.getvalue()
