"""COPY batches to staging, then merge them into the tables in one transaction."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv
from sqlalchemy import Connection, text

from etl.batch import Batch, StagedObject
from etl.database import driver
from etl.errors import AccountingMismatch, DatabaseUnavailable, MassRetirement
from etl.model import Counts, Problem
from etl.sql import statements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STAGING = ("staging_row", "staging_object", "staging_problem")
MASS_RETIREMENT_FLOOR = 100
COPY_BYTES = 1 << 20  # between two reads COPY may have to wait for the thread that parses
FIRST_LOAD_FLOOR = 10_000  # below this an index is filled as quickly as it is made
MERGE_WORK_MEM = "128MB"  # sorts and joins of a million rows without a temporary file


def empty_staging(connection: Connection) -> None:
    """Clear away what a dead run left behind; write nothing when there is nothing."""
    for table in STAGING:
        if connection.scalar(text(f"SELECT EXISTS (SELECT FROM {table})")):
            connection.execute(text(f"TRUNCATE {table}"))
    connection.commit()


def stage(connection: Connection, batch: Batch) -> None:
    """Add one batch to staging, whole or not at all."""
    rows = batch.rows.rename(columns={"key": "source_key", "line": "source_line"})
    with connection.begin():
        if batch.discards is not None:
            _discard(connection, batch.discards)
        _copy(connection, "staging_row", rows)
        _copy(connection, "staging_object", _frame(batch.objects, StagedObject))
        _copy(connection, "staging_problem", _frame(batch.problems, Problem))
    pa.default_memory_pool().release_unused()  # it would keep what the largest batch took


def _discard(connection: Connection, key: str) -> None:
    for statement in ("staging_row WHERE source_key", "staging_problem WHERE key"):
        connection.execute(text(f"DELETE FROM {statement} = :key"), {"key": key})


def _frame(values: Sequence[StagedObject] | Sequence[Problem], kind: type) -> pd.DataFrame:
    columns = [spec.name for spec in fields(kind)]
    cells = {name: [getattr(value, name) for value in values] for name in columns}
    return pd.DataFrame(cells, dtype=object)


def _copy(connection: Connection, table: str, frame: pd.DataFrame) -> None:
    if frame.empty:
        return
    # Arrow quotes every text and no null, so COPY tells '' from NULL and no cell is syntax.
    # In one chunk: for an empty one Arrow writes 8 KB of NULs.
    cells = pa.Table.from_pandas(frame, preserve_index=False).combine_chunks()
    buffer = io.BytesIO()
    arrow_csv.write_csv(cells, buffer, arrow_csv.WriteOptions(include_header=False))
    buffer.seek(0)
    columns = ", ".join(f'"{name}"' for name in frame.columns)
    with driver(connection).cursor() as cursor:
        statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)"
        cursor.copy_expert(statement, buffer, COPY_BYTES)


def merge(
    connection: Connection,
    *,
    run_id: int,
    bucket: str,
    staged_objects: int,
    allow_mass_retirement: bool,
) -> Counts:
    """Make the tables what staging says, and count what that did. The caller commits.

    Raises:  DatabaseUnavailable when staging lost something since it was written;
             MassRetirement; AccountingMismatch. Nothing is committed then.
    """
    _check_staging(connection, staged_objects)
    connection.execute(text(f"SET LOCAL work_mem = '{MERGE_WORK_MEM}'"))
    live_before = _row(connection, "live_users", {})["users_live"]
    touched = _merge_statements(connection, {"run_id": run_id, "bucket": bucket})
    retired = touched["retire_users"]
    if not allow_mass_retirement:
        _refuse_mass_retirement(retired, live_before)
    counts = _count(connection, run_id, retired)
    for table in STAGING:
        connection.execute(text(f"TRUNCATE {table}"))
    return counts


def _check_staging(connection: Connection, expected: int) -> None:
    """PostgreSQL empties unlogged tables when it recovers from a crash."""
    found = connection.scalar(text("SELECT count(*) FROM staging_object"))
    if found != expected:
        raise DatabaseUnavailable(
            f"Staging holds {found} objects of the {expected} written: PostgreSQL was restarted."
        )


def _merge_statements(connection: Connection, parameters: Mapping[str, object]) -> dict[str, int]:
    """Run the merge, statement by statement; how many rows each touched, by its name."""
    touched: dict[str, int] = {}
    for name, statement in statements("merge").items():
        fills = name == "insert_users" and _fills_an_empty_table(connection)
        if fills:
            connection.execute(text(statements("first_load")["drop_indexes"]))
        touched[name] = connection.execute(text(statement), parameters).rowcount
        if fills:
            connection.execute(text(statements("first_load")["create_indexes"]))
    return touched


def _fills_an_empty_table(connection: Connection) -> bool:
    is_empty = connection.scalar(text("SELECT NOT EXISTS (SELECT FROM users)"))
    new = connection.scalar(text("SELECT count(*) FROM difference"))
    return bool(is_empty) and (new or 0) >= FIRST_LOAD_FLOOR


def _refuse_mass_retirement(retired: int, live_before: int) -> None:
    if retired > MASS_RETIREMENT_FLOOR and retired * 2 > live_before:
        raise MassRetirement(
            f"The bucket no longer holds {retired} of {live_before} users; nothing was changed.",
            retired=retired,
            live=live_before,
        )


def _count(connection: Connection, run_id: int, retired: int) -> Counts:
    _check_accounting(connection)
    figures: dict[str, int] = {"users_retired": retired}
    for name in ("objects", "rows", "differences", "problems", "live_users"):
        figures |= _row(connection, name, {"run_id": run_id})
    counts = Counts.from_dict(figures)
    settled = counts.rows_loaded + counts.rows_unchanged + counts.rows_shadowed
    if counts.rows_read != settled + counts.rows_rejected:
        raise AccountingMismatch(f"The run's rows do not add up: {counts}.")
    return counts


def _check_accounting(connection: Connection) -> None:
    row = connection.execute(text(statements("figures")["unbalanced"])).mappings().one_or_none()
    if row is not None:
        raise AccountingMismatch(
            f"The rows of {row['key']!r} do not add up: {dict(row)}.", key=row["key"]
        )


def _row(connection: Connection, name: str, parameters: Mapping[str, object]) -> dict[str, int]:
    result = connection.execute(text(statements("figures")[name]), parameters)
    return {key: int(value) for key, value in result.mappings().one().items()}
