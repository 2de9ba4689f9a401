"""Decompress a whole file with the standard library and zstandard, within limits."""

from __future__ import annotations

import bz2
import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Protocol

import zstandard

from etl.model.values import ProblemCode
from etl.verify.faults import FileError

if TYPE_CHECKING:
    from collections.abc import Callable

# The limits of what is read: of its size, and of its ratio to the size of the file.
MAX_BYTES = 1 << 40
MAX_RATIO = 1_000

_PART = 4_096  # bytes given to a decompressor at once, which may become many more
_FAULTS = (zlib.error, OSError, EOFError, zstandard.ZstdError)


class _Decompressor(Protocol):
    """One gzip member, bzip2 stream or Zstandard frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def unpack(content: bytes, compression: str) -> bytes:
    """The content of a compressed file; `compression` is the extension, or empty.

    Raises:  FileError.
    """
    if not compression:
        return content
    if compression == "zip":
        return _only_member(content)
    try:
        return _joined(content, _DECOMPRESSORS[compression])
    except _FAULTS as error:
        raise FileError(ProblemCode.CORRUPT_ARCHIVE) from error


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gz": lambda: zlib.decompressobj(wbits=31),
    "bz2": bz2.BZ2Decompressor,
    "zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


def _joined(content: bytes, start: Callable[[], _Decompressor]) -> bytes:
    """The contents of all members one after the other; zeros may follow the last one."""
    found = bytearray()
    member = start()
    is_open = True  # the first member is required
    for at in range(0, len(content), _PART):
        part = content[at : at + _PART]
        while part:
            if not is_open:
                part = part.lstrip(b"\0")
                if not part:
                    break
                member, is_open = start(), True
            found += member.decompress(part)
            _check_size(len(found), len(content))
            part = b""
            if member.eof:
                part, is_open = member.unused_data, False
    if is_open:
        raise EOFError
    return bytes(found)


def _check_size(size: int, compressed: int) -> None:
    if size > MAX_BYTES or size > MAX_RATIO * compressed:
        raise FileError(ProblemCode.ARCHIVE_TOO_LARGE)


def _only_member(content: bytes) -> bytes:
    """The only file of a ZIP archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = [one for one in archive.infolist() if not one.is_dir()]
            if len(files) != 1:
                raise FileError(ProblemCode.CORRUPT_ARCHIVE)
            _check_size(files[0].file_size, files[0].compress_size)
            with archive.open(files[0]) as member:
                return member.read()
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, *_FAULTS) as error:
        raise FileError(ProblemCode.CORRUPT_ARCHIVE) from error
