"""The output of a COPY as an iterator of chunks. COPY writes them in its own thread.

COPY waits while a few chunks are not consumed yet. If COPY fails, so does the consumer, so partial
output never looks complete.
"""

from __future__ import annotations

import io
from collections import deque
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from etl.db.engine import driver
from etl.model.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Self

    from sqlalchemy import Connection

CHUNK_BYTES = 1 << 16
CHUNKS_AHEAD = 4


class _Closed(Exception):
    """The consumer needs no further chunks."""


class CopyStream:
    """The chunks of one COPY in order. The caller closes it, at the end or earlier.

    The connection belongs to the COPY's thread until `close` returns.

    Raises:  TransientError when a chunk was not consumed for `timeout_seconds`; the error of
             the COPY or of `connecting`.
    """

    def __init__(
        self,
        connecting: Callable[[], AbstractContextManager[Connection]],
        copy: Callable[[Connection, BinaryIO], None],
        *,
        timeout_seconds: float | None = None,
    ) -> None:
        self._changed = Condition()
        self._chunks: deque[bytes] = deque()
        self._timeout_seconds = timeout_seconds
        self._is_closed = self._is_over = False
        self._error: BaseException | None = None
        self._driver: Any = None
        self._thread = Thread(target=self._run, args=(connecting, copy), daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for a chunk or the end; return False after `seconds`."""
        with self._changed:
            return self._changed.wait_for(self._is_ready, seconds)

    def __iter__(self) -> Self:
        """Iterate over the chunks, once."""
        return self

    def __next__(self) -> bytes:
        """Wait for the next chunk."""
        with self._changed:
            self._changed.wait_for(self._is_ready)
            if self._chunks:
                self._changed.notify_all()
                return self._chunks.popleft()
        if self._error is not None:
            raise self._error
        raise StopIteration

    def close(self) -> None:
        """Cancel the COPY if it is running, and wait for its thread to end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            if self._driver is not None:  # the COPY may be waiting for its first row
                self._driver.cancel_in_time()
        self._thread.join()

    def _is_ready(self) -> bool:
        return bool(self._chunks) or self._is_over

    def _run(
        self,
        connecting: Callable[[], AbstractContextManager[Connection]],
        copy: Callable[[Connection, BinaryIO], None],
    ) -> None:
        try:
            with connecting() as connection:
                self._copy(connection, copy)
        except BaseException as error:  # noqa: BLE001 - the consumer raises it
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _copy(self, connection: Connection, copy: Callable[[Connection, BinaryIO], None]) -> None:
        self._set_cancelable(driver(connection))
        try:
            sink = io.BufferedWriter(cast("io.RawIOBase", ChunkWriter(self._put)), CHUNK_BYTES)
            copy(connection, sink)
            sink.flush()
        finally:
            self._set_cancelable(None)

    def _set_cancelable(self, connection: object) -> None:
        """Set the connection that `close` cancels; None once others may use it."""
        with self._changed:
            if connection is not None and self._is_closed:
                raise _Closed
            self._driver = connection

    def _put(self, chunk: bytes) -> None:
        with self._changed:
            has_room = self._changed.wait_for(self._has_room, self._timeout_seconds)
            if self._is_closed:
                raise _Closed
            if not has_room:
                raise TransientError(f"The client read no data for {self._timeout_seconds:g} s.")
            self._chunks.append(chunk)
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._is_closed or len(self._chunks) < CHUNKS_AHEAD


class ChunkWriter(io.RawIOBase):
    """A file that passes every buffer written to `put`.

    After `put` failed, it discards all data: a BufferedWriter writes again when it is closed.
    """

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._has_failed = False

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        """Pass the data on; return its size."""
        if not self._has_failed:
            self._has_failed = True
            self._put(bytes(data))
            self._has_failed = False
        return len(data)


class ChunkFile(io.RawIOBase):
    """A file that reads chunks; an error of their iterator fails the read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        """Read what is available, at least one byte unless it is the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
