"""COPY batches to staging, from which `etl.sync.merge` merges them into the tables."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import TYPE_CHECKING

import pyarrow as pa
from psycopg2.sql import SQL, Identifier
from sqlalchemy import Connection, text

from etl.db.engine import driver
from etl.model.keys import user_id_of
from etl.model.values import Problem
from etl.sync.batch import Batch, StagedObject
from etl.sync.copy_text import STAGING_NAMES, copy_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.sync.batch import Discard

_PROBLEM_FIELDS = tuple(spec.name for spec in fields(Problem))
_NOT_IN_STAGING = {"bucket", "dataset", "attachment", "attachment_id"}
_OBJECT_FIELDS = tuple(name for name in StagedObject._fields if name not in _NOT_IN_STAGING)
COPY_BYTES = 1 << 20  # few reads, because each may wait for the thread that parses


def staging_table(dataset: str) -> str:
    """The table that holds the rows of a dataset until they are merged."""
    return "staging_row" if dataset == "users" else f"staging_{dataset}"


def stage(connection: Connection, batch: Batch) -> None:
    """Add one batch to staging, atomically."""
    with connection.begin():
        if batch.discards is not None:
            _discard(connection, batch.discards)
        for dataset, rows in batch.rows.items():
            _copy(connection, staging_table(dataset), rows.columns, rows.csv)
        _copy_table(connection, "staging_object", _objects(batch))
        _copy_table(connection, "staging_problem", _table(batch.problems, _PROBLEM_FIELDS))


def _discard(connection: Connection, discard: Discard) -> None:
    table = Identifier(staging_table(discard.dataset)).as_string(driver(connection))
    statements = [f"{table} WHERE {STAGING_NAMES['_source_key']}"]
    if not discard.keeps_problems:
        statements.append("staging_problem WHERE key")
    for statement in statements:
        connection.execute(text(f"DELETE FROM {statement} = :key"), {"key": discard.key})


def _objects(batch: Batch) -> pa.Table:
    ids = [one.attachment_id or user_id_of(one.key) for one in batch.objects]
    return _table(batch.objects, _OBJECT_FIELDS).append_column(
        "user_id", pa.array(ids, pa.string())
    )


def _table(values: Sequence[object], names: Sequence[str]) -> pa.Table:
    return pa.table({name: [getattr(value, name) for value in values] for name in names})


def _copy_table(connection: Connection, table: str, cells: pa.Table) -> None:
    _copy(connection, table, cells.column_names, copy_text(cells))


def _copy(connection: Connection, table: str, columns: Sequence[str], rows: bytes) -> None:
    if not rows:
        return
    statement = SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        Identifier(table), SQL(", ").join(map(Identifier, columns))
    )
    with driver(connection).cursor() as cursor:
        cursor.copy_expert(statement, io.BytesIO(rows), COPY_BYTES)
