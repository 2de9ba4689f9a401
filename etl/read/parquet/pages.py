"""The headers of the pages of a Parquet file: how large each page is once it is expanded.

Arrow allocates what a header says, and a few bytes may stand for billions of values, so these
headers are read before the pages are. They are structs in Thrift's compact protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    Value: TypeAlias = "int | bytes | Struct | None"

Struct: TypeAlias = "dict[int, Value]"

DELTA_BYTE_ARRAY = 7

_DICTIONARY_PAGE = 2
_KINDS = {5: 2, 7: 2, 8: 4}  # the members about data and dictionaries, and where their encoding is
_HEAD_BYTES = 1 << 12
_MOST_HEAD_BYTES = 16 << 20  # as Arrow
_DEEPEST = 8  # of nested structs; those of headers have three levels
_MOST_MEMBERS = 10_000
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = frozenset({4, 5, 6})
_SIZES = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8}
_LONG = 15  # the size of a list that has its own number


class Page(NamedTuple):
    """A page of a column, as its header describes it."""

    expanded_bytes: int
    values: int
    encoding: int
    is_dictionary: bool


class WrongHeader(ValueError):
    """Bytes that are no header of a page."""


def pages(file: BinaryIO, start: int, end: int) -> Iterator[Page]:
    """The pages of a column chunk between two places of the file.

    Raises:  WrongHeader.
    """
    while start < end:
        header, size = _header(file, start, end)
        expanded, compressed = _number(header, 2), _number(header, 3)
        if expanded < 0 or compressed < 0:
            raise WrongHeader("the size of a page is negative")
        for kind, encoding in _KINDS.items():
            part = header.get(kind)
            if isinstance(part, dict):
                is_dictionary = _number(header, 1) == _DICTIONARY_PAGE
                yield Page(expanded, _number(part, 1), _number(part, encoding), is_dictionary)
                break
        start += size + compressed


def _header(file: BinaryIO, start: int, end: int) -> tuple[Struct, int]:
    """The header at a place, and its size."""
    size = _HEAD_BYTES
    while True:
        file.seek(start)
        content = file.read(min(size, end - start))
        reader = _Reader(content)
        try:
            return reader.struct(), reader.place
        except IndexError as error:
            if len(content) < size or size >= _MOST_HEAD_BYTES:
                raise WrongHeader("the header of a page is cut short") from error
            size *= 16


def _number(struct: Struct, key: int) -> int:
    value = struct.get(key)
    if not isinstance(value, int):
        raise WrongHeader("the header of a page lacks a number")
    return value


class _Reader:
    """Reads Thrift's compact protocol; IndexError at the end of the content."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.place = 0

    def struct(self, depth: int = 0) -> Struct:
        if depth > _DEEPEST:
            raise WrongHeader("the header of a page is nested too deeply")
        found: Struct = {}
        key = 0
        while byte := self._byte():
            key = key + (byte >> 4) if byte >> 4 else self._integer()
            if len(found) > _MOST_MEMBERS:
                raise WrongHeader("the header of a page has too many members")
            found[key] = self._value(byte & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Value:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in {_LIST, _SET}:
            self._skip_list(depth)
        elif kind == _BINARY:
            self._skip(self._varint())
        elif kind in _SIZES:
            self._skip(_SIZES[kind])
        else:
            raise WrongHeader("the header of a page has a member of an unknown type")
        return None

    def _skip_list(self, depth: int) -> None:
        byte = self._byte()
        size = self._varint() if byte >> 4 == _LONG else byte >> 4
        if size > _MOST_MEMBERS:
            raise WrongHeader("the header of a page has too long a list")
        for _ in range(size):
            if byte & 15 in {_TRUE, _FALSE}:
                self._skip(1)
            else:
                self._value(byte & 15, depth + 1)

    def _byte(self) -> int:
        byte = self._content[self.place]
        self.place += 1
        return byte

    def _varint(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            shift += 7
            if byte < 128:  # noqa: PLR2004
                return found
            if shift > 63:  # noqa: PLR2004
                raise WrongHeader("the header of a page has too long a number")

    def _integer(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _skip(self, size: int) -> None:
        self.place += size
        if self.place > len(self._content):
            raise IndexError
