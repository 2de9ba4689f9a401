"""Read one Parquet file, in batches of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from etl.model.errors import RefusedObject
from etl.model.routing import path_names
from etl.model.types import sql_type
from etl.model.values import ProblemCode
from etl.read.parquet.columns import Cells, to_cells
from etl.read.parquet.opening import faults, open_file
from etl.read.rows.collect import Block, Collector
from etl.read.rows.extract import Extract, add_no_rows, to_extract
from etl.read.rows.header import FileHeader, HeaderFault, header_of
from etl.read.rows.layout import AddedColumns, Layout
from etl.read.spool import spooled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject
    from etl.read.parquet.opening import Opened

BATCH_ROWS = 1 << 15

_UNDECODABLE_HINT = (
    "The cell is neither text in UTF-8 nor a UUID. Write the column as text, or remove it."
)


def read(
    source: SourceObject, dataset: Dataset, added: AddedColumns | None, parts: Iterable[bytes]
) -> Iterator[Extract]:
    """The rows of one file; as `read_object`."""
    layout = Layout(dataset, path_names(dataset), added=AddedColumns() if added is None else added)
    with spooled(parts) as content:
        opened = open_file(content, layout)
        header = header_of(opened.names, layout)
        if isinstance(header, HeaderFault):
            raise RefusedObject(header.code, header.hint)
        line = 1
        for batch in _batches(opened):
            collector = Collector([source])
            _add_rows(batch, line, header, collector)
            line += batch.num_rows
            yield to_extract([source], layout, collector)
        collector = Collector([source])
        collector.accept(0, header)
        if line == 1:
            add_no_rows(0, collector)
        yield to_extract([source], layout, collector)


def _batches(opened: Opened) -> Iterator[pa.RecordBatch]:
    """The rows of the columns to read.

    Raises:  RefusedObject.
    """
    with faults():
        batches = opened.file.iter_batches(BATCH_ROWS, use_threads=False)
    while True:
        with faults():
            batch = next(batches, None)
            if batch is None:
                return
            batch = batch.select(opened.places)
        yield batch


def _add_rows(batch: pa.RecordBatch, line: int, header: FileHeader, collector: Collector) -> None:
    with faults():
        found = [
            to_cells(column, is_uuid=_is_uuid(name, header.layout))
            for name, column in zip(header.columns, batch.columns, strict=True)
        ]
    block = Block(
        header,
        np.zeros(batch.num_rows, np.int64),
        np.arange(line, line + batch.num_rows),
        [pa.chunked_array([cells.values]) for cells in found],
        json=frozenset(
            name for name, cells in zip(header.columns, found, strict=True) if cells.is_json
        ),
    )
    collector.add_typed_block(_decodable(block, found, collector))


def _decodable(block: Block, found: list[Cells], collector: Collector) -> Block:
    """The block without the rows of cells that are not UTF-8, which are read and rejected."""
    rejected = np.zeros(len(block.line), np.bool_)
    for place, cells in enumerate(found):
        if cells.undecodable is not None:
            code = ProblemCode.UNDECODABLE
            collector.add_cell_problems(block, place, cells.undecodable, code, _UNDECODABLE_HINT)
            rejected |= cells.undecodable
    if not rejected.any():
        return block
    collector.rows_read[0] += int(rejected.sum())
    return collector.reject_rows(block, rejected)


def _is_uuid(name: str, layout: Layout) -> bool:
    dataset = layout.dataset
    if name not in dataset.field_names:
        return False
    field = dataset.field(name)
    return sql_type(field.type, field.sql).name == "uuid"
