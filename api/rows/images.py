"""What is told of a user's image: its facts, and where picture and thumbnails can be read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select

from api.state.services import services
from etl.db.tables import image, source_object, thumbnail, users
from etl.model.errors import ConfigurationError
from etl.model.values import ImageState
from etl.storage.objects import Link

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etl.storage.objects import Objects

EXPIRES = timedelta(minutes=15)
WAITING = "waiting"
UNKNOWN_TYPE = "application/octet-stream"
THUMBNAIL_TYPE = "image/webp"
_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
_WAITING_NOTE = "It has not been looked at yet; that follows the run that brought it."

EXAMPLE = {
    "state": "ready",
    "reason": None,
    "key": "1000.png",
    "format": "PNG",
    "mode": "RGB",
    "width": 640,
    "height": 480,
    "bytes": 48213,
    "sha256": "0a4c9d8f6c3f1b2e5a7d9e8c7b6a5f4e3d2c1b0a9f8e7d6c5b4a392817060504",
    "url": "http://127.0.0.1:9000/src-data/1000.png?X-Amz-Signature=...",
    "thumbnails": {"256": "http://127.0.0.1:9000/thumbnails/0a4c...@256.webp?X-Amz-Signature=..."},
    "urls_expire_in": 900,
}


def headers_of(image_format: str | None) -> dict[str, str]:
    """What a picture is sent as: by what was decoded, never by what its uploader called it.

    Anything else might be a page or a script; it is only to be saved.
    """
    if image_format in _TYPES:
        return {"Content-Type": _TYPES[image_format], "Content-Disposition": "inline"}
    return {"Content-Type": UNKNOWN_TYPE, "Content-Disposition": "attachment"}


def find(connection: Connection, user_id: str) -> Row[Any] | None:
    """The user's image: the manifest's key and etag, and the facts, which are null while it waits.

    None for a user without image.
    """
    named = ("state", "format", "mode", "width", "height", "sha256", "note")
    statement = (
        select(
            source_object.c.key,
            source_object.c.etag,
            source_object.c.size,
            *(image.c[name] for name in named),
        )
        .select_from(users)
        .join(source_object, is_image_of_user())
        .join(image, is_level(), isouter=True)
        .where(users.c.user_id == user_id)
    )
    return connection.execute(statement).one_or_none()


def is_image_of_user() -> ColumnElement[bool]:
    """Whether a source object is the image that a user's img_path names."""
    prefix = f"{services().settings.source_bucket}/"
    return and_(
        source_object.c.bucket == services().settings.source_bucket,
        source_object.c.key == func.substr(users.c.img_path, len(prefix) + 1),
    )


def is_level() -> ColumnElement[bool]:
    """Whether the facts are those of the source object as it is now."""
    return and_(image.c.key == source_object.c.key, image.c.etag == source_object.c.etag)


def sizes_made(connection: Connection, sha256: str | None) -> dict[int, str]:
    """The thumbnails of a picture that are in their bucket: keys by size, largest first."""
    rows = connection.execute(
        select(thumbnail.c.size, thumbnail.c.key)
        .where(thumbnail.c.sha256 == sha256, thumbnail.c.put_at.is_not(None))
        .order_by(thumbnail.c.size.desc())
    )
    return {row.size: row.key for row in rows}


def shown(found: Row[Any], made: Mapping[int, str]) -> dict[str, Any]:
    """The image as GET /data/<user_id> shows it."""
    addresses = _Addresses()
    source_bucket = services().settings.source_bucket
    is_ready = found.state == ImageState.READY
    return {
        "state": found.state or WAITING,
        "reason": None if is_ready else found.note or _WAITING_NOTE,
        "key": found.key,
        "format": found.format,
        "mode": found.mode,
        "width": found.width,
        "height": found.height,
        "bytes": found.size,
        "sha256": found.sha256,
        "url": addresses.of(source_bucket, found.key, headers_of(found.format)),
        "thumbnails": {
            str(size): addresses.of(
                services().settings.thumbnail_bucket, key, {"Content-Type": THUMBNAIL_TYPE}
            )
            for size, key in made.items()
        },
        "urls_expire_in": int(EXPIRES.total_seconds()),
    }


class _Addresses:
    """Signed addresses; none where we have no keys to sign with. The store is not asked."""

    def __init__(self) -> None:
        self._objects: Objects | None
        try:
            self._objects = services().objects
        except ConfigurationError:
            self._objects = None

    def of(self, bucket: str, key: str, answer: Mapping[str, str]) -> str | None:
        """The store answers with these headers, whatever it was told when the object was put."""
        if self._objects is None:
            return None
        overrides = {f"response-{name.lower()}": value for name, value in answer.items()}
        return self._objects.presign(bucket, key, Link("GET", EXPIRES, overrides))
