"""Where things stand: users, objects, open problems, runs, publication."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from etl.sql import statements


def status(connection: Connection) -> dict[str, Any]:
    """A value ready for JSON: users, objects, problems by code, the last runs, output."""
    queries = statements("status")

    def rows(name: str) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(text(queries[name])).mappings()]

    return {
        "users": rows("users")[0],
        "objects": rows("objects")[0],
        "problems": {row["code"]: row["count"] for row in rows("open_problems")},
        "runs": rows("last_runs"),
        "output": next(iter(rows("output")), None),
    }
