"""The datasets file that a process last read, as /health shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from etl.db.tables import datasets_file

if TYPE_CHECKING:
    from collections.abc import Mapping


def record(
    connection: Connection, *, path: str, digest: str, error: Mapping[str, Any] | None
) -> None:
    """Store the file's state in place of the former one. The caller commits."""
    values = {"path": path, "hash": digest, "read_at": func.now(), "error": error}
    statement = insert(datasets_file).values(id=True, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def fault(connection: Connection) -> dict[str, Any] | None:
    """The error of the file's last version, None if it has none."""
    return connection.scalar(select(datasets_file.c.error))
