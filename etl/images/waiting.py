"""The images that wait to be processed: new, changed, or without one of their thumbnails.

Every run report counts these images. This module is separate from `rows`, because it does not need
the table definitions of SQLAlchemy, which take time to import.

Every function runs in its caller's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from etl.db.sql import statements
from etl.model.values import SourceObject

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from etl.settings import Settings


def buckets(connection: Connection, settings: Settings) -> list[str]:
    """The buckets that may have images: that of SOURCE_BUCKET and those of datasets, sorted."""
    statement = text(statements("pending_images")["buckets"])
    return sorted(connection.scalars(statement, {"source_bucket": settings.source_bucket}))


def count_pending(connection: Connection, settings: Settings) -> int:
    """Return the number of images that are not processed yet."""
    named = statements("pending_images")
    statement = (
        f"SELECT count(*) FROM ({named['pending']}) AS waiting WHERE bucket IN ({named['buckets']})"
    )
    values = {**_values(settings, again=False), "source_bucket": settings.source_bucket}
    return connection.scalar(text(statement), values) or 0


def pending(  # noqa: PLR0913 - a page of a bucket
    connection: Connection,
    settings: Settings,
    bucket: str,
    after: str,
    *,
    limit: int,
    again: bool,
) -> list[SourceObject]:
    """Return the next images that are new, changed or lack a thumbnail; if `again`, also faulty."""
    statement = (
        f"{statements('pending_images')['pending']}"
        " AND source_object.bucket = :bucket AND source_object.key > :after"
        " ORDER BY source_object.key LIMIT :limit"
    )
    values = {"bucket": bucket, "after": after, "limit": limit}
    rows = connection.execute(text(statement), _values(settings, again=again) | values)
    return [SourceObject(row.key, row.etag, row.size, row.last_modified) for row in rows]


def _values(settings: Settings, *, again: bool) -> dict[str, object]:
    return {"sizes": list(settings.thumbnail_sizes), "again": again}
