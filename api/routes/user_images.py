"""/data/<user_id>/image and /thumbnail: the picture itself, streamed from the object store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint

from api.http import downloads
from api.http.errors import NotFound
from api.routes.data import live_user
from api.rows import images
from api.schemas.data import ThumbnailQuery
from api.schemas.query import NoQuery
from api.security.auth import needs
from api.spec import openapi
from api.state.services import services
from etl.model.roles import Role

if TYPE_CHECKING:
    from flask import Response
    from sqlalchemy import Row

    from etl.storage.objects import ObjectInfo

bp = APIBlueprint("pictures", __name__, tag="Data")

# Readers may keep a picture, and ask each time whether it is still the one.
_CACHE = {"Cache-Control": "private, no-cache"}
_BINARY = {"schema": {"type": "string", "format": "binary"}, "example": "RIFF"}


def _responses(*types: str) -> dict[int | str, Any]:
    content = dict.fromkeys(types, _BINARY)
    return {
        200: {"description": "The picture.", "headers": openapi.ETAG_HEADER, "content": content},
        206: {"description": "The part that `Range` asks for.", "content": content},
        304: openapi.NOT_MODIFIED,
        **openapi.problems(404, 412, 416, 422, 503),
    }


@bp.get("/data/<user_id:user_id>/image")
@needs(Role.READER)
@bp.input(NoQuery, location="query")
@bp.doc(
    responses=_responses("image/jpeg", "image/png", "image/webp", "image/gif", images.UNKNOWN_TYPE)
)
def show_image(user_id: str, query_data: NoQuery) -> Response:  # noqa: ARG001
    """Send a user's image as it was uploaded.

    Its type is what was decoded, whatever its name says; what could not be decoded is sent as
    `application/octet-stream`, to be saved and not shown.
    """
    found, _ = _image_of(user_id)
    bucket = services().settings.source_bucket

    def headers_of(info: ObjectInfo) -> dict[str, str]:
        # Of a newer version than the one that was looked at, nothing is known.
        return _CACHE | images.headers_of(found.format if info.etag == found.etag else None)

    response = downloads.send(bucket, found.key, headers_of)
    if response is None:
        raise NotFound(
            "no-image",
            f"The image of user {user_id!r}, {found.key!r}, is no longer in its bucket.",
            "The next run notices; POST /data asks for one.",
        )
    return response


@bp.get("/data/<user_id:user_id>/thumbnail")
@needs(Role.READER)
@bp.input(ThumbnailQuery, location="query")
@bp.doc(responses=_responses(images.THUMBNAIL_TYPE))
def show_thumbnail(user_id: str, query_data: ThumbnailQuery) -> Response:
    """Send a thumbnail of a user's image, WebP; without `size` the largest.

    `size` is the longest side of its box in pixels. A smaller picture is not enlarged.
    """
    found, made = _image_of(user_id)
    size = next(iter(made), None) if query_data.size is None else query_data.size
    if size is None or size not in made:
        raise NotFound("no-thumbnail", _why_none(user_id, found, made, size), _THUMBNAIL_HINT)
    bucket = services().settings.thumbnail_bucket
    headers = _CACHE | {"Content-Type": images.THUMBNAIL_TYPE}
    response = downloads.send(bucket, made[size], lambda _info: headers)
    if response is None:
        raise NotFound(
            "no-thumbnail",
            f"Somebody removed this thumbnail of user {user_id!r} from its bucket.",
            "`./run.sh images --again` makes it again.",
        )
    return response


_THUMBNAIL_HINT = "GET /data/<user_id> lists them under `image`; THUMBNAIL_SIZES says what is made."


def _why_none(user_id: str, found: Row[Any], made: dict[int, str], size: int | None) -> str:
    if made:
        listed = ", ".join(map(str, made))
        return f"User {user_id!r} has no thumbnail of size {size}; those made are {listed}."
    reason = found.note or "The image has not been looked at yet."
    return f"User {user_id!r} has no thumbnail. {reason}"


def _image_of(user_id: str) -> tuple[Row[Any], dict[int, str]]:
    """The user's image and the thumbnails made of it.

    Raises:  NotFound when there is no such user, or no image of theirs.
    """
    with services().database() as connection:
        live_user(connection, user_id)
        found = images.find(connection, user_id)
        if found is None:
            raise NotFound(
                "no-image",
                f"User {user_id!r} has no image.",
                "GET /data?image=missing lists the users without one.",
            )
        return found, images.sizes_made(connection, found.sha256)
