"""Decode bytes to text: by a byte order mark, as UTF-16 if many bytes are NUL, or line by line.

Each line is UTF-8 or, failing that, cp1252. A line in neither encoding is decoded to one character
per byte, and recorded as undecodable.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.values import ProblemCode
from etl.verify.faults import FileError

if TYPE_CHECKING:
    from collections.abc import Iterable

_UTF8_MARK = b"\xef\xbb\xbf"
_LITTLE_MARK = b"\xff\xfe"
_BIG_MARK = b"\xfe\xff"
_SNIFFED_BYTES = 512
_MIN_UTF16_BYTES = 4
_LINE = re.compile("\ufeff*+([^\r\n]*(?:\r\n?|\n|\\Z))")  # without its marks
_RAW_LINE = re.compile(rb"(?:\xef\xbb\xbf)*+([^\r\n]*(?:\r\n?|\n|\Z))")
_ENCODED_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")


@dataclass(frozen=True, slots=True)
class Line:
    """A physical line: the positions of its start and of its line ending."""

    start: int
    end: int


@dataclass(slots=True)
class DecodedFile:
    """A file's text without byte order marks, and its lines.

    A line ends with LF, CRLF, CR or the end of the file. `is_guessed` is set if any line was
    decoded as cp1252; `undecodable` holds the 0-based numbers of lines in neither encoding.
    """

    text: str = ""
    lines: list[Line] = field(default_factory=list)
    is_guessed: bool = False
    undecodable: set[int] = field(default_factory=set)


def decode(content: bytes) -> DecodedFile:
    """Decode a file.

    Raises:  FileError with `undecodable`, or with `empty-file` if it is blank.
    """
    encoding = _utf16(content)
    decoded = _decode_by_line(content) if encoding is None else _decode_strictly(content, encoding)
    if decoded.text.strip() == "":
        raise FileError(ProblemCode.EMPTY_FILE)
    return decoded


def as_utf8(content: bytes) -> bytes:
    """The content without a mark, in UTF-8 if it was in UTF-16.

    Raises:  FileError with `undecodable`.
    """
    encoding = _utf16(content)
    if encoding is None:
        return content.removeprefix(_UTF8_MARK)
    try:
        return content.decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeError as error:
        raise FileError(ProblemCode.UNDECODABLE) from error


def _utf16(content: bytes) -> str | None:
    """Detect UTF-16 by a byte order mark or by NULs; None if it is another encoding."""
    if content.startswith(_UTF8_MARK):
        return None
    if content.startswith(_LITTLE_MARK):
        return "utf-16-le"
    if content.startswith(_BIG_MARK):
        return "utf-16-be"
    if len(content) >= _MIN_UTF16_BYTES and len(content) % 2 == 0:
        at_even, at_odd = _nul_percent(content, 0), _nul_percent(content, 1)
        if _is_mostly_nul(at_odd, at_even):
            return "utf-16-le"
        if _is_mostly_nul(at_even, at_odd):
            return "utf-16-be"
    return None


def _nul_percent(content: bytes, first: int) -> float:
    """Return the percentage of NULs in every second byte, starting at `first`."""
    sample = content[:_SNIFFED_BYTES][first::2]
    return 100 * sample.count(0) / len(sample)


def _is_mostly_nul(high_bytes_percent: float, low_bytes_percent: float) -> bool:
    return high_bytes_percent >= 70 and low_bytes_percent < 30  # noqa: PLR2004  # the rule itself


def _decode_strictly(content: bytes, encoding: str) -> DecodedFile:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise FileError(ProblemCode.UNDECODABLE) from error
    return _join((found[1], encoding) for found in _LINE.finditer(text))


def _decode_by_line(content: bytes) -> DecodedFile:
    raw = (found[1] for found in _RAW_LINE.finditer(content))
    encoded = ((line, _encoding_of(line)) for line in raw)
    return _join((line.decode(encoding or "latin-1"), encoding) for line, encoding in encoded)


def _join(lines: Iterable[tuple[str, str | None]]) -> DecodedFile:
    """Join decoded lines, and record the position and encoding of each.

    After its mark is removed, a line may be only an LF that follows the CR of the previous line.
    """
    decoded = DecodedFile()
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
    """Return the encoding of a line; None if it is in neither."""
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
