"""Expand a compressed file with the standard library and zstandard, within limits."""

from __future__ import annotations

import bz2
import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Protocol

import zstandard

from etl.model.values import ProblemCode
from etl.verify import names
from etl.verify.faults import FileError
from etl.verify.signatures import check_compression

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_EXPANDED = 100_000_000_000  # bytes, unless the setting EXPANDED_MAX_SIZE differs
MAX_RATIO = 500  # of content that is larger than the next number of bytes
FREE_BYTES = 64 << 20
MAX_WINDOW = 128 << 20  # bytes of memory that a Zstandard frame may require

_PART = 4_096  # bytes given to a decompressor at once, which may become many more
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_DAMAGES = (
    *(zlib.error, zstandard.ZstdError, zipfile.BadZipFile, struct.error, OSError, EOFError),
    *(ValueError, OverflowError, IndexError, RuntimeError),
)


class _Decompressor(Protocol):
    """One gzip member, bzip2 stream or Zstandard frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def unpack(content: bytes, compression: str, limit: int = MAX_EXPANDED) -> bytes:
    """The content of a compressed file; `compression` is the extension, or empty.

    Raises:  FileError.
    """
    if not compression:
        return content
    check_compression(content, compression)
    try:
        if compression == "zip":
            return _only_member(content, limit)
        return _joined(content, compression, limit)
    except _DAMAGES as error:
        is_huge = "too much memory" in str(error)
        code = ProblemCode.UNSUPPORTED_ARCHIVE if is_huge else ProblemCode.CORRUPT_ARCHIVE
        raise FileError(code) from error


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gz": lambda: zlib.decompressobj(wbits=31),
    "bz2": bz2.BZ2Decompressor,
    "zst": lambda: zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj(),
}


def _joined(content: bytes, compression: str, limit: int) -> bytes:
    """The contents of all members one after the other; zeros may follow the last one."""
    found = bytearray()
    start = _DECOMPRESSORS[compression]
    member, is_open, is_padding = start(), True, False
    for at in range(0, len(content), _PART):
        part = content[at : at + _PART]
        while part:
            if not is_open and part[0] == 0 and compression != "zst":
                part, is_padding = part.lstrip(b"\0"), True
                continue
            if is_padding:
                raise ValueError("data after the end")
            if not is_open:
                member, is_open = start(), True
            found += member.decompress(part)
            _check_size(len(found), at + _PART, limit)
            part = b""
            if member.eof:
                part, is_open = member.unused_data, False
    if is_open:
        raise EOFError
    return bytes(found)


def _check_size(expanded: int, compressed: int, limit: int) -> None:
    is_bomb = expanded > FREE_BYTES and expanded > MAX_RATIO * compressed
    if expanded > limit or is_bomb:
        raise FileError(ProblemCode.ARCHIVE_TOO_LARGE)


def _only_member(content: bytes, limit: int) -> bytes:
    """The only file of a ZIP archive; folders and files of systems do not count."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if min((one.header_offset for one in archive.infolist()), default=0):
            raise ValueError("data before the first file")
        files = [
            one
            for one in archive.infolist()
            if one.filename and not one.is_dir() and not names.is_junk(one.filename)
        ]
        if len(files) != 1:
            is_document = any(one.filename == "[Content_Types].xml" for one in files)
            raise FileError(
                ProblemCode.WRONG_FORMAT if is_document else ProblemCode.UNSUPPORTED_ARCHIVE
            )
        (file,) = files
        if file.flag_bits & _ENCRYPTED:
            raise FileError(ProblemCode.ENCRYPTED_ARCHIVE)
        if file.compress_type not in _ZIP_METHODS:
            raise FileError(ProblemCode.UNSUPPORTED_ARCHIVE)
        found = bytearray()
        with archive.open(file) as member:
            while part := member.read(1 << 20):
                found += part
                _check_size(len(found), len(content), limit)
        return bytes(found)
