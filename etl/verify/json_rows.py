"""Parse the objects of JSON files, each of which is a row, with the digits of their numbers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NoReturn

from etl.model.values import ProblemCode
from etl.verify.documents import MAX_DEPTH, JsonNumber, Members, json_text
from etl.verify.faults import FileError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

MAX_BYTES = 4 << 20  # of one row
MAX_MEMBERS = 1_000
MAX_HEAD = 1 << 16  # bytes of a name outside the rows, with its colon and space

SPACE = b" \t\r\n"
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|\\["\\]|[\[\]{},]', re.DOTALL)
_HEAD = re.compile(
    rb'[ \t\r\n]*+(("(?:[^"\\]|\\.)*+")[ \t\r\n]*+:[ \t\r\n]*+)(?=[^ \t\r\n,\]}])', re.DOTALL
)
_LINE = re.compile(rb"(?:\xef\xbb\xbf)*+([^\r\n]*+)(?:\r\n?|\n|\Z)")  # without its marks
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


class FaultyRow(ValueError):
    """A row that is not an object that can be stored."""

    def __init__(self, code: ProblemCode) -> None:
        """Store the problem code."""
        super().__init__(code.value)
        self.code = code


def lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, without byte order marks, with their numbers from 1."""
    for number, found in enumerate(_LINE.finditer(content), 1):
        if found[1] and not found[1].isspace():
            yield number, found[1]


def elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of an array with their numbers from 1; an object is the only row of its file.

    Raises:  FileError.
    """
    content = content.strip(SPACE)
    if content.startswith(b"{"):
        end = _end(content, 1, b"]}") + 1
        yield 1, content[:end]
    elif content.startswith(b"["):
        end = yield from _array(content, 1)
    else:
        raise FileError(ProblemCode.NOT_JSON)
    if end < len(content):
        raise FileError(ProblemCode.NOT_JSON)


def elements_of(content: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """The elements of the array in the member of this name of an object.

    Raises:  FileError.
    """
    content = content.strip(SPACE)
    if not content.startswith(b"{"):
        raise FileError(ProblemCode.NOT_JSON)
    end, has_array = 0, False
    while content[end : end + 1] in {b"{", b","}:
        head = _HEAD.match(content, end + 1)
        if head is None or len(head[1]) > MAX_HEAD:
            raise FileError(ProblemCode.NOT_JSON)
        end = head.end()
        if _name(head[2]) == name:
            if has_array or content[end : end + 1] != b"[":
                raise FileError(ProblemCode.NOT_JSON)
            has_array = True
            end = yield from _array(content, end + 1)
            end += len(content[end:]) - len(content[end:].lstrip(SPACE))
        else:
            end = _end(content, end, b",]}")
    if content[end:] != b"}" or not has_array:
        raise FileError(ProblemCode.NOT_JSON)


def _name(written: bytes) -> str:
    try:
        return str(json.loads(written.decode("utf-8", "surrogateescape")))
    except ValueError as error:
        raise FileError(ProblemCode.NOT_JSON) from error


def _array(content: bytes, place: int) -> Generator[tuple[int, bytes], None, int]:
    """The elements of the array with this place of its content; returns that after its end."""
    number, depth, start = 1, 0, place
    for token in _TOKEN.finditer(content, place):
        sign = token[0]
        written = slice(start, token.start())
        if sign == b"," and depth == 0:
            yield number, content[written]
            number, start = number + 1, token.end()
        elif depth == 0 and sign in {b"]", b"}"}:
            if sign == b"}":
                break
            if number > 1 or content[written].strip(SPACE):
                yield number, content[written]
            return token.end()
        depth += _depth_of(sign)
    raise FileError(ProblemCode.NOT_JSON)


def _end(content: bytes, place: int, stops: bytes) -> int:
    """The place of the first of these signs that is not in a value within the value here."""
    depth = 0
    for token in _TOKEN.finditer(content, place):
        if depth == 0 and token[0] in stops:
            return token.start()
        depth += _depth_of(token[0])
    raise FileError(ProblemCode.NOT_JSON)


def _depth_of(sign: bytes) -> int:
    return (sign in {b"[", b"{"}) - (sign in {b"]", b"}"})


def parse(written: bytes) -> dict[str, object]:
    """The members of a row.

    Raises:  FaultyRow.
    """
    if len(written) > MAX_BYTES:
        raise FaultyRow(ProblemCode.CELL_TOO_LONG)
    try:
        text = written.decode()
    except UnicodeDecodeError as error:
        raise FaultyRow(ProblemCode.UNDECODABLE) from error
    try:
        row = _loads(text)
    except (ValueError, RecursionError) as error:
        raise FaultyRow(ProblemCode.NOT_JSON) from error
    if _is_too_deep(text):
        raise FaultyRow(ProblemCode.NOT_JSON)
    if isinstance(row, Members):
        raise FaultyRow(ProblemCode.DUPLICATE_COLUMN)
    if not isinstance(row, dict):
        raise FaultyRow(ProblemCode.NOT_JSON)
    if len(row) > MAX_MEMBERS:
        raise FaultyRow(ProblemCode.TOO_MANY_COLUMNS)
    if "\\u" in text and not _is_encodable(row):
        raise FaultyRow(ProblemCode.UNDECODABLE)
    return row


def _loads(text: str) -> object:
    return json.loads(
        text,
        parse_int=JsonNumber,
        parse_float=JsonNumber,
        parse_constant=_refuse_constant,
        object_pairs_hook=_object,
    )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object] | Members:
    """The members of an object; all of them if a key occurs twice."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else Members(pairs)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for found in _BRACKET.finditer(text):
        depth += (found[0] in {"[", "{"}) - (found[0] in {"]", "}"})
        if depth > MAX_DEPTH:
            return True
    return False


def _is_encodable(row: dict[str, object]) -> bool:
    """Whether no text of it has half of a surrogate pair."""
    try:
        json_text(row).encode()
    except UnicodeEncodeError:
        return False
    return True
