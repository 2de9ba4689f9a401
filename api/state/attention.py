"""What waits for the operator while the service works: holds, failed datasets, a faulty file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from etl.db import datasets_file, runs
from etl.db.tables import hold
from etl.runtime.program import program

if TYPE_CHECKING:
    from sqlalchemy import Row


def attention(connection: Connection) -> list[dict[str, Any]]:
    """The items for `attention` in GET /health, read from the database."""
    held = connection.execute(select(hold).order_by(hold.c.dataset)).all()
    found = [_hold(row) for row in held]
    for name, error in runs.failing_datasets(connection).items():
        found.append(item("dataset-failed", error["message"], error["hint"], dataset=name))
    fault = datasets_file.fault(connection)
    if fault is not None:
        found.append(item("datasets-file", fault["message"], fault["hint"]))
    return found


def _hold(row: Row[Any]) -> dict[str, Any]:
    return item(
        "hold",
        f"{row.rows} of {row.live} rows of {row.dataset} would be retired, and wait for"
        " permission.",
        f"If they are to go: {program()} run --allow-mass-retirement {row.dataset}",
        dataset=row.dataset,
        rows=row.rows,
    )


def item(
    kind: str, message: str, hint: str, *, dataset: str | None = None, rows: int | None = None
) -> dict[str, Any]:
    """One entry of `attention`."""
    return {"kind": kind, "dataset": dataset, "rows": rows, "message": message, "hint": hint}
