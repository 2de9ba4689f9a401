"""Bytes to text, in verify's own words: byte order mark, UTF-16 by its NULs, else line by line.

A line is UTF-8 or else cp1252. One that is neither comes with one character for each byte, and
its number says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from etl.model import ProblemCode

_UTF8_MARK = b"\xef\xbb\xbf"
_LITTLE_MARK = b"\xff\xfe"
_BIG_MARK = b"\xfe\xff"
_SNIFFED_BYTES = 512
_SHORTEST_UTF16_BYTES = 4
_LINE = re.compile(rb"(?:\xef\xbb\xbf)*+([^\r\n]*(?:\r\n?|\n|\Z))")  # without its marks
_ENCODED_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")


class FileError(Exception):
    """A fault that costs the whole file, and its code."""

    def __init__(self, code: ProblemCode) -> None:
        """Keep the code, the only thing there is to say."""
        super().__init__(code.value)
        self.code = code


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file's text, of which no line begins with a byte order mark.

    `is_guessed` says that cp1252 was a guess for some line; `undecodable` are the numbers, from
    0, of lines in no encoding.
    """

    text: str
    is_guessed: bool = False
    undecodable: frozenset[int] = frozenset()


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
    return Decoded(re.sub("(^|[\r\n])\ufeff+", r"\1", text))


def _line_by_line(content: bytes) -> Decoded:
    is_guessed = False
    lines: list[str] = []
    undecodable = set()
    for found in _LINE.finditer(content):
        encoding = _encoding_of(found[1])
        is_guessed |= encoding == "cp1252"
        if encoding is None:
            undecodable.add(len(lines))
        lines.append(found[1].decode(encoding or "latin-1"))
    return Decoded("".join(lines), is_guessed, frozenset(undecodable))


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
