"""COPY batches to staging, from where `etl.sync.merge` takes them into the tables."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv as arrow_csv
from sqlalchemy import Connection, text

from etl.db.engine import driver
from etl.model.values import Problem
from etl.sync.batch import Batch, StagedObject

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROBLEM_FIELDS = tuple(spec.name for spec in fields(Problem))
COPY_BYTES = 1 << 20  # between two reads COPY may have to wait for the thread that parses


def stage(connection: Connection, batch: Batch) -> None:
    """Add one batch to staging, whole or not at all."""
    rows = batch.rows.rename(columns={"key": "source_key", "line": "source_line"})
    with connection.begin():
        if batch.discards is not None:
            _discard(connection, batch.discards)
        _copy(connection, "staging_row", pa.Table.from_pandas(rows, preserve_index=False))
        _copy(connection, "staging_object", _table(batch.objects, StagedObject._fields))
        _copy(connection, "staging_problem", _table(batch.problems, _PROBLEM_FIELDS))
    pa.default_memory_pool().release_unused()  # it would keep what the largest batch took


def _discard(connection: Connection, key: str) -> None:
    for statement in ("staging_row WHERE source_key", "staging_problem WHERE key"):
        connection.execute(text(f"DELETE FROM {statement} = :key"), {"key": key})


def _table(values: Sequence[object], names: Sequence[str]) -> pa.Table:
    return pa.table({name: [getattr(value, name) for value in values] for name in names})


def _copy(connection: Connection, table: str, cells: pa.Table) -> None:
    if not cells.num_rows:
        return
    # Arrow quotes every text and no null, so COPY tells '' from NULL and no cell is syntax.
    # In one chunk: for an empty one Arrow writes 8 KB of NULs.
    cells = cells.combine_chunks()
    buffer = io.BytesIO()
    arrow_csv.write_csv(cells, buffer, arrow_csv.WriteOptions(include_header=False))
    buffer.seek(0)
    columns = ", ".join(f'"{name}"' for name in cells.column_names)
    with driver(connection).cursor() as cursor:
        statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)"
        cursor.copy_expert(statement, buffer, COPY_BYTES)
