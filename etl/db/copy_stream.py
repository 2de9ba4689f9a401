"""What a COPY sends, taken in pieces: COPY pushes in a thread of its own, somebody pulls here.

Neither runs ahead of the other by more than a few pieces. A COPY that fails also fails whoever
takes its pieces, so that a part never looks like the whole.
"""

from __future__ import annotations

import io
from collections import deque
from contextlib import suppress
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import psycopg2

from etl.db.engine import driver
from etl.model.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Self

    from sqlalchemy import Connection

PIECE_BYTES = 1 << 16
PIECES_AHEAD = 4


class _Closed(Exception):
    """Nobody wants what is still to come."""


class Copied:
    """The pieces of one COPY in their order; iterate to the end, then or before that close.

    The connection belongs to the COPY's thread until `close` returns.

    Raises:  TransientError when a piece was not taken for `patience_seconds`; whatever the
             COPY or `connecting` raised.
    """

    def __init__(
        self,
        connecting: Callable[[], AbstractContextManager[Connection]],
        copy: Callable[[Connection, BinaryIO], None],
        *,
        patience_seconds: float | None = None,
    ) -> None:
        self._changed = Condition()
        self._pieces: deque[bytes] = deque()
        self._patience_seconds = patience_seconds
        self._is_closed = self._is_over = False
        self._error: BaseException | None = None
        self._driver: Any = None
        self._thread = Thread(target=self._run, args=(connecting, copy), daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether a piece or the end comes within so many seconds."""
        with self._changed:
            return self._changed.wait_for(self._has_news, seconds)

    def __iter__(self) -> Self:
        """The pieces, each once."""
        return self

    def __next__(self) -> bytes:
        """The next piece, as soon as it comes."""
        with self._changed:
            self._changed.wait_for(self._has_news)
            if self._pieces:
                self._changed.notify_all()
                return self._pieces.popleft()
        if self._error is not None:
            raise self._error
        raise StopIteration

    def close(self) -> None:
        """Stop the COPY if it is not over, and return when its thread has ended."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            if self._driver is not None:  # it may be waiting for its first row
                with suppress(psycopg2.Error):
                    self._driver.cancel()
        self._thread.join()

    def _has_news(self) -> bool:
        return bool(self._pieces) or self._is_over

    def _run(
        self,
        connecting: Callable[[], AbstractContextManager[Connection]],
        copy: Callable[[Connection, BinaryIO], None],
    ) -> None:
        try:
            with connecting() as connection:
                self._copy(connection, copy)
        except BaseException as error:  # noqa: BLE001 - whoever takes the pieces raises it
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _copy(self, connection: Connection, copy: Callable[[Connection, BinaryIO], None]) -> None:
        self._lend(driver(connection))
        try:
            sink = io.BufferedWriter(cast("io.RawIOBase", _Sink(self._put)), PIECE_BYTES)
            copy(connection, sink)
            sink.flush()
        finally:
            self._lend(None)

    def _lend(self, connection: object) -> None:
        """Let `close` cancel what this connection does, or no longer: others use it next."""
        with self._changed:
            if connection is not None and self._is_closed:
                raise _Closed
            self._driver = connection

    def _put(self, piece: bytes) -> None:
        with self._changed:
            has_room = self._changed.wait_for(self._has_room, self._patience_seconds)
            if self._is_closed:
                raise _Closed
            if not has_room:
                raise TransientError(f"Nobody read the answer for {self._patience_seconds:g} s.")
            self._pieces.append(piece)
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._is_closed or len(self._pieces) < PIECES_AHEAD


class _Sink(io.RawIOBase):
    """Hands on whole buffers, so that a row costs no call of ours.

    Once that failed it swallows the rest: the buffer before it tries again when it goes.
    """

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._has_failed = False

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:  # noqa: ANN401 - any buffer
        if not self._has_failed:
            self._has_failed = True
            self._put(bytes(piece))
            self._has_failed = False
        return len(piece)


class Stream(io.RawIOBase):
    """Pieces as a file to read; it ends only where they end well."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        """Fill the buffer with what there is, at least a byte unless it is the end."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
