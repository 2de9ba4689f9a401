"""The datasets file that a process last read, as /health and `status` show it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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


def record(
    connection: Connection, *, path: str, digest: str, error: Mapping[str, Any] | None
) -> None:
    """Store the file's state in place of the former one. The caller commits."""
    stored = None if error is None else json.dumps(error)
    connection.execute(_RECORD, {"path": path, "digest": digest, "error": stored})


def fault(connection: Connection) -> dict[str, Any] | None:
    """The error of the file's last version, None if it has none."""
    found: dict[str, Any] | None = connection.scalar(text("SELECT error FROM datasets_file"))
    return found
