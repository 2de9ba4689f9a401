"""Conditional and range requests: which part of an object an answer is to hold, if any."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from werkzeug.datastructures import ContentRange
from werkzeug.http import is_resource_modified

from api.errors import Refused

if TYPE_CHECKING:
    from flask import Request, Response

    from etl.objects import ObjectInfo


def choose(request: Request, response: Response, info: ObjectInfo) -> range | None:
    """Set the answer's status and headers; the bytes it is to hold, None for no body at all.

    Raises:  Refused with 412 when a condition fails, with 416 when the range is behind the end.
    """
    response.set_etag(info.etag)
    response.last_modified = info.last_modified
    response.headers["Accept-Ranges"] = "bytes"
    _check_match(request, info)
    if not _is_modified(request, info):
        response.status_code = HTTPStatus.NOT_MODIFIED
        response.headers.pop("Content-Type")
        return None
    part = _asked_for(request, info)
    if part is None:
        part = range(info.size)
    else:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{info.size}"
    response.content_length = len(part)
    return part


def _check_match(request: Request, info: ObjectInfo) -> None:
    if "If-Match" in request.headers and not request.if_match.contains(info.etag):
        raise Refused(
            HTTPStatus.PRECONDITION_FAILED,
            "changed",
            f"The object's ETag is {info.etag!r} by now.",
            "Look at it again, and repeat the request with that ETag or without a condition.",
        )


def _is_modified(request: Request, info: ObjectInfo) -> bool:
    return is_resource_modified(
        request.environ, etag=f'"{info.etag}"', last_modified=info.last_modified
    )


def _asked_for(request: Request, info: ObjectInfo) -> range | None:
    """The one range asked for; None for the whole, also where several ranges are asked for."""
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return None
    if "If-Range" in request.headers and not _is_unchanged(request, info):
        return None
    found = wanted.range_for_length(info.size)
    if found is None:
        raise Refused(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "range-not-satisfiable",
            f"The object has {info.size:,} bytes; the range asked for is behind them.",
            "Ask for a range within it.",
            headers={"Content-Range": str(ContentRange("bytes", None, None, info.size))},
        )
    return range(*found)


def _is_unchanged(request: Request, info: ObjectInfo) -> bool:
    condition = request.if_range
    if condition.etag is not None:
        return bool(condition.etag == info.etag)
    return condition.date is not None and condition.date == info.last_modified
