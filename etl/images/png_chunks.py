"""Reduce a PNG to the chunks its pixels need.

Metadata must not make decoding fail. Pillow refuses the whole image for text that expands too far,
a comment with a wrong checksum or a chunk cut short after the pixels. libpng, and so every
browser, drops such a chunk and shows the image.
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
_DEEP = 16  # bits per sample


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


class Stripped(NamedTuple):
    """The PNG, and its transparent color if the samples have 16 bits.

    Pillow cannot compare that color: it clips 16-bit gray and drops the low bytes of 16-bit RGB.
    """

    content: bytes
    transparent: tuple[int, ...] = ()


def strip(content: bytes, max_profile_bytes: int) -> Stripped:
    """Keep header, palette, transparency, color profile, EXIF and pixels; add a missing IEND.

    Only the default image of an animation is kept. EXIF after the pixels is dropped, because
    browsers ignore it. Faults in the chunks that pixels need are not repaired.
    """
    chunks = _chunks(content)
    header = next(chunks, None)
    if header is None or not _is_header(header):
        return Stripped(content)
    kept = bytearray(content[: header.end])
    transparent: tuple[int, ...] = ()
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
            transparency, transparent = _transparency(chunk, *header.data[8:10])
            kept += transparency
        elif _is_wanted(chunk, max_profile_bytes):
            kept += content[chunk.start : chunk.end]
    return Stripped(bytes(kept + _chunk(b"IEND", b"")), transparent)


def _chunks(content: bytes) -> Iterator[_Chunk]:
    """Yield the chunks in order; the last one may be truncated."""
    view, start = memoryview(content), len(SIGNATURE)
    while start + _HEAD.size <= len(content):
        length, name = _HEAD.unpack_from(content, start)
        at = start + _HEAD.size
        end = at + length + _CRC_BYTES
        yield _Chunk(name, start, end, view[at : at + length], content[at + length : end])
        start = end


def _is_header(chunk: _Chunk) -> bool:
    return chunk.is_whole and chunk.name == b"IHDR" and len(chunk.data) == _HEADER_BYTES


def _chunk(name: bytes, data: bytes) -> bytes:
    return _HEAD.pack(len(data), name) + data + struct.pack(">I", zlib.crc32(name + data))


def _pixels(content: bytes, first: _Chunk, following: Iterator[_Chunk]) -> bytes:
    """Return the IDAT chunks; the last one is completed if it is truncated."""
    last = first
    for chunk in following:
        if chunk.name != b"IDAT":
            break
        last = chunk
    if last.is_whole:
        return content[first.start : last.end]
    return content[first.start : last.start] + _chunk(b"IDAT", bytes(last.data))


def _is_wanted(chunk: _Chunk, max_profile_bytes: int) -> bool:
    match chunk.name:
        case b"eXIf":
            return chunk.is_intact
        case b"iCCP":
            return chunk.is_intact and _holds_profile(chunk.data, max_profile_bytes)
    return False


def _holds_profile(data: memoryview, max_bytes: int) -> bool:
    """Whether the profile decompresses to at most `max_bytes`."""
    _, _, rest = bytes(data).partition(b"\0")
    if not rest.startswith(b"\0"):
        return False
    decompressor = zlib.decompressobj()
    try:
        decompressor.decompress(memoryview(rest)[1:], max_bytes)
    except zlib.error:
        return False
    return decompressor.eof


def _transparency(chunk: _Chunk, depth: int, color_type: int) -> tuple[bytes, tuple[int, ...]]:
    """Return a chunk that Pillow supports, or the transparent color if it does not."""
    size = len(chunk.data)
    if color_type == _PALETTE and 0 < size <= _MAX_PALETTE:
        return _chunk(chunk.name, bytes(chunk.data)), ()
    if (color_type, size) not in ((_GRAY, 2), (_RGB, 6)):
        return b"", ()
    max_value = (1 << depth) - 1
    color = tuple(value & max_value for value in struct.unpack(f">{size // 2}H", chunk.data))
    if depth == _DEEP:
        return b"", color
    scale = 1 if depth == 1 else 255 // max_value  # Pillow scales the samples, but not the color
    return _chunk(chunk.name, struct.pack(f">{size // 2}H", *(v * scale for v in color))), ()
