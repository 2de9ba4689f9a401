"""The current state: users, objects, images, problems, runs and the output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from etl.db.engine import connect, translating
from etl.db.sql import statements
from etl.images.rows import count_pending

if TYPE_CHECKING:
    from etl.settings import Settings


def status(connection: Connection, settings: Settings) -> dict[str, Any]:
    """Users, objects, images, problems by code, last runs and output, ready for JSON."""
    queries = statements("status")

    def rows(name: str) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(text(queries[name])).mappings()]

    return {
        "users": rows("users")[0],
        "objects": rows("objects")[0],
        "images": rows("images")[0] | {"waiting": count_pending(connection, settings)},
        "problems": {row["code"]: row["count"] for row in rows("open_problems")},
        "runs": rows("last_runs"),
        "output": next(iter(rows("output")), None),
    }


def images_waiting(settings: Settings) -> int:
    """The number of images that are not processed yet.

    Raises:  DatabaseUnavailable.
    """
    engine = connect(settings)
    try:
        with translating(), engine.connect() as connection:
            return count_pending(connection, settings)
    finally:
        engine.dispose()
