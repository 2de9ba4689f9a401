"""A listing as JSON, written while it is read: no part of it is held but one entry."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.objects import ObjectInfo

BATCH = 1000


def as_json(
    bucket: str,
    found: Iterator[ObjectInfo],
    limit: int,
    head: Callable[[str, str], ObjectInfo | None] | None = None,
) -> Iterator[str]:
    """The JSON object in pieces: up to `limit` entries, and what to go on after.

    `head` looks at each object for its content type.
    """
    left, last, comma = limit, None, ""
    begun = "{" + f'"bucket":{_text(bucket)},"entries":['
    while entries := list(islice(found, min(BATCH, left))):
        left -= len(entries)
        last = entries[-1].key
        written = ",\n".join(_text(_entry(bucket, entry, head)) for entry in entries)
        yield begun + comma + written
        begun, comma = "", ",\n"
        if not left:
            break
    is_more = not left and next(found, None) is not None
    yield begun + f'],"after":{_text(last if is_more else None)}' + "}\n"


def _entry(
    bucket: str, entry: ObjectInfo, head: Callable[[str, str], ObjectInfo | None] | None
) -> dict[str, Any]:
    if entry.is_folder:
        return {"folder": entry.key}
    shown = {
        "key": entry.key,
        "size": entry.size,
        "etag": entry.etag,
        "last_modified": entry.last_modified,
    }
    if head is None:
        return shown
    looked_at = head(bucket, entry.key)
    return shown | {"content_type": looked_at.content_type if looked_at else None}


def _text(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
