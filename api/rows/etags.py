"""ETags of responses about users, derived from the users' revision and the request.

They are weak because content codings change the bytes but not the users. The revision must be
read before the users: an old ETag on newer users costs one more download, but a new ETag on
older users would make clients keep stale data.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from flask import Response, request
from werkzeug.http import quote_etag

from etl.db.revisions import Resource, current

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from api.rows.filters import Filters

VERSION = "1"  # of the response format; changing it changes every ETag


def of_users(connection: Connection, filters: Filters, *parts: object) -> str:
    """The ETag of a response about the current users, given the filters and other parts.

    It depends on the revision of the image metadata only if the filters do.
    """
    revisions = current(connection)
    number, changed_at = revisions[Resource.USERS]
    images_revision = None if filters.image is None else revisions[Resource.IMAGES]
    content = repr((VERSION, changed_at.isoformat(), filters, images_revision, *parts))
    return f"{number}-{sha256(content.encode()).hexdigest()[:20]}"


def is_known(tag: str) -> bool:
    """Whether the client already has the response with this ETag."""
    return request.if_none_match.contains_weak(tag)


def headers(tag: str) -> dict[str, str]:
    """Headers that let clients cache the response but revalidate it each time."""
    return {"ETag": quote_etag(tag, weak=True), "Cache-Control": "private, no-cache"}


def not_modified(tag: str) -> Response:
    """The response to a client that already has it."""
    return Response(status=304, headers=headers(tag))
