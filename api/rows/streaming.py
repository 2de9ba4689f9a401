"""Responses with rows: the output of COPY, buffered if it is short and streamed otherwise.

Streaming uses constant memory and one database connection, which is closed if the client stops
reading. An error in mid-stream closes the connection to the client, so that a truncated
response never looks complete.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from flask import Response
from sqlalchemy import text

from api.http import encodings, paging
from api.rows.statements import copy_page, copy_rows
from api.state.services import services
from etl.db.copy_stream import CopyStream
from etl.db.engine import driver
from etl.model.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from api.rows.formats import Format
    from api.rows.query import RowQuery
    from api.state.services import Services

BUFFERED_BYTES = 1 << 18  # longer responses are streamed
MAX_STREAM_SECONDS = 600

ChunkT = TypeVar("ChunkT", bytes, str)


def page(connection: Connection, query: RowQuery, kind: Format, coding: str | None) -> Response:
    """One page of rows, with a link to the next page if there is one."""
    has_scalar = has_json_scalar(connection, services())
    content, following = copy_page(connection, query, kind, has_json_scalar=has_scalar)
    response = _buffered(_encoded(iter([content]), query, kind, coding), kind, coding)
    if following is not None:
        response.headers.update(paging.next_link(following))
    return response


def all_rows(query: RowQuery, kind: Format, coding: str | None) -> Response:
    """All rows that match the query, streamed if there are many."""
    shared = services()
    copied = CopyStream(
        shared.copy_connection,
        partial(_copy_to_stream, query, kind, shared),
        timeout_seconds=shared.timeouts.idle,
    )
    try:
        _wait_for_start(copied, shared)
        chunks = iter(_encoded(copied, query, kind, coding))
        first, is_complete = _read_ahead(chunks)  # errors so far can still set the status
        if is_complete:
            copied.close()
            return _buffered(first, kind, coding)
        return _streamed(first, chunks, copied, kind, coding)
    except BaseException:
        copied.close()
        raise


# -- from the database


def _copy_to_stream(
    query: RowQuery, kind: Format, shared: Services, connection: Connection, sink: BinaryIO
) -> None:
    """COPY with a longer timeout: `all_rows` limits the time to the first row separately."""
    milliseconds = MAX_STREAM_SECONDS * 1000
    connection.execute(text(f"SET LOCAL statement_timeout = {milliseconds}"))
    has_scalar = has_json_scalar(connection, shared)
    copy_rows(connection, query, kind, sink, has_json_scalar=has_scalar)


def has_json_scalar(connection: Connection, shared: Services) -> bool:
    """Whether the server has json_scalar()."""
    return bool(driver(connection).server_version >= shared.json_scalar_version)


# -- to the client


def _wait_for_start(copied: CopyStream, shared: Services) -> None:
    if not copied.wait(shared.timeouts.statement):
        raise shared.query_timeout()


def _encoded(
    chunks: Iterator[bytes], query: RowQuery, kind: Format, coding: str | None
) -> Iterable[bytes]:
    encoded = kind.encode(chunks, query.columns)
    return encoded if coding is None else encodings.encode(coding, encoded)


def _read_ahead(chunks: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """The chunks until their size exceeds BUFFERED_BYTES, and whether these are all."""
    first, size = [], 0
    for chunk in chunks:
        first.append(chunk)
        size += len(chunk)
        if size > BUFFERED_BYTES:
            return first, False
    return first, True


def _buffered(chunks: Iterable[bytes], kind: Format, coding: str | None) -> Response:
    """A response in one block, which the server buffers so that no thread waits for the client."""
    return _with_type(Response(b"".join(chunks)), kind, coding)


def _streamed(
    first: list[bytes], rest: Iterator[bytes], copied: CopyStream, kind: Format, coding: str | None
) -> Response:
    streams = services().streams
    if not streams.acquire(blocking=False):
        raise TransientError(
            "Too many long responses are being streamed.",
            hint="Try again in a few seconds, or request pages with `limit` and `after`.",
        )
    response = Response(until_deadline(chain(first, rest)))
    response.call_on_close(copied.close)
    response.call_on_close(streams.release)
    return _with_type(response, kind, coding)


def until_deadline(
    chunks: Iterable[ChunkT], seconds: float = MAX_STREAM_SECONDS
) -> Iterator[ChunkT]:
    """All chunks; an error, such as a missed deadline, closes the connection."""
    deadline = time.monotonic() + seconds
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise TransientError(f"The client did not read the response within {seconds:g} s.")
        yield chunk


def _with_type(response: Response, kind: Format, coding: str | None) -> Response:
    response.mimetype = kind.mimetype
    if coding is not None:
        response.content_encoding = coding
    return response
