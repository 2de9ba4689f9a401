r"""Check that bytes are one JSON value (RFC 8259), whatever the size of its numbers.

A document is stored as bytes, so its numbers may exceed a double and its `\u` escapes may be
unpaired surrogates. orjson rejects both. If it does, a second call checks the text with these
numbers and escapes replaced by valid ones of the same length, so that positions stay the same.
"""

from __future__ import annotations

import codecs
import re

import orjson

MAX_DEPTH = 1024  # orjson's limit

_DEPTH = "depth limit exceeded"
# Whole escapes match, so that the digits of `\u1e99` are not treated as a number. Digits that
# follow a digit, a point or an exponent are the end of another token.
_DOUBTFUL = re.compile(
    rb"\\u[0-9a-fA-F]{4}"
    rb"|\\[^u]"
    rb"|(?<![\d.eE+])(?:0|[1-9]\d*)(?:\.\d+)?[eE][+-]?\d+"
    rb"|(?<![\d.eE+])[1-9]\d{300,}(?:\.\d+)?"
)
_OTHER_ENCODINGS = (
    (codecs.BOM_UTF8, "it begins with a byte order mark"),
    (codecs.BOM_UTF32_LE, "it is UTF-32"),
    (codecs.BOM_UTF16_LE, "it is UTF-16"),
    (codecs.BOM_UTF16_BE, "it is UTF-16"),
)


class NotJson(ValueError):
    """Content that is not a JSON value; `line` and `column`, from 1, are where parsing stopped."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


class TooDeep(NotJson):
    """Arrays and objects nested deeper than MAX_DEPTH levels."""


def check_json(content: bytes) -> None:
    """Check that the content is one JSON value in UTF-8, without NaN, comments and BOM.

    Raises:  NotJson with the position; TooDeep if the nesting exceeds MAX_DEPTH.
    """
    if _is_accepted(content):
        return
    _check_encoding(content)
    try:
        orjson.loads(_DOUBTFUL.sub(_valid_substitute, content))
    except orjson.JSONDecodeError as error:
        kind = TooDeep if error.msg.startswith(_DEPTH) else NotJson
        raise kind(error.msg.partition(":")[0], error.lineno, error.colno) from error


def _is_accepted(content: bytes) -> bool:
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return True


def _valid_substitute(found: re.Match[bytes]) -> bytes:
    text = found[0]
    if text.startswith(b"\\u"):
        return rb"\u0020"
    return text if text.startswith(b"\\") else b"0".ljust(len(text))


def _check_encoding(content: bytes) -> None:
    for mark, reason in _OTHER_ENCODINGS:
        if content.startswith(mark):
            raise NotJson(reason, 1, 1)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = len(before.rpartition(b"\n")[2].decode()) + 1
        raise NotJson("it is not UTF-8", before.count(b"\n") + 1, column) from error
    if b"\0" in content[:4]:
        raise NotJson("it is UTF-16 or UTF-32, or has a NUL character", 1, content.index(0) + 1)
