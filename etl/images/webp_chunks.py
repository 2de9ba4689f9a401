"""Reduce a WebP to the chunks its pixels need.

Metadata must not make decoding fail: the decoder rejects a file whose EXIF or XMP is truncated,
although both come after the pixels.
"""

from __future__ import annotations

import struct

_HEAD = struct.Struct("<4sI")
_FORM = b"WEBP"
_START = 12  # of the first chunk
_PIXELS = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"}
_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}  # in VP8X: the optional chunks of the file


def is_webp(content: bytes) -> bool:
    """Whether it has the signature of a WebP."""
    return content[:4] == b"RIFF" and content[8:_START] == _FORM


def strip(content: bytes, max_profile_bytes: int) -> bytes:
    """Keep pixels, alpha, frames, EXIF and a color profile that is not too large."""
    kept, flags = bytearray(_FORM), 0
    start, stop = _START, min(len(content), 8 + _HEAD.unpack_from(content)[1])
    while start + _HEAD.size <= stop:
        name, size = _HEAD.unpack_from(content, start)
        end = start + _HEAD.size + size + size % 2
        is_wanted = name == b"EXIF" or (name == b"ICCP" and size <= max_profile_bytes)
        if is_wanted and end <= stop:
            flags |= _FLAGS[name]
            kept += content[start:end]
        elif name in _PIXELS:
            kept += content[start : min(end, stop)]
        start = end
    flags_at = len(_FORM) + _HEAD.size  # the first byte of the VP8X chunk, which is always first
    if kept[len(_FORM) : flags_at].startswith(b"VP8X") and len(kept) > flags_at:
        kept[flags_at] = (kept[flags_at] & ~sum(_FLAGS.values())) | flags
    return _HEAD.pack(b"RIFF", len(kept)) + kept
