"""Answers about many users: COPY's text on its way to a reader, in one piece if it is short.

A long one goes out as it comes, in constant memory. Its reader holds one connection to the
database while they read, and loses it when they stall; an error in mid-stream cuts the
connection to the reader, so that a part never looks like the whole.
"""

from __future__ import annotations

import io
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from flask import Response
from sqlalchemy import text

from api.http import encodings, paging
from api.rows.statements import statement
from api.state.services import STATEMENT_TIMEOUT_SECONDS, services, took_too_long
from etl.db.copy_stream import CopyStream
from etl.db.engine import driver
from etl.model.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from api.rows.fields import RowQuery
    from api.rows.formats import Format

WHOLE_BYTES = 1 << 18  # what an answer may have to go out in one piece
LONGEST_STREAM_SECONDS = 600


def page(connection: Connection, wanted: RowQuery, kind: Format, coding: str | None) -> Response:
    """As many users as `wanted` is limited to, and a link to the next page if there is one."""
    limit = wanted.limit or 0
    sink = io.BytesIO()
    _copy(replace(wanted, limit=limit + 1), kind, connection, sink)
    content = sink.getvalue()
    end, last = kind.cut(content, limit)
    response = _whole(_finished(iter([content[:end]]), wanted, kind, coding), kind, coding)
    if last is not None:
        response.headers.update(paging.next_link(last))
    return response


def everyone(wanted: RowQuery, kind: Format, coding: str | None) -> Response:
    """All users that are wanted, however many."""
    shared = services()
    copy = partial(_copy_for_long, wanted, kind)
    copied = CopyStream(shared.lent, copy, timeout_seconds=shared.patience_seconds)
    try:
        _await(copied)
        pieces = iter(_finished(copied, wanted, kind, coding))
        first, is_all = _first(pieces)  # an outage shows here, while the status is ours to choose
        if is_all:
            copied.close()
            return _whole(first, kind, coding)
        return _long(first, pieces, copied, kind, coding)
    except BaseException:
        copied.close()
        raise


# -- out of the database


def _copy_for_long(wanted: RowQuery, kind: Format, connection: Connection, sink: BinaryIO) -> None:
    """COPY for as long as somebody reads; who waits for its beginning has a limit of their own."""
    milliseconds = LONGEST_STREAM_SECONDS * 1000
    connection.execute(text(f"SET LOCAL statement_timeout = {milliseconds}"))
    _copy(wanted, kind, connection, sink)


def _copy(wanted: RowQuery, kind: Format, connection: Connection, sink: BinaryIO) -> None:
    lent = driver(connection)
    query, values = statement(wanted, kind, lent.server_version)
    with lent.cursor() as cursor:
        query = cursor.mogrify(query, values)  # values become literals here
        options = kind.copy_options.encode()
        cursor.copy_expert(b"COPY (" + query + b") TO STDOUT (" + options + b")", sink)


# -- to the reader


def _finished(
    pieces: Iterator[bytes], wanted: RowQuery, kind: Format, coding: str | None
) -> Iterable[bytes]:
    dressed = kind.dress(pieces, wanted.columns)
    return dressed if coding is None else encodings.encode(coding, dressed)


def _await(copied: CopyStream) -> None:
    if not copied.wait(STATEMENT_TIMEOUT_SECONDS):
        raise took_too_long()


def _first(pieces: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """What fits one piece, or a little more, and whether that is all."""
    taken, size = [], 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size > WHOLE_BYTES:
            return taken, False
    return taken, True


def _whole(pieces: Iterable[bytes], kind: Format, coding: str | None) -> Response:
    """In one, the server keeps what the reader does not take; in several, a thread would wait."""
    return _headed(Response(b"".join(pieces)), kind, coding)


def _long(
    first: list[bytes], rest: Iterator[bytes], copied: CopyStream, kind: Format, coding: str | None
) -> Response:
    streams = services().streams
    if not streams.acquire(blocking=False):
        raise TransientError(
            "Too many long answers are being read at the moment.",
            hint="Try again in a few seconds, or ask for pages: `limit` and `after`.",
        )
    response = Response(_stream(first, rest))
    response.call_on_close(copied.close)
    response.call_on_close(streams.release)
    return _headed(response, kind, coding)


def _stream(first: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    """All of it, as long as somebody reads: an error here cuts the connection."""
    deadline = time.monotonic() + LONGEST_STREAM_SECONDS
    while first:
        yield first.pop(0)
    for piece in rest:
        if time.monotonic() > deadline:
            raise TransientError(f"Nobody read the answer within {LONGEST_STREAM_SECONDS} s.")
        yield piece


def _headed(response: Response, kind: Format, coding: str | None) -> Response:
    response.mimetype = kind.mimetype
    if coding is not None:
        response.content_encoding = coding
    return response
