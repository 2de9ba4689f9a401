"""Bytes to text, in verify's own words: byte order mark, UTF-16 by its NULs, UTF-8, cp1252."""

from __future__ import annotations

from dataclasses import dataclass

from etl.model import ProblemCode

_UTF8_MARK = b"\xef\xbb\xbf"
_LITTLE_MARK = b"\xff\xfe"
_BIG_MARK = b"\xfe\xff"
_SNIFFED_BYTES = 512
_SHORTEST_UTF16_BYTES = 4


class FileError(Exception):
    """A fault that costs the whole file, and its code."""

    def __init__(self, code: ProblemCode) -> None:
        """Keep the code, the only thing there is to say."""
        super().__init__(code.value)
        self.code = code


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file's text without its byte order mark, and whether cp1252 was only a guess."""

    text: str
    is_guessed: bool


def decode(content: bytes) -> Decoded:
    """Read the text of a file.

    Raises:  FileError with `undecodable`, or with `empty-file` when there is nothing in it.
    """
    decoded = _decode(content)
    if decoded.text.strip() == "":
        raise FileError(ProblemCode.EMPTY_FILE)
    return decoded


def _decode(content: bytes) -> Decoded:
    if content.startswith(_UTF8_MARK):
        return _utf8_or_cp1252(content[len(_UTF8_MARK) :])
    if content.startswith(_LITTLE_MARK):
        return _strictly(content[len(_LITTLE_MARK) :], "utf-16-le")
    if content.startswith(_BIG_MARK):
        return _strictly(content[len(_BIG_MARK) :], "utf-16-be")
    if len(content) >= _SHORTEST_UTF16_BYTES and len(content) % 2 == 0:
        at_even, at_odd = _nul_percent(content, 0), _nul_percent(content, 1)
        if _is_mostly_nul(at_odd, at_even):
            return _strictly(content, "utf-16-le")
        if _is_mostly_nul(at_even, at_odd):
            return _strictly(content, "utf-16-be")
    return _utf8_or_cp1252(content)


def _nul_percent(content: bytes, first: int) -> float:
    """Count how many in a hundred of every second byte, from `first` on, are NUL."""
    looked_at = content[:_SNIFFED_BYTES][first::2]
    return 100 * looked_at.count(0) / len(looked_at)


def _is_mostly_nul(high_bytes_percent: float, low_bytes_percent: float) -> bool:
    return high_bytes_percent >= 70 and low_bytes_percent < 30  # noqa: PLR2004  # the rule itself


def _utf8_or_cp1252(content: bytes) -> Decoded:
    try:
        return Decoded(content.decode("utf-8"), is_guessed=False)
    except UnicodeDecodeError:
        return Decoded(_strictly(content, "cp1252").text, is_guessed=True)


def _strictly(content: bytes, encoding: str) -> Decoded:
    try:
        return Decoded(content.decode(encoding), is_guessed=False)
    except UnicodeDecodeError as error:
        raise FileError(ProblemCode.UNDECODABLE) from error
