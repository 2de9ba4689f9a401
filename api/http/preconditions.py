"""Conditional requests, RFC 9110 section 13.

Comparing first and writing later is a race, because others write to the store as well. For a
request that changes something, a condition that fails is therefore a 412, and one that holds is
passed to the store with the write. If the store does not support that, the answer is 501.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from werkzeug.http import is_resource_modified

from api.http.errors import Refused

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Request


class Found(Protocol):
    """What is there: an object, or a version of a document."""

    @property
    def etag(self) -> str:
        """Its ETag, without quotes."""

    @property
    def last_modified(self) -> datetime | None:
        """When it was written, if that is known."""


def is_conditional(request: Request) -> bool:
    """Whether a request that changes something has a condition to be kept.

    If-Modified-Since and If-Range apply only to reads, and an invalid date is not a condition:
    RFC 9110 says to ignore them.
    """
    return (
        "If-Match" in request.headers
        or "If-None-Match" in request.headers
        or request.if_unmodified_since is not None
    )


def check_change(request: Request, found: Found | None) -> None:
    """Compare the conditions of a request that changes something.

    Raises:  Refused with 412 when one of them fails.
    """
    check_match(request, found)
    if "If-None-Match" not in request.headers:
        return
    unwanted = request.if_none_match
    if found is not None and (unwanted.star_tag or unwanted.contains_weak(found.etag)):
        raise _failed(
            "object-exists",
            f"It already exists, with the ETag {found.etag!r}.",
            "Choose another name, or leave out If-None-Match to replace it.",
        )


def check_match(request: Request, found: Found | None) -> None:
    """Compare If-Match, or without it If-Unmodified-Since.

    Raises:  Refused with 412.
    """
    if _is_as_expected(request, found):
        return
    state = "It does not exist." if found is None else f"Its ETag is now {found.etag!r}."
    raise changed(state)


def changed(detail: str) -> Refused:
    """412 if the resource is not, or is no longer, as the request expects."""
    return _failed(
        "changed",
        detail,
        "Fetch it again, then repeat the request with the current ETag or without a condition.",
    )


def _failed(kind: str, detail: str, hint: str) -> Refused:
    return Refused(HTTPStatus.PRECONDITION_FAILED, kind, detail, hint)


def _is_as_expected(request: Request, found: Found | None) -> bool:
    if "If-Match" in request.headers:  # then the date does not count
        return found is not None and request.if_match.contains(found.etag)
    date = request.if_unmodified_since
    modified = found.last_modified if found else None
    return date is None or modified is None or modified.replace(microsecond=0) <= date


def is_modified(request: Request, found: Found) -> bool:
    """Whether to send it, by If-None-Match or, without that, by If-Modified-Since."""
    others = {name: text for name, text in request.environ.items() if name != "HTTP_IF_MATCH"}
    return is_resource_modified(others, etag=f'"{found.etag}"', last_modified=found.last_modified)


def not_supported(what: str) -> Refused:
    """501 for a condition that holds, but may fail before we have acted."""
    return Refused(
        HTTPStatus.NOT_IMPLEMENTED,
        "not-supported",
        f"{what} conditionally, because another client could change it in between.",
        "Leave out the condition; compare the ETag from HEAD first.",
    )
