"""/data/<user_id>/image and /thumbnail: images of users, streamed from the object store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint

from api.http import downloads
from api.http.errors import NotFound
from api.rows import images
from api.rows.users import current_user
from api.schemas.data import ThumbnailQuery
from api.schemas.query import NoQuery
from api.security.auth import needs
from api.spec import openapi
from api.state.services import services
from etl.model.dataset import USERS
from etl.model.roles import Role

if TYPE_CHECKING:
    from flask import Response
    from sqlalchemy import Row

    from etl.storage.objects import ObjectInfo

bp = APIBlueprint("images", __name__, tag="Data")

# Clients may cache an image, but must revalidate it each time.
_CACHE = {"Cache-Control": "private, no-cache"}
_BINARY = {"schema": {"type": "string", "format": "binary"}, "example": "RIFF"}


def _responses(*types: str) -> dict[int | str, Any]:
    content = dict.fromkeys(types, _BINARY)
    return {
        200: {"description": "The image.", "headers": openapi.ETAG_HEADER, "content": content},
        206: {"description": "The part of the image that `Range` requests.", "content": content},
        304: openapi.NOT_MODIFIED,
        **openapi.problems(404, 412, 416, 422, 503),
    }


@bp.get("/data/<user_id:user_id>/image")
@needs(Role.READER, dataset=USERS.name)
@bp.input(NoQuery, location="query")
@bp.doc(
    responses=_responses("image/jpeg", "image/png", "image/webp", "image/gif", images.UNKNOWN_TYPE)
)
def show_image(user_id: str, query_data: NoQuery) -> Response:  # noqa: ARG001
    """Send a user's image as uploaded.

    The content type is that of the decoded image, not that of the object key. Images that
    could not be decoded are sent as `application/octet-stream`, as a file to save.
    """
    found, _ = _find(user_id)

    def headers_of(info: ObjectInfo) -> dict[str, str]:
        # The format of a version that was not processed yet is unknown.
        return _CACHE | images.content_headers(found.format if info.etag == found.etag else None)

    response = downloads.send(found.bucket, found.key, headers_of)
    if response is None:
        raise NotFound(
            "no-image",
            f"The image of user {user_id!r}, {found.key!r}, is no longer in its bucket.",
            "The next run updates the user; POST /data requests a run.",
        )
    return response


@bp.get("/data/<user_id:user_id>/thumbnail")
@needs(Role.READER, dataset=USERS.name)
@bp.input(ThumbnailQuery, location="query")
@bp.doc(responses=_responses(images.THUMBNAIL_TYPE))
def show_thumbnail(user_id: str, query_data: ThumbnailQuery) -> Response:
    """Send a WebP thumbnail of a user's image.

    `size` is the maximum width and height in pixels; without it, the largest thumbnail is
    sent. Smaller images are not enlarged.
    """
    found, keys = _find(user_id)
    size = next(iter(keys), None) if query_data.size is None else query_data.size
    if size is None or size not in keys:
        raise NotFound("no-thumbnail", _missing(user_id, found, keys, size), _THUMBNAIL_HINT)
    bucket = services().settings.thumbnail_bucket
    headers = _CACHE | {"Content-Type": images.THUMBNAIL_TYPE}
    response = downloads.send(bucket, keys[size], lambda _info: headers)
    if response is None:
        raise NotFound(
            "no-thumbnail",
            f"The thumbnail of user {user_id!r} is no longer in its bucket.",
            "Run `./run.sh images --again` to create it again.",
        )
    return response


_THUMBNAIL_HINT = (
    "GET /data/<user_id> lists the thumbnails under `image`; the setting THUMBNAIL_SIZES"
    " determines their sizes."
)


def _missing(user_id: str, found: Row[Any], keys: dict[int, str], size: int | None) -> str:
    if keys:
        sizes = ", ".join(map(str, keys))
        return f"User {user_id!r} has no thumbnail of size {size}; available sizes: {sizes}."
    reason = found.note or "The image has not been processed yet."
    return f"User {user_id!r} has no thumbnail. {reason}"


def _find(user_id: str) -> tuple[Row[Any], dict[int, str]]:
    """The user's image, and the object keys of its thumbnails by size.

    Raises:  NotFound when there is no such user, or the user has no image.
    """
    with services().database() as connection:
        current_user(connection, user_id)
        found = images.find(connection, user_id)
        if found is None:
            raise NotFound(
                "no-image",
                f"User {user_id!r} has no image.",
                "GET /data?image=missing lists the users without an image.",
            )
        return found, images.thumbnail_keys(connection, found.sha256)
