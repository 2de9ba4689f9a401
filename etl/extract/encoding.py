"""Bytes to text: which encoding a file is in.

Statistical guessing is wrong more often than right on files of a few dozen bytes, so only
certain signs count: a BOM, the NUL pattern of UTF-16, strict UTF-8. What is left is taken for
cp1252, the usual encoding of old spreadsheets, and says so.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

from etl.errors import Undecodable

_SAMPLE_BYTES = 512
_SHORTEST_UTF16 = 4
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Decoded(NamedTuple):
    """A file's text, and the first line (from 1) that was not UTF-8 when cp1252 was assumed."""

    text: str
    guessed_from_line: int | None = None


def decode(content: bytes) -> Decoded | None:
    """The text of a file without its BOM; None when no encoding fits."""
    encoding, mark_bytes = _signs(content, len(content))
    text = content[mark_bytes:]
    return _decode_bytewise(text) if encoding == "utf-8" else _decode_strictly(text, encoding)


class Transcoder:
    """Turns a file that comes in pieces, cut anywhere, into UTF-8.

    `size` is that of the whole file in bytes. What has no sign of another encoding is taken for
    UTF-8 or, `as_cp1252`, for that.
    """

    def __init__(self, size: int, *, as_cp1252: bool = False) -> None:
        self._size = size
        self._bytewise = "cp1252" if as_cp1252 else "utf-8"
        self._encoding: str | None = None
        self._rest = b""

    def transcode(self, piece: bytes, *, is_last: bool = False) -> bytes:
        """As much of the text as is certain by now, without its BOM.

        Raises:  UnicodeDecodeError when it is not the UTF-8 it was taken for, its `object`
                 beginning where the text given so far ends; Undecodable.
        """
        content = self._rest + piece
        if self._encoding is None:
            if len(content) < _SAMPLE_BYTES and not is_last:
                self._rest = content
                return b""
            encoding, mark_bytes = _signs(content, self._size)
            self._encoding = self._bytewise if encoding == "utf-8" else encoding
            content = content[mark_bytes:]
        return self._certain(content, self._encoding, is_last=is_last)

    def _certain(self, content: bytes, encoding: str, *, is_last: bool) -> bytes:
        if encoding == "utf-8":
            is_ascii = content.isascii()
            end = len(content) if is_ascii else _decoded(content, encoding, is_last=is_last)[1]
            self._rest = content[end:]
            return content[:end]
        try:
            text, end = _decoded(content, encoding, is_last=is_last)
        except UnicodeDecodeError as error:
            raise Undecodable("The file is no text we can read.") from error
        self._rest = content[end:]
        return text.encode()


def _decoded(content: bytes, encoding: str, *, is_last: bool) -> tuple[str, int]:
    """The text of the whole characters at the beginning, and how many bytes those take."""
    if encoding == "utf-8":
        return codecs.utf_8_decode(content, "strict", is_last)
    if encoding == "utf-16-le":
        return codecs.utf_16_le_decode(content, "strict", is_last)
    if encoding == "utf-16-be":
        return codecs.utf_16_be_decode(content, "strict", is_last)
    return content.decode(encoding), len(content)


def _signs(head: bytes, size: int) -> tuple[str, int]:
    """The encoding a file shows by certain signs, else UTF-8, and how long its BOM is.

    `head` is the file's beginning, 512 bytes at least unless it is shorter; `size` its length.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return _utf16_by_nul_pattern(head, size) or "utf-8", 0


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


def _utf16_by_nul_pattern(head: bytes, size: int) -> str | None:
    """In UTF-16 most Western text has a NUL at every second byte, and nothing else does."""
    if size < _SHORTEST_UTF16 or size % 2:
        return None
    even, odd = head[:_SAMPLE_BYTES:2], head[1:_SAMPLE_BYTES:2]
    if _mostly_nul(odd) and _seldom_nul(even):
        return "utf-16-le"
    return "utf-16-be" if _mostly_nul(even) and _seldom_nul(odd) else None


def _mostly_nul(half: bytes) -> bool:
    return half.count(0) * 10 >= len(half) * 7


def _seldom_nul(half: bytes) -> bool:
    return half.count(0) * 10 < len(half) * 3


def _line_at(content: bytes, position: int) -> int:
    return 1 + count_line_ends(content[:position])


def count_line_ends(content: bytes) -> int:
    """How many line ends UTF-8 bytes hold: LF, CRLF or CR."""
    return content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
