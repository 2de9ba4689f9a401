"""What waits for the operator while the service works: holds, failed datasets, a faulty file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from etl.db import datasets_file
from etl.db.tables import hold
from etl.model.errors import DatasetsFailed
from etl.runtime.program import program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Row


def attention(connection: Connection, last_run: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """All of it, from the database; `last_run` is the run that started last."""
    held = connection.execute(select(hold).order_by(hold.c.dataset)).all()
    found = [_hold(row) for row in held]
    found += _failed(last_run or {})
    fault = datasets_file.fault(connection)
    if fault is not None:
        found.append(_item("datasets-file", fault["message"], fault["hint"]))
    return found


def _hold(row: Row[Any]) -> dict[str, Any]:
    return _item(
        "hold",
        f"{row.rows} of {row.live} rows of {row.dataset} would be retired, and wait for"
        " permission.",
        f"If they are to go: {program()} run --allow-mass-retirement {row.dataset}",
        dataset=row.dataset,
        rows=row.rows,
    )


def _failed(run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The datasets that the run did not commit."""
    error = run.get("error") or {}
    if error.get("code") != DatasetsFailed.__name__:
        return
    for name in error["facts"]["failed"].split(", "):
        yield _item("dataset-failed", error["message"], error["hint"], dataset=name)


def _item(
    kind: str, message: str, hint: str, *, dataset: str | None = None, rows: int | None = None
) -> dict[str, Any]:
    return {"kind": kind, "dataset": dataset, "rows": rows, "message": message, "hint": hint}
