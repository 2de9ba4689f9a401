"""How large a request's body may be, by route: known before a byte of it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.events import MAX_BODY_BYTES as EVENT_BYTES

if TYPE_CHECKING:
    from etl.settings import Settings

SMALL_BYTES = 64 * 1024  # for the routes that need no body at all


def largest_body(settings: Settings, path: str) -> int:
    """How many bytes a request to this path may bring."""
    if path.startswith("/objects/") and not path.endswith("/presign"):
        return int(settings.object_max_size)
    if path.rstrip("/") == "/documents":
        return int(settings.document_max_size)
    if path.rstrip("/") == "/minio-event":
        return EVENT_BYTES
    return SMALL_BYTES
