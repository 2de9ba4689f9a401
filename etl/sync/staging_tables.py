"""The staging tables: cleared before a run, inspected before the merge empties them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from etl.db.round_trips import Question, ask, later
from etl.sync import run_tables, successor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from etl.db.dataset_sql import DatasetSql

_OF_ALL = ("staging_object", "staging_problem")


def left_over(datasets: Iterable[DatasetSql]) -> Question:
    """Find what an interrupted run left."""
    tables = _tables(datasets)
    questions = [
        f"SELECT {number} AS number, CAST(NULL AS text) AS successor, CAST(NULL AS text) AS of_run"
        f" WHERE EXISTS (SELECT FROM {table})"
        for number, table in enumerate(tables)
    ]
    questions.append(f"SELECT NULL, relname, NULL FROM ({successor.LEFT_OVER}) AS left_over")
    questions.append(f"SELECT NULL, NULL, relname FROM ({run_tables.LEFT_OVER}) AS left_over")
    return Question(" UNION ALL ".join(questions), {})


def empty_staging(connection: Connection, datasets: Iterable[DatasetSql]) -> None:
    """Remove the rows of an interrupted run, and commit; write nothing if there are none."""
    known = list(datasets)
    found = ask(connection, {"left": left_over(known)}, is_alone=True)
    remove(connection, known, found["left"])


def remove(
    connection: Connection, datasets: Iterable[DatasetSql], found: Sequence[Mapping[str, Any]]
) -> None:
    """Remove what `left_over` found, and commit."""
    tables = _tables(datasets)
    filled = [tables[row["number"]] for row in found if row["number"] is not None]
    if filled:
        connection.execute(text(f"TRUNCATE {', '.join(filled)}"))
    for row in found:
        if row["successor"] is not None:
            successor.drop(connection, row["successor"])
    connection.commit()
    run_tables.drop(connection, [row["of_run"] for row in found if row["of_run"] is not None])


def clear(connection: Connection, datasets: Iterable[DatasetSql], *, is_small: bool) -> None:
    """Empty staging with the next statement. For a few rows, deleting is cheaper than new files."""
    tables = _tables(datasets)
    statements = (
        [f"DELETE FROM {table}" for table in tables]
        if is_small
        else [f"TRUNCATE {', '.join(tables)}"]
    )
    later(connection, "; ".join(statements))


def _tables(datasets: Iterable[DatasetSql]) -> list[str]:
    return [*_OF_ALL, *(sql.own_staging for sql in datasets)]
