"""Detect a file's encoding and decode it into lines of text.

Statistical detection is unreliable on files of a few dozen bytes. Only certain signs are used: a
BOM, the NUL pattern of UTF-16, valid UTF-8. Some files are concatenated from several encodings,
so a file that is not valid UTF-8 is decoded line by line. Only lines that are not valid UTF-8 are
read as cp1252, the usual encoding of old spreadsheets.
"""

from __future__ import annotations

import codecs
import io
import re
from typing import TYPE_CHECKING, NamedTuple

from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode
from etl.read.byte_count import count_byte

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
    """The lines of a text with their endings, and the numbers (from 1) of those not in UTF-8.

    `guessed` lines were read as cp1252. `undecodable` lines have one character per byte, so
    that the lines and quotes around them are parsed as usual.
    """

    lines: list[str]
    guessed: Sequence[int] = ()
    undecodable: Sequence[int] = ()


def decode(content: bytes) -> Decoded | None:
    """The lines of a file, without byte order marks; None if it looks like UTF-16 but is not."""
    encoding, mark_bytes = _detect(content, len(content))
    if encoding == "utf-8":
        return decode_lines(content)
    try:
        return Decoded(_lines_without_marks(content[mark_bytes:].decode(encoding)))
    except UnicodeDecodeError:
        return None


def decode_lines(content: bytes) -> Decoded:
    """Decode whole lines, each in its own encoding, without byte order marks."""
    try:
        return Decoded(_lines_without_marks(content.decode()))
    except UnicodeDecodeError:
        return _decode_line_by_line(content.splitlines(keepends=True))


def is_read_as_utf8(head: bytes, size: int) -> bool:
    """Whether a file of that size which begins like this is read as UTF-8 or line by line."""
    return _detect(head, size)[0] == "utf-8"


def physical_lines(text: str) -> list[str]:
    """The lines of a text with their original endings: LF, CRLF or CR."""
    return list(io.StringIO(text, newline=""))


def without_marks(lines: bytes) -> bytes:
    """Remove the leading byte order marks of LF-terminated lines, which concatenated files have."""
    lines = lines.removeprefix(codecs.BOM_UTF8)
    return _MARKS_OF_LINES.sub(b"", lines) if codecs.BOM_UTF8 in lines else lines


def is_utf8(content: bytes) -> bool:
    """Whether all bytes are valid UTF-8."""
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


def _decode_line_by_line(raw: Sequence[bytes]) -> Decoded:
    lines: list[str] = []
    guessed: list[int] = []
    undecodable: list[int] = []
    for number, marked in enumerate(raw, 1):
        line = without_marks(marked)
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            guess = _as_cp1252(line)
            (undecodable if guess is None else guessed).append(number)
            lines.append(line.decode("latin-1") if guess is None else guess)
    return Decoded(lines, guessed, undecodable)


def _as_cp1252(line: bytes) -> str | None:
    """The line as cp1252, or None. Encoded surrogates are badly converted UTF-16, not cp1252."""
    if _SURROGATE.search(line):
        return None
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError:
        return None


UNDECODABLE_HINT = "The file is not UTF-8, UTF-16 or cp1252 text. Save it as UTF-8."


class Transcoder:
    """Converts the chunks of a file, which may end anywhere, to input for `decode_lines`.

    `size` is the size of the whole file in bytes, if it is known, and so may be `encoding`.
    """

    def __init__(self, size: int | None, encoding: str | None = None) -> None:
        self._size = size
        self._encoding = encoding
        self._rest = b""

    def transcode(self, chunk: bytes, *, is_last: bool = False) -> bytes:
        """The complete characters so far: UTF-16 as UTF-8, anything else unchanged.

        Raises:  RefusedObject if it looks like UTF-16 but is not.
        """
        content = self._rest + chunk
        if self._encoding is None:
            if len(content) < _SAMPLE_BYTES and not is_last:
                self._rest = content
                return b""
            self._encoding, mark_bytes = _detect(content, self._size)
            content = content[mark_bytes:]
        self._rest = b""
        if self._encoding == "utf-8":
            return content
        try:
            text, end = _decoded(content, self._encoding, is_last=is_last)
        except UnicodeDecodeError as error:
            raise RefusedObject(ProblemCode.UNDECODABLE, UNDECODABLE_HINT) from error
        self._rest = content[end:]
        return text.encode()


def _decoded(content: bytes, encoding: str, *, is_last: bool) -> tuple[str, int]:
    """The leading whole characters, and the number of their bytes."""
    if encoding == "utf-16-le":
        return codecs.utf_16_le_decode(content, "strict", is_last)
    return codecs.utf_16_be_decode(content, "strict", is_last)


def _detect(head: bytes, size: int | None) -> tuple[str, int]:
    """The encoding and the length of the BOM; UTF-8 unless a BOM or NULs show another.

    `head` is the beginning of the file, at least 512 bytes of it; `size` is its whole size, if it
    is known.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return _utf16_by_nul_pattern(head, size) or "utf-8", 0


def _utf16_by_nul_pattern(head: bytes, size: int | None) -> str | None:
    """Only Western text in UTF-16 has a NUL in nearly every second byte."""
    if size is None:
        size = min(_SAMPLE_BYTES, len(head))
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


def count_line_endings(content: bytes) -> int:
    """Count the line endings in UTF-8 bytes: LF, CRLF or CR."""
    line_feeds = count_byte(content, b"\n")
    if b"\r" not in content:  # searching for two bytes is slow
        return line_feeds
    return line_feeds + count_byte(content, b"\r") - content.count(b"\r\n")


def end_of_lines(content: bytes) -> int:
    """The end of the last complete line. A CR at the very end may be half of a CRLF."""
    certain = len(content) - content.endswith(b"\r")
    newline = content.rfind(b"\n", 0, certain)
    return max(newline, content.rfind(b"\r", newline + 1, certain)) + 1
