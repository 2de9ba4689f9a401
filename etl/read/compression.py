"""Expand compressed content as it arrives, in constant memory.

Content that is cut short, damaged, or followed by other bytes is refused, not read to its valid
end. Memory is that of the parts and of the window of the compression: up to 128 MB for zstd.
"""

from __future__ import annotations

import bz2
import io
import zlib
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from etl.model.errors import RefusedObject
from etl.model.formats import Compression
from etl.model.values import ProblemCode
from etl.read import archive
from etl.read.limits import DEFAULT_LIMITS, ExpansionLimits, too_large
from etl.read.signatures import check_compression, peeked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

PART_BYTES = 1 << 20  # of expanded content; the CSV reader takes as much at once
_STEP_BYTES = 32 << 10  # of compressed content; each end of a member copies the rest of them
_MORE_BYTES = "is damaged, or has other bytes after its end"
_GZIP_WITH_HEADER = zlib.MAX_WBITS | 16


def expanded(
    parts: Iterable[bytes], compression: Compression, limits: ExpansionLimits = DEFAULT_LIMITS
) -> Generator[bytes, None, None]:
    """The content of a compressed file, in parts of about 1 MB.

    Raises:  RefusedObject; what `parts` raises.
    """
    head, parts = peeked(parts)
    check_compression(head, compression)
    counted = _Counted(parts)
    size = 0
    waiting: list[bytes] = []
    waiting_bytes = 0
    for part in _EXPANDERS[compression](counted):
        size += len(part)
        if not limits.allow(size, counted.size):
            raise too_large(size, counted.size, limits)
        waiting.append(part)
        waiting_bytes += len(part)
        if waiting_bytes >= PART_BYTES:
            found = b"".join(waiting)
            end = waiting_bytes - waiting_bytes % PART_BYTES
            waiting, waiting_bytes = [found[end:]], waiting_bytes - end
            yield found[:end]
    if waiting_bytes:
        yield b"".join(waiting)


class _Counted:
    """The parts of the compressed content, and how many bytes of it were taken."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self.size += len(part)
            yield part


class _Member(Protocol):
    """One gzip or bzip2 stream; a file may have several."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def expand(self, data: bytes) -> Iterator[bytes]:
        """What these bytes expand to."""


class _GzipMember:
    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(_GZIP_WITH_HEADER)

    @property
    def eof(self) -> bool:
        return self._decompressor.eof

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data

    def expand(self, data: bytes) -> Iterator[bytes]:
        while data:
            found = self._decompressor.decompress(data, PART_BYTES)
            if found:
                yield found
            data = self._decompressor.unconsumed_tail


class _Bzip2Member:
    def __init__(self) -> None:
        self._decompressor = bz2.BZ2Decompressor()

    @property
    def eof(self) -> bool:
        return self._decompressor.eof

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data

    def expand(self, data: bytes) -> Iterator[bytes]:
        while True:
            found = self._decompressor.decompress(data, PART_BYTES)
            if found:
                yield found
            data = b""
            if self._decompressor.eof or self._decompressor.needs_input:
                return


def _members(start: Callable[[], _Member], name: Compression) -> _Expander:
    """Expand a file of one or more members; zeros at the end fill a block of a tape."""

    def expand(parts: Iterable[bytes]) -> Iterator[bytes]:
        member = start()
        ended, is_begun, is_padding = 0, False, False
        for step in _steps(parts):
            left = step
            while left:
                if not is_begun and left[0] == 0:
                    left, is_padding = left.lstrip(b"\0"), True
                    continue
                if is_padding:
                    raise _corrupt(name, _MORE_BYTES)
                is_begun = True
                try:
                    yield from member.expand(left)
                except (zlib.error, OSError) as error:
                    raise _corrupt(name, _MORE_BYTES if ended else "is damaged") from error
                left = member.unused_data
                if member.eof:
                    member, is_begun = start(), False
                    ended += 1
        if is_begun:
            raise _corrupt(name, "is cut short")

    return expand


def _steps(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        for start in range(0, len(part), _STEP_BYTES):
            yield part[start : start + _STEP_BYTES]


def _zstd(parts: Iterable[bytes]) -> Iterator[bytes]:
    content = _Readable(parts)
    try:
        with pa.CompressedInputStream(pa.PythonFile(content, "r"), "zstd") as stream:
            # Its `read` loses a part of memory with each error.
            while (part := stream.read_buffer(PART_BYTES)).size:
                yield part.to_pybytes()
    except (pa.ArrowException, OSError) as error:
        if content.error is not None:
            raise content.error from None
        if "too much memory" in str(error):
            raise RefusedObject(
                ProblemCode.UNSUPPORTED_ARCHIVE,
                "The .zst file needs more than 128 MB of memory to be expanded. Compress the file "
                "without --ultra and --long.",
            ) from error
        fault = "is cut short" if "Truncated" in str(error) else "is damaged"
        raise _corrupt(Compression.ZSTD, fault) from error


class _Readable(io.RawIOBase):
    """Parts as a file. `error` is what they raised, because pyarrow may raise another one."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._left = memoryview(b"")
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most that many bytes; none at the end."""
        while not self._left:
            try:
                part = next(self._parts, None)
            except Exception as error:
                self.error = error
                raise
            if part is None:
                return b""
            self._left = memoryview(part)
        found = self._left[:size]
        self._left = self._left[len(found) :]
        return bytes(found)


def _corrupt(compression: Compression, fault: str) -> RefusedObject:
    return RefusedObject(
        ProblemCode.CORRUPT_ARCHIVE,
        f"The .{compression} file {fault}. Upload it again from its origin; if that does not help, "
        "compress the file again.",
    )


if TYPE_CHECKING:
    from typing import TypeAlias

    _Expander: TypeAlias = Callable[[Iterable[bytes]], Iterator[bytes]]

_EXPANDERS: dict[Compression, _Expander] = {
    Compression.GZIP: _members(_GzipMember, Compression.GZIP),
    Compression.BZIP2: _members(_Bzip2Member, Compression.BZIP2),
    Compression.ZSTD: _zstd,
    Compression.ZIP: archive.only_member,
}
