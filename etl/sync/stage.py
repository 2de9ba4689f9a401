"""COPY batches to staging, from which `etl.sync.merge` merges them into the tables."""

from __future__ import annotations

import io
from dataclasses import fields
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlalchemy import Connection, text

from etl.db.bundling import LATER
from etl.db.dataset_names import gone_table, staging_table, successor_table
from etl.db.engine import driver
from etl.db.identifiers import in_text, quoted
from etl.model.values import Problem
from etl.read.columns import SOURCE_KEY
from etl.sync.copy_text import cells_of, copy_text
from etl.sync.reading import StagedObject
from etl.sync.run_tables import Staging

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from etl.sync.batch import Batch, Discard
    from etl.sync.copy_text import StagedRows
    from etl.sync.unchanged import Compared

_PROBLEM_FIELDS = tuple(spec.name for spec in fields(Problem))
COPY_BYTES = 1 << 20  # few reads, because each may wait for the thread that parses
INSERT_BYTES = 4_096  # of the text of rows; more are copied, which takes two round trips more


def stage(connection: Connection, batch: Batch, in_successor: Container[str] = ()) -> None:
    """Add one batch to staging, atomically. The tables have all columns of its rows.

    The rows of the datasets `in_successor` go to the successors of their tables.
    """

    def table_of(dataset: str) -> str:
        return (successor_table if dataset in in_successor else staging_table)(dataset)

    with connection.begin():
        write(connection, batch, Staging("staging_object", "staging_problem", table_of))


def write(connection: Connection, batch: Batch, tables: Staging) -> int:
    """Add one batch to these tables, which have all columns of its rows. The caller commits.

    Returns the number of rows that the batch discarded.
    """
    discarded = 0
    if batch.discards is not None:
        discarded = _discard(connection, batch.discards, tables, batch.bucket)
    if batch.compared is not None:
        _stage_compared(connection, batch.compared)
    for dataset, rows in batch.rows.items():
        _copy_rows(connection, tables.rows_of(dataset), rows)
    _copy_table(connection, tables.objects, _table(batch.objects, StagedObject._fields))
    _copy_table(connection, tables.problems, _problems(batch))
    return discarded


def _discard(connection: Connection, discard: Discard, tables: Staging, bucket: str) -> int:
    rows = f"DELETE FROM {in_text(tables.rows_of(discard.dataset))} WHERE {SOURCE_KEY} = :key"
    discarded = connection.execute(text(rows), {"key": discard.key}).rowcount
    if not discard.keeps_problems:
        problems = f"DELETE FROM {tables.problems} WHERE bucket = :bucket AND key = :key"
        connection.execute(text(problems), {"bucket": bucket, "key": discard.key})
    return discarded


def _stage_compared(connection: Connection, compared: Compared) -> None:
    """Add what was found by comparison. The tables live as long as the connection."""
    named, gone = compared.sql.statements("compared"), compared.gone
    connection.execute(text(named["create"]))
    if compared.is_first:
        connection.execute(text(named["forget"]), {"key": compared.key})
    if gone is not None:
        _copy_rows(connection, gone_table(compared.sql.dataset.name), gone)
    if compared.equal is not None:
        rows, last_line = compared.equal
        parameters = {"key": compared.key, "rows_same": rows, "last_line": last_line}
        connection.execute(text(named["add"]), parameters)


def _problems(batch: Batch) -> pa.Table:
    buckets = [batch.bucket] * len(batch.problems)
    datasets = [batch.datasets.get(problem.key) for problem in batch.problems]
    return (
        _table(batch.problems, _PROBLEM_FIELDS)
        .append_column("bucket", pa.array(buckets, pa.string()))
        .append_column("dataset", pa.array(datasets, pa.string()))
    )


def _table(values: Sequence[object], names: Sequence[str]) -> pa.Table:
    return pa.table({name: [getattr(value, name) for value in values] for name in names})


def _copy_rows(connection: Connection, table: str, rows: StagedRows) -> None:
    for columns, csv in rows.texts:
        _copy(connection, table, columns, csv)


def _copy_table(connection: Connection, table: str, cells: pa.Table) -> None:
    _copy(connection, table, cells.column_names, copy_text(cells))


def _copy(connection: Connection, table: str, columns: Sequence[str], rows: bytes) -> None:
    if not rows:
        return
    listed = ", ".join(map(quoted, columns))
    if len(rows) <= INSERT_BYTES:
        _insert_later(connection, f"{quoted(table)} ({listed})", cells_of(rows))
        return
    statement = f"COPY {quoted(table)} ({listed}) FROM STDIN (FORMAT csv)"
    with driver(connection).cursor() as cursor:
        cursor.copy_expert(statement, io.BytesIO(rows), COPY_BYTES)


def _insert_later(
    connection: Connection, target: str, rows: Sequence[Sequence[str | None]]
) -> None:
    """Insert the rows with the next statement. PostgreSQL reads each text as COPY does."""
    with driver(connection).cursor() as cursor:
        row = f"({', '.join(['%s'] * len(rows[0]))})"
        values = cursor.mogrify(", ".join([row] * len(rows)), list(chain.from_iterable(rows)))
        cursor.execute(f"{LATER}INSERT INTO {target} VALUES ".encode() + values)
