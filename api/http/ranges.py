"""Conditional and range requests: which part of an object a response contains."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import request as current_request
from werkzeug.datastructures import ContentRange, Range

from api.http.errors import Refused
from api.http.preconditions import check_match, is_modified

if TYPE_CHECKING:
    from apiflask import APIFlask
    from flask import Request, Response

    from etl.storage.objects import ObjectInfo


def register(app: APIFlask) -> None:
    """Hide Range from all routes, including those of libraries, except in GET requests."""
    app.before_request(ignore_range_outside_get)


def ignore_range_outside_get() -> None:
    """Drop Range unless the method is GET: RFC 9110 (14.2) defines it only for GET."""
    if current_request.method != "GET":
        current_request.environ.pop("HTTP_RANGE", None)


def choose(request: Request, response: Response, info: ObjectInfo) -> range | None:
    """Set the response's status and headers; the bytes to send, or None for a 304 without a body.

    Raises:  Refused with 412 if a condition fails, with 416 if the range is beyond the end.
    """
    response.set_etag(info.etag)
    response.last_modified = info.last_modified
    response.headers["Accept-Ranges"] = "bytes"
    check_match(request, info)
    if not is_modified(request, info):
        response.status_code = HTTPStatus.NOT_MODIFIED
        response.headers.pop("Content-Type")
        return None
    part = _requested_range(request, info)
    if part is None:
        part = range(info.size)
    else:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response.content_range = ContentRange("bytes", part.start, part.stop, info.size)
    response.content_length = len(part)
    return part


def _requested_range(request: Request, info: ObjectInfo) -> range | None:
    """The requested range; None to send the whole object, also if there are several ranges."""
    requested = request.range
    if requested is None or requested.units != "bytes" or len(requested.ranges) != 1:
        return None
    if "If-Range" in request.headers and not _is_unchanged(request, info):
        return None
    start, stop = requested.ranges[0]
    # werkzeug rejects a suffix longer than the object; by RFC 9110 (14.1.2) it is the whole object.
    found = Range("bytes", [(max(start, -info.size), stop)]).range_for_length(info.size)
    if found is None:
        raise Refused(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "range-not-satisfiable",
            f"The requested range is beyond the end of the object, which has {info.size:,} bytes.",
            "Request a range within the object, or omit the Range header.",
            headers={"Content-Range": str(ContentRange("bytes", None, None, info.size))},
        )
    return range(*found)


def _is_unchanged(request: Request, info: ObjectInfo) -> bool:
    condition = request.if_range
    if request.headers["If-Range"].lstrip().startswith("W/"):  # its bytes may differ
        return False
    if condition.etag is not None:
        return bool(condition.etag == info.etag)
    return condition.date is not None and condition.date == info.last_modified
