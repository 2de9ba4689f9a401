"""Turn rows into the text of a COPY, in the thread that read them."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.compute as pc
from pyarrow import csv

from etl.read.columns import SOURCE_KEY, SOURCE_LINE
from etl.sync.key_order import KeyRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from etl.model.dataset import Dataset


_CELL = re.compile(r'("(?:[^"]|"")*")?([^",\n]*)([,\n])')


class CopyText(NamedTuple):
    """CSV without a header, and its columns."""

    columns: tuple[str, ...]
    csv: bytes


@dataclass(frozen=True, slots=True)
class StagedRows:
    """Valid rows of one dataset, and their number; `keys` is None if they do not ascend."""

    texts: tuple[CopyText, ...]
    count: int
    keys: KeyRange | None


def staged_rows(rows: pa.Table, dataset: Dataset) -> StagedRows:
    """The rows as COPY takes them."""
    keys = key_range(rows, dataset) if len(rows) else None
    return StagedRows((CopyText(tuple(rows.column_names), copy_text(rows)),), len(rows), keys)


def joined_rows(staged: Iterable[StagedRows]) -> StagedRows:
    """All of the rows, one after the other."""
    some = [one for one in staged if one.count]
    if len(some) == 1:
        return some[0]
    texts = tuple(
        CopyText(columns, b"".join(csv for _, csv in alike))
        for columns, alike in groupby(chain(*(one.texts for one in some)), attrgetter("columns"))
    )
    return StagedRows(texts, sum(one.count for one in some), None)


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


def cells_of(text: bytes) -> list[list[str | None]]:
    """The cells of such a CSV by row; None is null."""
    rows: list[list[str | None]] = [[]]
    for quoted, plain, end in _CELL.findall(text.decode()):
        rows[-1].append(quoted[1:-1].replace('""', '"') if quoted else plain or None)
        if end == "\n":
            rows.append([])
    return rows[:-1]


def key_range(rows: pa.Table, dataset: Dataset) -> KeyRange | None:
    """The range of the keys; None if they do not ascend. There is at least one row.

    Arrow compares as PostgreSQL does: text in keys has the collation C, the order of bytes.
    """
    names = dataset.primary_key or (SOURCE_KEY, SOURCE_LINE)
    columns = [rows[name].combine_chunks() for name in names]
    if not _ascend(columns):
        return None
    first, last = (tuple(one[place].as_py() for one in columns) for place in (0, len(rows) - 1))
    return KeyRange(first, last)


def _ascend(columns: Sequence[pa.Array]) -> bool:
    """Whether each key, one value of each column, is greater than the one before."""
    *others, last = [(one[:-1], one[1:]) for one in columns]
    is_less = pc.less(*last)
    for before, after in reversed(others):
        is_less = pc.or_(pc.less(before, after), pc.and_(pc.equal(before, after), is_less))
    return bool(pc.all(is_less, skip_nulls=False, min_count=0).as_py())
