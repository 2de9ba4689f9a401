"""The maximum size of a request body by route, known before the body is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db.events import MAX_BODY_BYTES as EVENT_BYTES

if TYPE_CHECKING:
    from etl.settings import Settings

SMALL_BYTES = 64 * 1024  # the limit for all other routes


def max_body_bytes(settings: Settings, method: str, path: str) -> int:
    """The maximum body size of a request to this path, in bytes."""
    if is_webhook(path):
        return EVENT_BYTES
    if not is_upload(method, path):
        return SMALL_BYTES
    if path.startswith("/objects/"):
        return int(settings.object_max_size)
    return int(settings.document_max_size)


def is_webhook(path: str) -> bool:
    """Whether this is the path to which object stores send notifications."""
    return path.rstrip("/") == "/minio-event"


def is_upload(method: str, path: str) -> bool:
    """Whether the request stores its body."""
    if path.startswith("/objects/"):
        return method == "PUT" or (method == "POST" and not path.endswith("/presign"))
    return method == "POST" and path.rstrip("/") == "/documents"


def is_writable(settings: Settings, path: str) -> bool:
    """Whether an upload to this path is for a writable bucket or for the documents."""
    if not path.startswith("/objects/"):
        return True
    bucket = path.split("/")[2]
    return "w" in settings.object_rights.get(bucket, "")
