"""Bytes to text: which encoding a file is in.

Statistical guessing is wrong more often than right on files of a few dozen bytes, so only
certain signs count: a BOM, the NUL pattern of UTF-16, strict UTF-8. What is left is taken for
cp1252, the usual encoding of old spreadsheets, and says so.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

_SAMPLE_BYTES = 512
_SHORTEST_UTF16 = 4


class Decoded(NamedTuple):
    """A file's text, and the first line (from 1) that was not UTF-8 when cp1252 was assumed."""

    text: str
    guessed_from_line: int | None = None


def decode(content: bytes) -> Decoded | None:
    """The text of a file without its BOM; None when no encoding fits."""
    if content.startswith(codecs.BOM_UTF8):
        return _decode_bytewise(content[len(codecs.BOM_UTF8) :])
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if content.startswith(mark):
            return _decode_strictly(content[len(mark) :], encoding)
    unmarked = _utf16_by_nul_pattern(content)
    if unmarked is not None:
        return _decode_strictly(content, unmarked)
    return _decode_bytewise(content)


def _decode_bytewise(content: bytes) -> Decoded | None:
    try:
        return Decoded(content.decode())
    except UnicodeDecodeError as error:
        guessed = _decode_strictly(content, "cp1252")
        line = _line_at(content, error.start)
        return guessed and guessed._replace(guessed_from_line=line)


def _decode_strictly(content: bytes, encoding: str) -> Decoded | None:
    try:
        return Decoded(content.decode(encoding))
    except UnicodeDecodeError:
        return None


def _utf16_by_nul_pattern(content: bytes) -> str | None:
    """In UTF-16 most Western text has a NUL at every second byte, and nothing else does."""
    if len(content) < _SHORTEST_UTF16 or len(content) % 2:
        return None
    even, odd = content[:_SAMPLE_BYTES:2], content[1:_SAMPLE_BYTES:2]
    if _mostly_nul(odd) and _seldom_nul(even):
        return "utf-16-le"
    return "utf-16-be" if _mostly_nul(even) and _seldom_nul(odd) else None


def _mostly_nul(half: bytes) -> bool:
    return half.count(0) * 10 >= len(half) * 7


def _seldom_nul(half: bytes) -> bool:
    return half.count(0) * 10 < len(half) * 3


def _line_at(content: bytes, position: int) -> int:
    before = content[:position]
    return 1 + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
