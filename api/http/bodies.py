"""How large a request's body may be, by route: known before a byte of it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db.events import MAX_BODY_BYTES as EVENT_BYTES

if TYPE_CHECKING:
    from etl.settings import Settings

SMALL_BYTES = 64 * 1024  # for the routes that need no body at all


def largest_body(settings: Settings, method: str, path: str) -> int:
    """How many bytes a request to this path may bring."""
    if is_hook(path):
        return EVENT_BYTES
    if not is_upload(method, path):
        return SMALL_BYTES
    if path.startswith("/objects/"):
        return int(settings.object_max_size)
    return int(settings.document_max_size)


def is_hook(path: str) -> bool:
    """Whether a store tells of its buckets there."""
    return path.rstrip("/") == "/minio-event"


def is_upload(method: str, path: str) -> bool:
    """Whether a request is to store what it brings."""
    if path.startswith("/objects/"):
        return method == "PUT" or (method == "POST" and not path.endswith("/presign"))
    return method == "POST" and path.rstrip("/") == "/documents"


def may_be_stored(settings: Settings, path: str) -> bool:
    """Whether an upload to this path goes where anything may be written."""
    if not path.startswith("/objects/"):
        return True
    bucket = path.split("/")[2]
    return "w" in settings.object_rights.get(bucket, "")
