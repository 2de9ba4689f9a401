"""COPY batches to staging, from which `etl.sync.merge` merges them into the tables."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv as arrow_csv
from sqlalchemy import Connection, text

from etl.db.engine import driver
from etl.model.values import Problem
from etl.sync.batch import Batch, StagedObject, dataset_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROBLEM_FIELDS = tuple(spec.name for spec in fields(Problem))
COPY_BYTES = 1 << 20  # few reads, because each may wait for the thread that parses


_OWN = {"key": "_source_key", "line": "_source_line", "extra": "_extra"}


def stage(connection: Connection, batch: Batch, bucket: str) -> None:
    """Add one batch to staging, atomically."""
    problems = _table(batch.problems, _PROBLEM_FIELDS)
    datasets = [dataset_of(problem.key) for problem in batch.problems]
    problems = problems.append_column("dataset", pa.array(datasets, pa.string()))
    rows = batch.rows.rename(columns=_OWN)
    with connection.begin():
        if batch.discards is not None:
            _discard(connection, batch.discards)
        _copy(connection, "staging_users", pa.Table.from_pandas(rows, preserve_index=False))
        _copy(
            connection,
            "staging_object",
            _in_bucket(_table(batch.objects, StagedObject._fields), bucket),
        )
        _copy(connection, "staging_problem", _in_bucket(problems, bucket))
    pa.default_memory_pool().release_unused()  # or it would keep the memory of the largest batch


def _discard(connection: Connection, key: str) -> None:
    for statement in ("staging_users WHERE _source_key", "staging_problem WHERE key"):
        connection.execute(text(f"DELETE FROM {statement} = :key"), {"key": key})


def _table(values: Sequence[object], names: Sequence[str]) -> pa.Table:
    return pa.table({name: [getattr(value, name) for value in values] for name in names})


def _in_bucket(cells: pa.Table, bucket: str) -> pa.Table:
    return cells.append_column("bucket", pa.array([bucket] * cells.num_rows, pa.string()))


def _copy(connection: Connection, table: str, cells: pa.Table) -> None:
    if not cells.num_rows:
        return
    # Arrow quotes every text and no null, so COPY distinguishes '' from NULL and no cell is syntax.
    # The table has one chunk, because Arrow writes 8 KB of NULs for an empty chunk.
    cells = cells.combine_chunks()
    buffer = io.BytesIO()
    arrow_csv.write_csv(cells, buffer, arrow_csv.WriteOptions(include_header=False))
    buffer.seek(0)
    columns = ", ".join(f'"{name}"' for name in cells.column_names)
    with driver(connection).cursor() as cursor:
        statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)"
        cursor.copy_expert(statement, buffer, COPY_BYTES)
