"""The staging tables: cleared before a run, inspected before the merge empties them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from etl.sync import run_tables, successor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etl.db.dataset_sql import DatasetSql

_OF_ALL = ("staging_object", "staging_problem")


def empty_staging(connection: Connection, datasets: Iterable[DatasetSql]) -> None:
    """Remove the rows of an interrupted run; write nothing if there are none."""
    tables = _tables(datasets)
    questions = [
        f"SELECT {number} AS number, CAST(NULL AS text) AS successor, CAST(NULL AS text) AS of_run"
        f" WHERE EXISTS (SELECT FROM {table})"
        for number, table in enumerate(tables)
    ]
    questions.append(f"SELECT NULL, relname, NULL FROM ({successor.LEFT_OVER}) AS left_over")
    questions.append(f"SELECT NULL, NULL, relname FROM ({run_tables.LEFT_OVER}) AS left_over")
    found = connection.execute(text(" UNION ALL ".join(questions))).all()
    filled = [tables[row.number] for row in found if row.number is not None]
    if filled:
        connection.execute(text(f"TRUNCATE {', '.join(filled)}"))
    for row in found:
        if row.successor is not None:
            successor.drop(connection, row.successor)
    connection.commit()
    run_tables.drop(connection, [row.of_run for row in found if row.of_run is not None])


def clear(connection: Connection, datasets: Iterable[DatasetSql], *, is_small: bool) -> None:
    """Empty staging, in one round trip. For a few rows, deleting is cheaper than new files."""
    tables = _tables(datasets)
    statements = (
        [f"DELETE FROM {table}" for table in tables]
        if is_small
        else [f"TRUNCATE {', '.join(tables)}"]
    )
    connection.execute(text("; ".join(statements)))


def holds_images(connection: Connection) -> bool:
    """Whether staging contains an added, modified or removed image."""
    question = "SELECT EXISTS (SELECT FROM staging_object WHERE kind = 'image')"
    return bool(connection.scalar(text(question)))


def _tables(datasets: Iterable[DatasetSql]) -> list[str]:
    return [*_OF_ALL, *(sql.own_staging for sql in datasets)]
