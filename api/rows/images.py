"""The image of a user: its metadata, its thumbnails, and presigned URLs for them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select, tuple_

from api.rows.filters import is_current_metadata, is_image_of_user
from api.state.services import services
from etl.db.tables import image, source_object, thumbnail, users
from etl.model.errors import ConfigurationError
from etl.model.values import ImageState
from etl.storage.objects import PresignOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from etl.storage.objects import Objects

URL_LIFETIME = timedelta(minutes=15)
WAITING = "waiting"
UNKNOWN_TYPE = "application/octet-stream"
THUMBNAIL_TYPE = "image/webp"
_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
_COLUMNS = (
    *(source_object.c[name] for name in ("bucket", "key", "etag", "size", "dataset")),
    source_object.c.last_modified,
    *(image.c[name] for name in ("state", "format", "mode", "width", "height", "sha256", "note")),
)
_WAITING_REASON = "The image has not been processed yet; images are processed after each run."


def content_headers(image_format: str | None) -> dict[str, str]:
    """Headers for an image, based on the decoded format and never on the uploader's claim.

    Anything else could be a web page or a script, so browsers must download it.
    """
    if image_format in _TYPES:
        return {"Content-Type": _TYPES[image_format], "Content-Disposition": "inline"}
    return {"Content-Type": UNKNOWN_TYPE, "Content-Disposition": "attachment"}


def find(connection: Connection, user_id: str) -> Row[Any] | None:
    """The user's image: the bucket, key, ETag and size of its object, and its metadata.

    The metadata is null until the image is processed. Returns None if the user has no image.
    """
    statement = (
        select(*_COLUMNS)
        .select_from(users)
        .join(source_object, is_image_of_user())
        .join(image, is_current_metadata(), isouter=True)
        .where(users.c.user_id == user_id)
    )
    return connection.execute(statement).one_or_none()


def of_objects(
    connection: Connection, places: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Row[Any]]:
    """The images that these objects are, as `find` returns them, by bucket and key."""
    if not places:
        return {}
    statement = (
        select(*_COLUMNS)
        .select_from(source_object)
        .join(image, is_current_metadata(), isouter=True)
        .where(
            source_object.c.kind == "image",
            tuple_(source_object.c.bucket, source_object.c.key).in_(list(places)),
        )
    )
    return {(row.bucket, row.key): row for row in connection.execute(statement)}


def thumbnail_keys(connection: Connection, sha256: str | None) -> dict[int, str]:
    """The object keys of the stored thumbnails of an image by size, largest first."""
    rows = connection.execute(
        select(thumbnail.c.size, thumbnail.c.key)
        .where(thumbnail.c.sha256 == sha256, thumbnail.c.put_at.is_not(None))
        .order_by(thumbnail.c.size.desc())
    )
    return {row.size: row.key for row in rows}


def as_json(found: Row[Any], keys: Mapping[int, str]) -> dict[str, Any]:
    """The image as part of GET /data/<user_id>."""
    objects, thumbnails = _objects(), services().settings.thumbnail_bucket
    is_ready = found.state == ImageState.READY
    return {
        "state": found.state or WAITING,
        "reason": None if is_ready else found.note or _WAITING_REASON,
        "key": found.key,
        "format": found.format,
        "mode": found.mode,
        "width": found.width,
        "height": found.height,
        "bytes": found.size,
        "sha256": found.sha256,
        "url": _url(objects, found.bucket, found.key, content_headers(found.format)),
        "thumbnails": {
            str(size): _url(objects, thumbnails, key, {"Content-Type": THUMBNAIL_TYPE})
            for size, key in keys.items()
        },
        "urls_expire_in": int(URL_LIFETIME.total_seconds()),
    }


def _objects() -> Objects | None:
    """The client that presigns URLs, without requests to the store; None without S3 settings."""
    try:
        return services().objects
    except ConfigurationError:
        return None


def _url(objects: Objects | None, bucket: str, key: str, headers: Mapping[str, str]) -> str | None:
    """A presigned URL; the store responds with these headers instead of the stored ones."""
    if objects is None:
        return None
    overrides = {f"response-{name.lower()}": value for name, value in headers.items()}
    return objects.presign(bucket, key, PresignOptions("GET", URL_LIFETIME, overrides))
