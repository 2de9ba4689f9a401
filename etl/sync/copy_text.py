"""Turn rows into the text of a COPY, in the thread that read them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyarrow import csv

from etl.read.columns import EXTRA, SOURCE_KEY, SOURCE_LINE

if TYPE_CHECKING:
    import pyarrow as pa

# The names of our columns in staging.
STAGING_NAMES = {SOURCE_KEY: "source_key", SOURCE_LINE: "source_line", EXTRA: "extra"}


@dataclass(frozen=True, slots=True)
class StagedRows:
    """Valid rows of one dataset: CSV without a header, their columns, and their number."""

    csv: bytes
    columns: tuple[str, ...]
    count: int


def staged_rows(rows: pa.Table) -> StagedRows:
    """The rows as COPY takes them; columns of ours get their names in staging."""
    names = tuple(STAGING_NAMES.get(name, name) for name in rows.column_names)
    return StagedRows(copy_text(rows), names, len(rows))


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
