"""ETags of responses with rows, derived from the revision of the rows and the request.

They are weak because content codings change the bytes but not the rows. The revision must be
read before the rows: an old ETag on newer rows costs one more download, but a new ETag on
older rows would make clients keep stale data.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from flask import Response, request
from werkzeug.http import quote_etag

if TYPE_CHECKING:
    from etl.db.revisions import Revision

VERSION = "1"  # of the response format; changing it changes every ETag


def of(revision: Revision, *parts: object) -> str:
    """The ETag of a response that depends on rows with this revision, and on these parts."""
    content = repr((VERSION, revision.changed_at.isoformat(), *parts))
    return f"{revision.number}-{sha256(content.encode()).hexdigest()[:20]}"


def is_known(tag: str) -> bool:
    """Whether the client already has the response with this ETag."""
    return request.if_none_match.contains_weak(tag)


def headers(tag: str) -> dict[str, str]:
    """Headers that let clients cache the response but revalidate it each time."""
    return {"ETag": quote_etag(tag, weak=True), "Cache-Control": "private, no-cache"}


def not_modified(tag: str) -> Response:
    """The response to a client that already has it."""
    return Response(status=304, headers=headers(tag))
