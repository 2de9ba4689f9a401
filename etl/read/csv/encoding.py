"""Bytes to lines of text: which encoding a file is in.

Statistical guessing is wrong more often than right on files of a few dozen bytes, so only
certain signs count: a BOM, the NUL pattern of UTF-16, strict UTF-8. Some files are
joined from parts in several encodings, so a file that is not all UTF-8 is decoded line by line:
only the lines that are not UTF-8 are read as cp1252, the usual encoding of old spreadsheets.
"""

from __future__ import annotations

import codecs
import io
import re
from typing import TYPE_CHECKING, NamedTuple

from etl.model.errors import Undecodable

if TYPE_CHECKING:
    from collections.abc import Sequence

_SAMPLE_BYTES = 512
_SHORTEST_UTF16 = 4
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MARK = "\ufeff"
_MARKS_OF_LINES = re.compile(rb"(?:\A|(?<=\n))(?:\xef\xbb\xbf)+")
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")


class Decoded(NamedTuple):
    """The lines of a text with their ends, and the numbers (from 1) of those that are not UTF-8.

    `guessed` lines were read as cp1252. `undecodable` lines are kept with one character per
    byte, so that lines and quotes around them are parsed as usual.
    """

    lines: list[str]
    guessed: Sequence[int] = ()
    undecodable: Sequence[int] = ()


def decode(content: bytes) -> Decoded | None:
    """The lines of a file, without byte order marks; None if it looks like UTF-16 but is not."""
    encoding, mark_bytes = _signs(content, len(content))
    if encoding == "utf-8":
        return decode_lines(content)
    try:
        return Decoded(_lines_without_marks(content[mark_bytes:].decode(encoding)))
    except UnicodeDecodeError:
        return None


def decode_lines(content: bytes) -> Decoded:
    """Whole lines without byte order marks, each in its own encoding."""
    try:
        return Decoded(_lines_without_marks(content.decode()))
    except UnicodeDecodeError:
        return _decode_one_by_one(content.splitlines(keepends=True))


def physical_lines(text: str) -> list[str]:
    """The lines of a text with their ends, LF, CRLF or CR, as they stand."""
    return list(io.StringIO(text, newline=""))


def without_marks(lines: bytes) -> bytes:
    """Lines ended by LF, without leading byte order marks, which joined files have."""
    lines = lines.removeprefix(codecs.BOM_UTF8)
    return _MARKS_OF_LINES.sub(b"", lines) if codecs.BOM_UTF8 in lines else lines


def is_utf8(content: bytes) -> bool:
    """Whether the bytes are UTF-8 throughout."""
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines_without_marks(text: str) -> list[str]:
    lines = physical_lines(text)
    return [line.lstrip(_MARK) for line in lines] if _MARK in text else lines


def _decode_one_by_one(raw: Sequence[bytes]) -> Decoded:
    lines: list[str] = []
    guessed: list[int] = []
    undecodable: list[int] = []
    for number, marked in enumerate(raw, 1):
        line = without_marks(marked)
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            guess = _guess(line)
            (undecodable if guess is None else guessed).append(number)
            lines.append(line.decode("latin-1") if guess is None else guess)
    return Decoded(lines, guessed, undecodable)


def _guess(line: bytes) -> str | None:
    """The line as cp1252; None where it is not. Surrogates show UTF-8, made from UTF-16 wrongly."""
    if _SURROGATE.search(line):
        return None
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError:
        return None


class Transcoder:
    """Turns a file that comes in pieces, cut anywhere, into lines for `decode_lines`.

    `size` is that of the whole file in bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._encoding: str | None = None
        self._rest = b""

    def transcode(self, piece: bytes, *, is_last: bool = False) -> bytes:
        """The text that is complete so far: UTF-16 as UTF-8, anything else unchanged.

        Raises:  Undecodable if it looks like UTF-16 but is not.
        """
        content = self._rest + piece
        if self._encoding is None:
            if len(content) < _SAMPLE_BYTES and not is_last:
                self._rest = content
                return b""
            self._encoding, mark_bytes = _signs(content, self._size)
            content = content[mark_bytes:]
        self._rest = b""
        if self._encoding == "utf-8":
            return content
        try:
            text, end = _decoded(content, self._encoding, is_last=is_last)
        except UnicodeDecodeError as error:
            raise Undecodable("The file is not valid UTF-16.") from error
        self._rest = content[end:]
        return text.encode()


def _decoded(content: bytes, encoding: str, *, is_last: bool) -> tuple[str, int]:
    """The text of the whole characters at the beginning, and how many bytes those take."""
    if encoding == "utf-16-le":
        return codecs.utf_16_le_decode(content, "strict", is_last)
    return codecs.utf_16_be_decode(content, "strict", is_last)


def _signs(head: bytes, size: int) -> tuple[str, int]:
    """The encoding a file shows by certain signs, else UTF-8, and how long its BOM is.

    `head` is the file's beginning, 512 bytes at least unless it is shorter; `size` its length.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return _utf16_by_nul_pattern(head, size) or "utf-8", 0


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


def count_line_ends(content: bytes) -> int:
    """How many line ends UTF-8 bytes hold: LF, CRLF or CR."""
    return content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
