"""Reduce a JPEG to the segments its pixels need, and detect if only its end is missing.

Metadata must not make decoding fail. Pillow refuses the whole image for a JFIF, Adobe or color
profile segment that is too short; libjpeg, and so every browser, skips it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SIGNATURE = b"\xff\xd8\xff"
END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff([\x01-\xfe])")  # FF 00 is data, and FF FF a fill byte
_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length: TEM, RSTn, SOI
_EOI, _SCAN = 0xD9, 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_APP, _COMMENT = range(0xE0, 0xF0), 0xFE
_JFIF, _EXIF, _PROFILE, _ADOBE = b"JFIF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe"
_JFIF_BYTES, _ADOBE_BYTES, _PROFILE_BYTES = 14, 12, 15  # minimum lengths, as in libjpeg
_COEFFICIENTS = 64
_MIN_PADDING = 8  # data may end in a few zeros
_BAND_BYTES, _ALL = 3, (0, _COEFFICIENTS - 1, 0)  # first and last of a scan, and bits left out


class _Segment(NamedTuple):
    marker: int
    start: int  # of the marker
    end: int
    data: bytes


def strip(content: bytes, max_profile_bytes: int) -> bytes:
    """Keep tables, frames, scans, JFIF, the first EXIF, Adobe's segment and the profile."""
    segments = list(_until_scan(content))
    if not segments or segments[-1].marker != _SCAN:
        return content
    profile = [each for each in segments if _is_app(each, 2, _PROFILE, _PROFILE_BYTES)]
    if sum(len(each.data) for each in profile) > max_profile_bytes:
        profile = []
    kept, has_exif = bytearray(SIGNATURE[:2]), False
    for each in segments[:-1]:
        is_exif = not has_exif and _is_app(each, 1, _EXIF)
        has_exif |= is_exif
        if is_exif or _is_needed(each) or each in profile:
            kept += content[each.start : each.end]
    return bytes(kept + content[segments[-1].start :])


def without_end(content: bytes) -> bytes | None:
    """Return a JPEG that lacks its end marker without padding; None if it has one."""
    at = next((each.start for each in _until_scan(content) if each.marker == _SCAN), None)
    return None if at is None or content.find(END, at) >= 0 else _trimmed(content)


def has_all_scans(body: bytes) -> bool:
    """Whether a JPEG without an end marker was truncated in or after its last scan.

    Only decoding shows whether that scan is complete.
    """
    segments = list(_segments(body))
    is_open = segments[-1].marker == _SCAN and segments[-1].end < len(body)
    return is_open and _are_complete(segments)


def _segments(content: bytes) -> Iterator[_Segment]:
    """Yield the segments up to the end marker; the last one may be truncated."""
    at = 0
    while found := _MARKER.search(content, at):
        marker, start = found[1][0], found.start()
        if marker == _EOI:
            return
        at = start + 2
        if marker not in _STANDALONE:
            at += max(2, int.from_bytes(content[at : at + 2], "big"))
            yield _Segment(marker, start, at, content[start + 4 : at])


def _until_scan(content: bytes) -> Iterator[_Segment]:
    """Yield the segments up to and including the first scan."""
    for each in _segments(content):
        yield each
        if each.marker == _SCAN:
            return


def _is_needed(each: _Segment) -> bool:
    if each.marker in _APP:
        return _is_app(each, 0, _JFIF, _JFIF_BYTES - len(_JFIF)) or _is_app(
            each, 14, _ADOBE, _ADOBE_BYTES - len(_ADOBE)
        )
    return each.marker != _COMMENT


def _is_app(each: _Segment, number: int, name: bytes, min_bytes: int = 0) -> bool:
    is_named = each.marker == _APP[number] and each.data.startswith(name)
    return is_named and len(each.data) >= len(name) + min_bytes


def _trimmed(content: bytes) -> bytes:
    """Remove trailing zeros that are padding, and half an end marker."""
    trimmed = content.rstrip(b"\0")
    if len(content) - len(trimmed) < _MIN_PADDING:
        return content.rstrip(b"\xff")
    if trimmed.endswith(b"\xff"):
        return trimmed + b"\0"  # this one belongs to the data
    return trimmed


def _are_complete(segments: Iterable[_Segment]) -> bool:
    """Whether the scans contain every bit of each coefficient of each component."""
    missing: dict[int, set[int]] = {}
    is_progressive = False
    for each in segments:
        if each.marker in _FRAMES:
            is_progressive = each.marker in _PROGRESSIVE
            missing = {number: set(range(_COEFFICIENTS)) for number in each.data[6::3]}
        elif each.marker == _SCAN:
            count = each.data[0] if each.data else 0
            names, band = each.data[1 : 1 + 2 * count : 2], each.data[1 + 2 * count :]
            first, last, bits = band if is_progressive and len(band) == _BAND_BYTES else _ALL
            for name in names:
                if bits & 15 == 0:
                    missing.get(name, set()).difference_update(range(first, last + 1))
    return bool(missing) and not any(missing.values())
