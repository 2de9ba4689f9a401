"""COPY batches to staging, then merge them into the tables in one transaction."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

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
MANY = 10_000  # below this an index is filled as quickly as it is made
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
) -> Counts:
    """Make the tables what staging says, and count what that did. The caller commits.

    Raises:  DatabaseUnavailable when staging lost something since it was written;
             AccountingMismatch. Nothing is committed then.
    """
    _check_staging(connection, staged_objects)
    connection.execute(text(f"SET LOCAL work_mem = '{MERGE_WORK_MEM}'"))
    parameters = {"run_id": run_id, "bucket": bucket}
    _write_manifest(connection, parameters, staged_objects)
    figures = _write_users(connection, parameters)
    for name in ("objects", "problems", "live_users"):
        figures |= _figures(connection, name, {})
    counts = Counts.from_dict(figures)
    _check_rows(connection, counts)
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


def _write_manifest(
    connection: Connection, parameters: Mapping[str, object], staged_objects: int
) -> None:
    for name, statement in statements("manifest").items():
        if name != "analyze_manifest" or staged_objects >= MANY:
            connection.execute(text(statement), parameters)


def _write_users(connection: Connection, parameters: Mapping[str, object]) -> dict[str, int]:
    """Bring the users level with staging; the figures of rows and users."""
    if _is_first_load(connection):
        try:
            with connection.begin_nested():
                touched = _run_all(connection, "first_load", parameters)
        except IntegrityError:
            pass  # somebody has several rows: one of them must win
        else:
            new = touched["insert_users"]
            return {"rows_loaded": new, "users_inserted": new}
    touched = _run_all(connection, "merge", parameters)
    return {
        "users_retired": touched["retire_users"],
        **_figures(connection, "merged_rows", parameters),
        **_figures(connection, "merged_users", {}),
    }


def _is_first_load(connection: Connection) -> bool:
    question = "SELECT NOT EXISTS (SELECT FROM users) AND count(*) >= :many FROM staging_row"
    return bool(connection.scalar(text(question), {"many": MANY}))


def _run_all(connection: Connection, file: str, parameters: Mapping[str, object]) -> dict[str, int]:
    """Run a file's statements in their order; how many rows each touched, by its name."""
    return {
        name: connection.execute(text(statement), parameters).rowcount
        for name, statement in statements(file).items()
    }


def refuse_mass_retirement(counts: Counts, retired_before: int) -> None:
    """Refuse to retire more than half of the users, and over 100.

    `retired_before` are users that earlier runs retired and that count as if it were this one.

    Raises:  MassRetirement.
    """
    retired = counts.users_retired + retired_before
    live_before = counts.users_live - counts.users_inserted - counts.users_restored + retired
    if retired > MASS_RETIREMENT_FLOOR and retired * 2 > live_before:
        raise MassRetirement(
            f"The bucket no longer holds {retired} of {live_before} users; nothing was changed.",
            retired=retired,
            live=live_before,
        )


def check_objects(counts: Counts) -> None:
    """Every object that was listed has one fate.

    Raises:  AccountingMismatch when one has none, or two.
    """
    settled = counts.objects_added + counts.objects_modified + counts.objects_unchanged
    aside = counts.objects_ignored + counts.objects_unreadable + counts.objects_vanished
    if counts.objects_listed != settled + aside:
        raise AccountingMismatch(f"The run's objects do not add up: {counts}.")


def _check_rows(connection: Connection, counts: Counts) -> None:
    """Every row that was read has one fate, in each object and in the whole run."""
    row = connection.execute(text(statements("figures")["unbalanced"])).mappings().one_or_none()
    if row is not None:
        raise AccountingMismatch(
            f"The rows of {row['key']!r} do not add up: {dict(row)}.", key=row["key"]
        )
    settled = counts.rows_loaded + counts.rows_unchanged + counts.rows_shadowed
    if counts.rows_read != settled + counts.rows_rejected:
        raise AccountingMismatch(f"The run's rows do not add up: {counts}.")


def _figures(connection: Connection, name: str, parameters: Mapping[str, object]) -> dict[str, int]:
    result = connection.execute(text(statements("figures")[name]), parameters)
    return {key: int(value) for key, value in result.mappings().one().items()}
