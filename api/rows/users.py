"""One user: its row in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from api.http.errors import NotFound
from api.state.services import services
from etl.db.tables import source_object, users, users_retired

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row


def current_user(connection: Connection, user_id: str) -> Row[Any]:
    """The user's row and the ETag of its source object.

    Raises:  NotFound for a user who is unknown or retired.
    """
    row = None if "\0" in user_id else _find(connection, user_id)
    if row is None:
        raise _retired(connection, user_id) or NotFound(
            "unknown-user",
            f"There is no user {user_id!r}.",
            "GET /data lists the users. User IDs are text, so 0001 and 1 are different IDs.",
        )
    return row


def _retired(connection: Connection, user_id: str) -> NotFound | None:
    """The response for a user that was retired; None if it was not."""
    if "\0" in user_id:
        return None
    row = connection.execute(
        select(users_retired).where(users_retired.c.user_id == user_id)
    ).one_or_none()
    if row is None:
        return None
    return NotFound(
        "retired-user",
        f"User {user_id!r} was retired at {row._retired_at:%Y-%m-%dT%H:%M:%SZ}"
        f" because {row._source_key!r} no longer contains it.",
        "Upload the object with this user again to restore it.",
    )


def _find(connection: Connection, user_id: str) -> Row[Any] | None:
    bucket = services().settings.source_bucket
    is_source = and_(source_object.c.bucket == bucket, source_object.c.key == users.c._source_key)
    statement = (
        select(users, source_object.c.etag)
        .join(source_object, is_source, isouter=True)
        .where(users.c.user_id == user_id)
    )
    return connection.execute(statement).one_or_none()
