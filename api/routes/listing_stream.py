"""Listings of buckets as JSON, streamed in batches while the store is still listing."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response

from api.http import downloads
from api.rows.streaming import until_deadline
from etl.runtime.pools import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from etl.storage.objects import ObjectInfo

MIMETYPE = "application/json"
BATCH = 1000
HEAD_THREADS = 4  # all streamed responses share one connection pool to the store


def as_json(
    bucket: str,
    found: Iterator[ObjectInfo],
    limit: int,
    head: Callable[[str, str], ObjectInfo | None] | None = None,
) -> Iterator[str]:
    """The chunks of the JSON: up to `limit` entries, and the `after` of the next page.

    `head` fetches the content type of each object.
    """
    remaining, last, separator = limit, None, ""
    start = "{" + f'"bucket":{_dumps(bucket)},"entries":['
    while entries := list(islice(found, min(BATCH, remaining))):
        remaining -= len(entries)
        last = entries[-1].key
        written = ",\n".join(_dumps(entry) for entry in _entries(bucket, entries, head))
        yield start + separator + written
        start, separator = "", ",\n"
        if not remaining:
            break
    is_more = not remaining and next(found, None) is not None
    yield start + f'],"after":{_dumps(last if is_more else None)}' + "}\n"


def _entries(
    bucket: str,
    entries: Sequence[ObjectInfo],
    head: Callable[[str, str], ObjectInfo | None] | None,
) -> Iterable[dict[str, Any]]:
    if head is None:
        return map(_entry, entries)
    keys = [entry.key for entry in entries if not entry.is_folder]
    infos = map_in_threads(lambda key: head(bucket, key), keys, HEAD_THREADS)
    types = {info.key: info.content_type for info in infos if info is not None}
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


def response(chunks: Iterator[str], *, is_long: bool) -> Response:
    """The listing, streamed if it is long and buffered otherwise.

    Raises:  TransientError when too many responses are being streamed.
    """
    if not is_long:
        return Response("".join(chunks), mimetype=MIMETYPE)
    with ExitStack() as stack:
        stack.enter_context(downloads.held_stream())
        first = next(chunks)  # errors so far can still set the status
        streamed = Response(until_deadline(chain([first], chunks)), mimetype=MIMETYPE)
        streamed.call_on_close(stack.pop_all().close)
    return streamed


def _dumps(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
