"""The maximum size of a request body by route, known before the body is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.http.pages import without_prefix
from etl.db.event_messages import MAX_BODY_BYTES as EVENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etl.settings import Settings

SMALL_BYTES = 64 * 1024  # the limit for all other routes


def max_body_bytes(settings: Settings, method: str, path: str) -> int:
    """The maximum body size of a request to this path, in bytes.

    A page of the dashboard has the limit of the route with the same path.
    """
    if is_webhook(path):
        return EVENT_BYTES
    if is_check(method, path):
        return int(settings.check_max_size)
    if not is_upload(method, path):
        return SMALL_BYTES
    if without_prefix(path).startswith("/objects/"):
        return int(settings.object_max_size)
    return int(settings.document_max_size)


def is_webhook(path: str) -> bool:
    """Whether this is the path to which object stores send notifications."""
    return path.rstrip("/") == "/minio-event"


def is_check(method: str, path: str) -> bool:
    """Whether the body is a file to check, which is not stored."""
    return method == "POST" and without_prefix(path).rstrip("/") == "/check"


def is_upload(method: str, path: str) -> bool:
    """Whether the request stores its body."""
    path = without_prefix(path)
    if path.startswith("/objects/"):
        has_key = path.count("/") > 2  # noqa: PLR2004 - PUT /objects/<bucket> has no body
        return (method == "PUT" and has_key) or (method == "POST" and not path.endswith("/presign"))
    return method == "POST" and path.rstrip("/") == "/documents"


def is_writable(settings: Settings, sources: Iterable[str], path: str) -> bool:
    """Whether an upload to this path is for a writable bucket or for the documents.

    `sources` are the source buckets of the datasets.
    """
    path = without_prefix(path)
    if not path.startswith("/objects/"):
        return True
    bucket = path.split("/")[2]
    return "w" in with_sources(settings, sources).get(bucket, "")


def with_sources(settings: Settings, sources: Iterable[str]) -> dict[str, str]:
    """The buckets that /objects may use, and `r` or `rw` for each.

    Unless OBJECT_BUCKETS is set, all source buckets may be written.
    """
    rights = settings.object_rights
    return rights if settings.object_buckets is not None else rights | dict.fromkeys(sources, "rw")
