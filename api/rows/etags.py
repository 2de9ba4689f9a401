"""ETags of what is told about users: their revision, and all else that the answer depends on.

They are weak: a coding, or another cut into pieces, changes the bytes and not what they say.
The revision is read before the users, never after: an older tag on newer users costs a reader
one more download, the other way round would show old users as new.
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

VERSION = "1"  # of what answers look like; another one makes every tag a new one


def of_users(connection: Connection, filters: Filters, *parts: object) -> str:
    """The tag of an answer that is made of the users as they are, these filters and parts.

    The revision of images counts only where they are asked for.
    """
    revisions = current(connection)
    number, changed_at = revisions[Resource.USERS]
    looked_at = None if filters.image is None else revisions[Resource.IMAGES]
    facts = repr((VERSION, changed_at.isoformat(), filters, looked_at, *parts))
    return f"{number}-{sha256(facts.encode()).hexdigest()[:20]}"


def is_known(tag: str) -> bool:
    """Whether whoever asks has that answer already."""
    return request.if_none_match.contains_weak(tag)


def headers(tag: str) -> dict[str, str]:
    """Let readers keep the answer, and ask each time whether it still holds."""
    return {"ETag": quote_etag(tag, weak=True), "Cache-Control": "private, no-cache"}


def not_modified(tag: str) -> Response:
    """The answer to who has it already."""
    return Response(status=304, headers=headers(tag))
