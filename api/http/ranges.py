"""Conditional and range requests: which part of an object an answer is to hold, if any."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import request as current_request
from werkzeug.datastructures import ContentRange

from api.http.errors import Refused
from api.http.preconditions import check_match, is_modified

if TYPE_CHECKING:
    from apiflask import APIFlask
    from flask import Request, Response

    from etl.storage.objects import ObjectInfo


def register(app: APIFlask) -> None:
    """Hide Range from every route, including those of libraries, except in GET requests."""
    app.before_request(ignore_range_outside_get)


def ignore_range_outside_get() -> None:
    """Drop Range where RFC 9110 (14.2) defines no meaning for it: a HEAD describes the whole."""
    if current_request.method != "GET":
        current_request.environ.pop("HTTP_RANGE", None)


def choose(request: Request, response: Response, info: ObjectInfo) -> range | None:
    """Set the answer's status and headers; the bytes it is to hold, None for no body at all.

    Raises:  Refused with 412 when a condition fails, with 416 when the range is behind the end.
    """
    response.set_etag(info.etag)
    response.last_modified = info.last_modified
    response.headers["Accept-Ranges"] = "bytes"
    check_match(request, info)
    if not is_modified(request, info):
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


def _asked_for(request: Request, info: ObjectInfo) -> range | None:
    """The one range asked for; None for the whole, also where several ranges are asked for."""
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return None
    if "If-Range" in request.headers and not _is_unchanged(request, info):
        return None
    found = _within(*wanted.ranges[0], info.size)
    if not found:
        raise Refused(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "range-not-satisfiable",
            f"The object has {info.size:,} bytes; the range asked for is behind them.",
            "Ask for a range within it.",
            headers={"Content-Range": str(ContentRange("bytes", None, None, info.size))},
        )
    return found


def _within(start: int, stop: int | None, size: int) -> range:
    """The bytes there are of a range; a negative start counts from the end."""
    first = max(size + start, 0) if start < 0 else start
    return range(first, size if stop is None else min(stop, size))


def _is_unchanged(request: Request, info: ObjectInfo) -> bool:
    condition = request.if_range
    if request.headers["If-Range"].lstrip().startswith("W/"):  # it may have other bytes
        return False
    if condition.etag is not None:
        return bool(condition.etag == info.etag)
    return condition.date is not None and condition.date == info.last_modified
