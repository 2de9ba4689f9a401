"""Bytes to text, by verify's own rules: byte order mark, UTF-16 by its NULs, else line by line.

A line is UTF-8 or else cp1252. One that is neither comes with one character for each byte, and
its number is kept.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.values import ProblemCode

if TYPE_CHECKING:
    from collections.abc import Iterable

_UTF8_MARK = b"\xef\xbb\xbf"
_LITTLE_MARK = b"\xff\xfe"
_BIG_MARK = b"\xfe\xff"
_SNIFFED_BYTES = 512
_SHORTEST_UTF16_BYTES = 4
_LINE = re.compile("\ufeff*+([^\r\n]*(?:\r\n?|\n|\\Z))")  # without its marks
_RAW_LINE = re.compile(rb"(?:\xef\xbb\xbf)*+([^\r\n]*(?:\r\n?|\n|\Z))")
_ENCODED_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")


class FileError(Exception):
    """A fault that costs the whole file, and its code."""

    def __init__(self, code: ProblemCode) -> None:
        """Keep the code, the only thing there is to say."""
        super().__init__(code.value)
        self.code = code


@dataclass(frozen=True, slots=True)
class Line:
    """A physical line: where it begins in the text, and where its characters end."""

    start: int
    end: int


@dataclass(slots=True)
class Decoded:
    """A file's text, of which no line begins with a byte order mark, and its lines.

    A line is ended by LF, CRLF, CR or the end of the file. `is_guessed` is set when some
    line was read as cp1252; `undecodable` are the numbers, from 0, of lines in no encoding.
    """

    text: str = ""
    lines: list[Line] = field(default_factory=list)
    is_guessed: bool = False
    undecodable: set[int] = field(default_factory=set)


def decode(content: bytes) -> Decoded:
    """Read the text of a file.

    Raises:  FileError with `undecodable`, or with `empty-file` when there is nothing in it.
    """
    encoding = _utf16(content)
    decoded = _line_by_line(content) if encoding is None else _strictly(content, encoding)
    if decoded.text.strip() == "":
        raise FileError(ProblemCode.EMPTY_FILE)
    return decoded


def _utf16(content: bytes) -> str | None:
    """Name the UTF-16 that a mark or the NULs show; None where nothing shows one."""
    if content.startswith(_UTF8_MARK):
        return None
    if content.startswith(_LITTLE_MARK):
        return "utf-16-le"
    if content.startswith(_BIG_MARK):
        return "utf-16-be"
    if len(content) >= _SHORTEST_UTF16_BYTES and len(content) % 2 == 0:
        at_even, at_odd = _nul_percent(content, 0), _nul_percent(content, 1)
        if _is_mostly_nul(at_odd, at_even):
            return "utf-16-le"
        if _is_mostly_nul(at_even, at_odd):
            return "utf-16-be"
    return None


def _nul_percent(content: bytes, first: int) -> float:
    """Count how many in a hundred of every second byte, from `first` on, are NUL."""
    looked_at = content[:_SNIFFED_BYTES][first::2]
    return 100 * looked_at.count(0) / len(looked_at)


def _is_mostly_nul(high_bytes_percent: float, low_bytes_percent: float) -> bool:
    return high_bytes_percent >= 70 and low_bytes_percent < 30  # noqa: PLR2004  # the rule itself


def _strictly(content: bytes, encoding: str) -> Decoded:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise FileError(ProblemCode.UNDECODABLE) from error
    return _joined((found[1], encoding) for found in _LINE.finditer(text))


def _line_by_line(content: bytes) -> Decoded:
    raw = (found[1] for found in _RAW_LINE.finditer(content))
    encoded = ((line, _encoding_of(line)) for line in raw)
    return _joined((line.decode(encoding or "latin-1"), encoding) for line, encoding in encoded)


def _joined(lines: Iterable[tuple[str, str | None]]) -> Decoded:
    """Join lines that come with their encodings, and keep where each was.

    Without its mark, a line may be an LF after the CR that ends the line before.
    """
    decoded = Decoded()
    text = io.StringIO()
    start = 0
    for number, (line, encoding) in enumerate(lines):
        decoded.lines.append(Line(start, start + len(line.rstrip("\r\n"))))
        decoded.is_guessed |= encoding == "cp1252"
        if encoding is None:
            decoded.undecodable.add(number)
        start += len(line)
        text.write(line)
    decoded.text = text.getvalue()
    return decoded


def _encoding_of(line: bytes) -> str | None:
    """Name the encoding of a line; None when it is in none."""
    if _fits(line, "utf-8"):
        return "utf-8"
    if _ENCODED_SURROGATE.search(line) is None and _fits(line, "cp1252"):
        return "cp1252"
    return None


def _fits(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
