"""Reduce a PNG to the chunks its pixels need.

Metadata must not make decoding fail. Pillow refuses the whole image for text that expands too far,
a comment with a wrong checksum or a chunk cut short after the pixels. libpng, and so every
browser, drops such a chunk and shows the picture.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s")
_CRC_BYTES = 4
_HEADER_BYTES = 13
_MAX_PALETTE = 256
_GRAY, _RGB, _PALETTE = 0, 2, 3  # color types with a tRNS chunk
_DEEP = 16  # bits a sample


class _Chunk(NamedTuple):
    name: bytes
    start: int  # of its length
    end: int  # of its checksum
    data: memoryview
    checksum: bytes

    @property
    def is_whole(self) -> bool:
        return len(self.checksum) == _CRC_BYTES

    @property
    def is_intact(self) -> bool:
        return self.checksum == struct.pack(">I", zlib.crc32(self.data, zlib.crc32(self.name)))


class Reduced(NamedTuple):
    """The PNG, and the color that stands for clear where Pillow cannot compare it: 16-bit samples.

    Pillow clips 16-bit gray and drops the low bytes of 16-bit RGB.
    """

    content: bytes
    clear: tuple[int, ...] = ()


def reduced(content: bytes, max_profile_bytes: int) -> Reduced:
    """Header, palette, transparency, color profile, EXIF and pixels; IEND where it is missing.

    Of an animation the default image is kept. EXIF after the pixels is dropped: browsers do not
    apply it. The result is as broken as the chunks that pixels need.
    """
    chunks = _chunks(content)
    header = next(chunks, None)
    if header is None or not _is_header(header):
        return Reduced(content)
    kept = bytearray(content[: header.end])
    clear: tuple[int, ...] = ()
    seen: set[bytes] = set()
    for chunk in chunks:
        if chunk.name == b"IDAT":
            kept += _pixels(content, chunk, chunks)
            break
        if chunk.name in seen:
            continue
        seen.add(chunk.name)
        if chunk.name == b"PLTE":
            kept += content[chunk.start : chunk.end]
        elif chunk.name == b"tRNS" and chunk.is_intact:
            transparency, clear = _transparency(chunk, *header.data[8:10])
            kept += transparency
        elif _is_wanted(chunk, max_profile_bytes):
            kept += content[chunk.start : chunk.end]
    return Reduced(bytes(kept + _made(b"IEND", b"")), clear)


def _chunks(content: bytes) -> Iterator[_Chunk]:
    """The chunks in their order; the last may be cut short."""
    view, start = memoryview(content), len(SIGNATURE)
    while start + _HEAD.size <= len(content):
        length, name = _HEAD.unpack_from(content, start)
        at = start + _HEAD.size
        end = at + length + _CRC_BYTES
        yield _Chunk(name, start, end, view[at : at + length], content[at + length : end])
        start = end


def _is_header(chunk: _Chunk) -> bool:
    return chunk.is_whole and chunk.name == b"IHDR" and len(chunk.data) == _HEADER_BYTES


def _made(name: bytes, data: bytes) -> bytes:
    return _HEAD.pack(len(data), name) + data + struct.pack(">I", zlib.crc32(name + data))


def _pixels(content: bytes, first: _Chunk, following: Iterator[_Chunk]) -> bytes:
    """The run of IDAT chunks; where the last is cut short, as much of it as there is."""
    last = first
    for chunk in following:
        if chunk.name != b"IDAT":
            break
        last = chunk
    if last.is_whole:
        return content[first.start : last.end]
    return content[first.start : last.start] + _made(b"IDAT", bytes(last.data))


def _is_wanted(chunk: _Chunk, max_profile_bytes: int) -> bool:
    match chunk.name:
        case b"eXIf":
            return chunk.is_intact
        case b"iCCP":
            return chunk.is_intact and _holds_profile(chunk.data, max_profile_bytes)
    return False


def _holds_profile(data: memoryview, max_bytes: int) -> bool:
    """Whether the profile unfolds to no more than so many bytes."""
    _, _, rest = bytes(data).partition(b"\0")
    if not rest.startswith(b"\0"):
        return False
    unfolding = zlib.decompressobj()
    try:
        unfolding.decompress(memoryview(rest)[1:], max_bytes)
    except zlib.error:
        return False
    return unfolding.eof


def _transparency(chunk: _Chunk, depth: int, color_type: int) -> tuple[bytes, tuple[int, ...]]:
    """The chunk as Pillow understands it, and the clear color where it does not."""
    size = len(chunk.data)
    if color_type == _PALETTE and 0 < size <= _MAX_PALETTE:
        return _made(chunk.name, bytes(chunk.data)), ()
    if (color_type, size) not in ((_GRAY, 2), (_RGB, 6)):
        return b"", ()
    most = (1 << depth) - 1
    color = tuple(value & most for value in struct.unpack(f">{size // 2}H", chunk.data))
    if depth == _DEEP:
        return b"", color
    scale = 1 if depth == 1 else 255 // most  # Pillow widens 2 and 4 bits to 8, and not the color
    return _made(chunk.name, struct.pack(f">{size // 2}H", *(v * scale for v in color))), ()
