"""The datasets file that a process last read, as /health and `status` show it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, text

if TYPE_CHECKING:
    from collections.abc import Mapping

_RECORD = text(
    """
    INSERT INTO datasets_file (id, path, hash, read_at, error)
    VALUES (true, :path, :digest, now(), CAST(:error AS jsonb))
    ON CONFLICT (id) DO UPDATE SET
        path = excluded.path, hash = excluded.hash,
        read_at = excluded.read_at, error = excluded.error
    """
)


class StoredFile(NamedTuple):
    """The version of the file that was read last, and its error, if it has one."""

    path: str
    hash: str
    error: dict[str, Any] | None


def record(
    connection: Connection, *, path: str, digest: str, error: Mapping[str, Any] | None
) -> None:
    """Store the file's state in place of the former one. The caller commits."""
    stored = None if error is None else json.dumps(error)
    connection.execute(_RECORD, {"path": path, "digest": digest, "error": stored})


def stored(connection: Connection) -> StoredFile | None:
    """The file's last version; None before a process has read one."""
    row = connection.execute(text("SELECT path, hash, error FROM datasets_file")).one_or_none()
    return None if row is None else StoredFile(*row)


def fault(connection: Connection) -> dict[str, Any] | None:
    """The error of the file's last version, None if it has none."""
    found: dict[str, Any] | None = connection.scalar(text("SELECT error FROM datasets_file"))
    return found
