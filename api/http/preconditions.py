"""Conditional requests, RFC 9110 section 13.

Comparing first and writing later is a race, because others write to the store as well. For a
request that changes something, a failed condition is therefore a 412, and a condition that holds
is passed to the store with the write. If the store does not support that, the response is 501.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from werkzeug.http import is_resource_modified

from api.http.errors import Refused

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Request


class Versioned(Protocol):
    """The current state of a resource: an object, or a version of a document."""

    @property
    def etag(self) -> str:
        """Its ETag, without quotes."""

    @property
    def last_modified(self) -> datetime | None:
        """When it was written, if that is known."""


def is_conditional(request: Request) -> bool:
    """Whether a request that changes something has a condition.

    RFC 9110 requires ignoring If-Modified-Since and If-Range, which apply to reads, and invalid
    dates.
    """
    return (
        "If-Match" in request.headers
        or "If-None-Match" in request.headers
        or request.if_unmodified_since is not None
    )


def check_change(request: Request, current: Versioned | None) -> None:
    """Check the conditions of a request that changes something.

    Raises:  Refused with 412 if one of them fails.
    """
    check_match(request, current)
    if "If-None-Match" not in request.headers:
        return
    excluded = request.if_none_match
    if current is not None and (excluded.star_tag or excluded.contains_weak(current.etag)):
        raise _failed(
            "object-exists",
            f"The resource already exists, with the ETag {current.etag!r}.",
            "Use another name, or omit If-None-Match to replace the resource.",
        )


def check_match(request: Request, current: Versioned | None) -> None:
    """Check If-Match or, without it, If-Unmodified-Since.

    Raises:  Refused with 412.
    """
    if _is_as_expected(request, current):
        return
    if current is None:
        raise changed("The resource does not exist.")
    raise changed(f"The resource has changed; its ETag is now {current.etag!r}.")


def changed(detail: str) -> Refused:
    """412 for a resource that is not in the state that the request expects."""
    return _failed(
        "changed",
        detail,
        "Fetch the resource again, then repeat the request with its current ETag or without a"
        " condition.",
    )


def _failed(kind: str, detail: str, hint: str) -> Refused:
    return Refused(HTTPStatus.PRECONDITION_FAILED, kind, detail, hint)


def _is_as_expected(request: Request, current: Versioned | None) -> bool:
    if "If-Match" in request.headers:  # takes precedence over the date
        return current is not None and request.if_match.contains(current.etag)
    date = request.if_unmodified_since
    modified = current.last_modified if current else None
    return date is None or modified is None or modified.replace(microsecond=0) <= date


def is_modified(request: Request, current: Versioned) -> bool:
    """Whether to send the resource, by If-None-Match or, without it, If-Modified-Since."""
    others = {name: text for name, text in request.environ.items() if name != "HTTP_IF_MATCH"}
    return is_resource_modified(
        others, etag=f'"{current.etag}"', last_modified=current.last_modified
    )


def not_supported(what: str) -> Refused:
    """501 for a condition that holds now but that the store cannot check with the write."""
    return Refused(
        HTTPStatus.NOT_IMPLEMENTED,
        "not-supported",
        f"{what} conditionally, because another client could change it in between.",
        "Repeat the request without the condition, after comparing the ETag from a HEAD request.",
    )
