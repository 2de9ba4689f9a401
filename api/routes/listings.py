"""A listing as JSON, written while it is read: no part of it is held but one entry."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response

from api.http import downloads
from api.rows.streaming import LONGEST_STREAM_SECONDS
from etl.model.errors import TransientError
from etl.runtime.pools import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from etl.storage.objects import ObjectInfo

MIMETYPE = "application/json"
BATCH = 1000
LOOKING_THREADS = 4  # all the long answers there may be look through one pool of connections


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
        written = ",\n".join(_text(entry) for entry in _shown(bucket, entries, head))
        yield begun + comma + written
        begun, comma = "", ",\n"
        if not left:
            break
    is_more = not left and next(found, None) is not None
    yield begun + f'],"after":{_text(last if is_more else None)}' + "}\n"


def _shown(
    bucket: str,
    entries: Sequence[ObjectInfo],
    head: Callable[[str, str], ObjectInfo | None] | None,
) -> Iterable[dict[str, Any]]:
    if head is None:
        return map(_entry, entries)
    keys = [entry.key for entry in entries if not entry.is_folder]
    looked_at = map_in_threads(lambda key: head(bucket, key), keys, LOOKING_THREADS)
    types = {info.key: info.content_type for info in looked_at if info is not None}
    return (
        _entry(entry) | ({} if entry.is_folder else {"content_type": types.get(entry.key)})
        for entry in entries
    )


def _entry(entry: ObjectInfo) -> dict[str, Any]:
    if entry.is_folder:
        return {"folder": entry.key}
    return {
        "key": entry.key,
        "size": entry.size,
        "etag": entry.etag,
        "last_modified": entry.last_modified,
    }


def answer(pieces: Iterator[str], *, is_long: bool) -> Response:
    """The listing for a reader: whole, or if it is long as it is read.

    Raises:  TransientError when too many long answers are under way.
    """
    if not is_long:
        return Response("".join(pieces), mimetype=MIMETYPE)
    with ExitStack() as stack:
        stack.enter_context(downloads.held_stream())
        first = next(pieces)  # an outage shows here, while the status is ours to choose
        response = Response(in_time(chain([first], pieces)), mimetype=MIMETYPE)
        response.call_on_close(stack.pop_all().close)
    return response


def in_time(pieces: Iterator[str]) -> Iterator[str]:
    """All of it, as long as somebody reads: an error here cuts the connection."""
    deadline = time.monotonic() + LONGEST_STREAM_SECONDS
    for piece in pieces:
        if time.monotonic() > deadline:
            raise TransientError(f"Nobody read the listing within {LONGEST_STREAM_SECONDS} s.")
        yield piece


def _text(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
