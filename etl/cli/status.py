"""The current state: rows by dataset, objects, images, problems, holds, runs and the output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, text

from etl.db import datasets_file
from etl.db.engine import schemas_of, translating
from etl.db.installed import installed
from etl.db.runs import failing_datasets
from etl.db.sql import statements
from etl.images.waiting import count_pending
from etl.model.dataset import USERS, OnRemoved

if TYPE_CHECKING:
    from etl.db.dataset_sql import DatasetSql
    from etl.settings import Settings


def status(connection: Connection, settings: Settings) -> dict[str, Any]:
    """Rows by dataset, objects, images, problems, holds, failures, runs and output, for JSON.

    `datasets_file` is the error of the datasets file's newest version, None if it has none.

    `users` are the rows of that dataset, None if it is not declared; `datasets` are all others.
    """
    queries = statements("status")
    known = installed(connection, schemas_of(connection.engine).data)
    names = [sql.dataset.name for sql in known]
    return {
        "users": _rows(connection, "users")[0] if not names or USERS.name in names else None,
        "datasets": {
            sql.dataset.name: dataset_counts(connection, sql)
            for sql in known
            if sql.dataset.name != USERS.name
        },
        "objects": _rows(connection, "objects")[0],
        "images": _rows(connection, "images")[0] | {"waiting": count_pending(connection, settings)},
        "problems": {
            row.code: row.count for row in connection.execute(text(queries["open_problems"]))
        },
        "holds": holds(connection),
        "failed_datasets": [
            {"dataset": name, **error} for name, error in failing_datasets(connection).items()
        ],
        "datasets_file": datasets_file.fault(connection),
        "runs": _rows(connection, "last_runs"),
        "output": next(iter(_rows(connection, "output")), None),
    }


def dataset_counts(connection: Connection, sql: DatasetSql) -> dict[str, Any]:
    """The live, retired and shadowed rows of a dataset, its objects and its open problems.

    `missing` names its tables that another client renamed or dropped.
    """
    named = {"schema": sql.schema, "names": sql.relations}
    found = set(connection.scalars(text(statements("status")["existing"]), named))
    missing = [name for name in sql.relations if name not in found]
    counts: dict[str, Any] = {"missing": missing} if missing else {}
    tables = (("live", sql.table), ("retired", sql.retired), ("shadowed", sql.shadowed))
    for (what, table), name in zip(tables, sql.relations, strict=False):
        if what != "retired" or sql.dataset.on_removed is OnRemoved.RETIRE:
            count = f"SELECT count(*) FROM {table}"
            counts[what] = 0 if name in missing else connection.scalar(text(count))
    row = connection.execute(
        text(statements("status")["of_dataset"]), {"name": sql.dataset.name}
    ).one()
    return {"shadowed": 0, **counts, "objects": row.objects, "problems": row.problems}


def images_waiting(engine: Engine, settings: Settings) -> int:
    """The number of images that are not processed yet.

    Raises:  DatabaseUnavailable.
    """
    with translating(), engine.connect() as connection:
        return count_pending(connection, settings)


def holds(connection: Connection) -> list[dict[str, Any]]:
    """The open holds: dataset, rows, live rows and objects of each."""
    return _rows(connection, "holds")


def held(engine: Engine) -> list[dict[str, Any]]:
    """As `holds`, on a connection of its own.

    Raises:  DatabaseUnavailable.
    """
    with translating(), engine.connect() as connection:
        return holds(connection)


def _rows(connection: Connection, name: str) -> list[dict[str, Any]]:
    found = connection.execute(text(statements("status")[name]))
    return [dict(row) for row in found.mappings()]
