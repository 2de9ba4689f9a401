"""The users as GET /data serves them: their ETags, and the row of one user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, literal, select

from api.http.errors import NotFound
from api.rows import etags
from api.state.services import services
from etl.db.tables import source_object, users, users_retired
from etl.model.dataset import USERS

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from api.rows.filters import Filters
    from api.state.catalog import CatalogState


def etag(state: CatalogState, filters: Filters, *parts: object) -> str:
    """The ETag of a response about the current users, given the filters and other parts.

    It depends on the revision of the image metadata only if the filters do.

    Raises:  NotFound when the datasets file does not declare users.
    """
    if USERS.name not in state.datasets:
        raise _switched_off()
    images = None if filters.image is None else state.images
    return etags.of(state.revision(state.datasets[USERS.name]), filters, images, *parts)


def _switched_off() -> NotFound:
    return NotFound(
        "unknown-dataset",
        "The datasets file does not declare the dataset 'users', so there are no users.",
        'Add [datasets.users] with preset = "users" to it, or use GET /datasets, which lists the'
        " declared datasets.",
    )


def current_user(connection: Connection, user_id: str) -> Row[Any]:
    """The user's row, and the bucket and ETag of its source object.

    Raises:  NotFound for a user who is unknown or retired, and without the dataset.
    """
    installed = services().catalog.read(connection).datasets.get(USERS.name)
    if installed is None:
        raise _switched_off()
    bucket = services().bucket_of(installed.dataset)
    row = None if "\0" in user_id else _find(connection, bucket, user_id)
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


def _find(connection: Connection, bucket: str, user_id: str) -> Row[Any] | None:
    is_source = and_(source_object.c.bucket == bucket, source_object.c.key == users.c._source_key)
    statement = (
        select(users, literal(bucket).label("bucket"), source_object.c.etag)
        .join(source_object, is_source, isouter=True)
        .where(users.c.user_id == user_id)
    )
    return connection.execute(statement).one_or_none()
