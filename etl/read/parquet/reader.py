"""Read one Parquet file, in batches of rows."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from etl.model.errors import RefusedObject
from etl.model.routing import path_names
from etl.model.types import sql_type
from etl.model.values import ProblemCode
from etl.read.parquet.columns import (
    Cells,
    are_too_long,
    has_texts,
    may_be_odd,
    text_bytes_of,
    to_cells,
)
from etl.read.parquet.opening import faults, open_file
from etl.read.parquet.plan import BATCH_ROWS, is_bomb, too_large
from etl.read.pieces import rows_at_once
from etl.read.rows.collect import Block, Collector
from etl.read.rows.extract import Extract, add_no_rows, to_extract
from etl.read.rows.header import FileHeader, HeaderFault, header_of
from etl.read.rows.layout import AddedColumns, Layout
from etl.read.spool import spooled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject
    from etl.read.parquet.opening import OpenedFile
    from etl.read.parquet.row_groups import RowGroups

BLOCK_BYTES = 8 << 20  # of small batches that are joined

_HINTS = {
    ProblemCode.UNDECODABLE: "The cell is not text in UTF-8. Write the column as text, or drop it.",
    ProblemCode.CELL_TOO_LONG: "Shorten the cell; its text would have several megabytes.",
    ProblemCode.NOT_A_DATETIME: (
        "The time has digits beyond microseconds, the finest unit that can be stored. Round the "
        "times of the column."
    ),
}


def read(
    source: SourceObject, dataset: Dataset, added: AddedColumns | None, parts: Iterable[bytes]
) -> Iterator[Extract]:
    """The rows of one file; as `read_object`."""
    layout = Layout(dataset, path_names(dataset), added=AddedColumns() if added is None else added)
    with spooled(parts) as content:
        reader = _Reader(source, layout, content)
        yield from reader.rows(1)
        collector = Collector([source])
        collector.accept(0, reader.header)
        if reader.line == 1:
            add_no_rows(0, collector)
        yield to_extract([source], layout, collector)


def read_groups(
    source: SourceObject, dataset: Dataset, groups: RowGroups, content: BinaryIO
) -> Iterator[Extract]:
    """The rows of some row groups; as `read`. `content` has zeros in place of the others.

    Together they have the same rows and problems as the file. Content that is refused because of
    how much it expands to is refused here if one of its parts is.
    """
    layout = Layout(dataset, path_names(dataset))
    reader = _Reader(source, layout, content, groups)
    yield from reader.rows(groups.first_row)
    collector = Collector([source])
    if groups.first_row == 1:
        collector.accept(0, reader.header)
    yield to_extract([source], layout, collector)


class _Reader:
    """Reads the rows of one file, or of some of its row groups."""

    def __init__(
        self,
        source: SourceObject,
        layout: Layout,
        content: BinaryIO,
        groups: RowGroups | None = None,
    ) -> None:
        self._source, self._layout = source, layout
        if groups is None:
            self._opened = open_file(content, layout)
        else:
            opened = open_file(content, layout, range(groups.first, groups.end))
            self._opened = opened._replace(size=groups.end_byte - groups.start_byte)
        header = header_of(self._opened.names, layout)
        if isinstance(header, HeaderFault):
            raise RefusedObject(header.code, header.hint)
        self.header = header
        self.line = 1

    def rows(self, first: int) -> Iterator[Extract]:
        """All rows; `first` is the number of the first one.

        Raises:  RefusedObject.
        """
        self.line = first
        most_rows = min(rows_at_once(len(self._layout.columns)), BATCH_ROWS)
        for batch in _joined(_batches(self._opened), self._opened, most_rows):
            collector = Collector([self._source])
            _add_rows(batch, self.line, self.header, self._opened, collector)
            self.line += batch.num_rows
            yield to_extract([self._source], self._layout, collector)


def _batches(opened: OpenedFile) -> Iterator[pa.RecordBatch]:
    """The columns to read, and for each one with times of 96 bits which of them are not exact.

    Raises:  RefusedObject.
    """
    with faults():
        batches = _iterate(opened.file, opened)
        exact = _iterate(opened.exact or opened.file, opened)
    while True:
        with faults():
            batch = next(batches, None)
            if batch is None:
                return
            found = batch.select(opened.places)
            in_ns = next(exact) if opened.int96 else batch
            for place in opened.int96:
                inexact = _inexact(batch.column(place), in_ns.column(place))
                found = found.append_column(f"{place} is inexact", pa.array(inexact))
        yield found


def _iterate(file: pq.ParquetFile, opened: OpenedFile) -> Iterator[pa.RecordBatch]:
    """All rows; codes of one row group at a time, because each has its own dictionary."""
    for rows, alike in groupby(opened.rows, opened.rows.__getitem__):
        groups = list(alike)
        for some in [[group] for group in groups] if opened.is_coded else [groups]:
            yield from file.iter_batches(rows, row_groups=some, use_threads=False)


def _joined(
    batches: Iterable[pa.RecordBatch], opened: OpenedFile, most_rows: int
) -> Iterator[pa.RecordBatch]:
    """Small batches together, and those whose codes stand for much text in parts.

    Raises:  RefusedObject.
    """
    waiting: list[pa.RecordBatch] = []
    rows = size = total = 0
    for batch in batches:
        with faults():
            sizes = _text_bytes(batch)
        text_bytes = int(sizes.sum())
        total += text_bytes
        if is_bomb(total, opened.size):
            raise too_large(f"The texts of its first rows have {total:,} bytes")
        if opened.is_coded:
            yield from _parts(batch, sizes)
            continue
        more = max(batch.nbytes, text_bytes)
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + more
        if rows + batch.num_rows > most_rows or size + more > BLOCK_BYTES:
            yield _concatenated(waiting)
            waiting, rows, size = [], 0, 0
    if rows:
        yield _concatenated(waiting)


def _concatenated(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    with faults():
        return pa.concat_batches(batches)


def _text_bytes(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """About how many bytes the texts of each row have that will be read."""
    columns = [one for one in batch.columns if has_texts(one.type)]
    sizes = ((one.type, text_bytes_of(one)) for one in columns)
    shown = (np.where(are_too_long(type_, size), 0, size) for type_, size in sizes)
    return sum(shown, _zeros(batch))


def _zeros(batch: pa.RecordBatch) -> NDArray[np.int64]:
    return np.zeros(batch.num_rows, np.int64)


def _parts(batch: pa.RecordBatch, sizes: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """The batch in parts of about 8 MB of text, or of one row."""
    before = np.cumsum(sizes) - sizes
    _, starts = np.unique(before // BLOCK_BYTES, return_index=True)
    for start, end in pairwise([*starts.tolist(), batch.num_rows]):
        if start == 0 and end == batch.num_rows:
            yield batch
        elif start < end:
            yield batch.take(pa.array(np.arange(start, end)))  # no slice, which keeps all values


def _add_rows(
    batch: pa.RecordBatch, line: int, header: FileHeader, opened: OpenedFile, collector: Collector
) -> None:
    columns = batch.columns
    with faults():
        found = [
            to_cells(columns[place], is_uuid=_is_uuid(name, header.layout))
            for place, name in enumerate(header.columns)
        ]
    for inexact, place in zip(columns[len(found) :], opened.int96, strict=True):
        at = opened.places.index(place)
        found[at] = _with_inexact(found[at], inexact)
    block = Block(
        header,
        np.zeros(batch.num_rows, np.int64),
        np.arange(line, line + batch.num_rows),
        [pa.chunked_array([cells.values]) for cells in found],
        json=frozenset(
            name for name, cells in zip(header.columns, found, strict=True) if cells.is_json
        ),
        unsure=frozenset(
            name
            for name, column in zip(header.columns, columns, strict=False)
            if may_be_odd(column.type)
        ),
    )
    collector.add_typed_block(_readable(block, found, collector))


def _readable(block: Block, found: list[Cells], collector: Collector) -> Block:
    """The block without the rows of cells that cannot be read, which are counted."""
    rejected = np.zeros(len(block.line), np.bool_)
    for place, cells in enumerate(found):
        for code, rows in cells.faults.items():
            collector.add_cell_problems(block, place, rows, code, _HINTS[code])
            rejected |= rows
    if not rejected.any():
        return block
    collector.rows_read[0] += int(rejected.sum())
    return collector.reject_rows(block, rejected)


def _inexact(in_us: pa.Array, in_ns: pa.Array) -> NDArray[np.bool_]:
    """Which times have digits beyond microseconds; nanoseconds hold only some centuries."""
    us, ns = (
        times.view(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        for times in (in_us, in_ns)
    )
    whole, rest = np.divmod(ns, 1000)
    inexact: NDArray[np.bool_] = (rest != 0) & (whole == us)
    return inexact


def _with_inexact(cells: Cells, inexact: pa.Array) -> Cells:
    rows: NDArray[np.bool_] = inexact.to_numpy(zero_copy_only=False)
    return cells._replace(faults={ProblemCode.NOT_A_DATETIME: rows}) if rows.any() else cells


def _is_uuid(name: str, layout: Layout) -> bool:
    dataset = layout.dataset
    if name not in dataset.field_names:
        return False
    field = dataset.field(name)
    return sql_type(field.type, field.sql).name == "uuid"
