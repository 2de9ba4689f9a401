"""Where the pages of a Parquet file are, and how large each one is once it is expanded.

Arrow allocates what the header of a page says, and a few bytes may stand for billions of values, so
these headers are read before the pages are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from etl.read.parquet.thrift import Reader, Struct, Wanted, WrongStruct, number, structs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

DELTA_BYTE_ARRAY = 7
END_BYTES = 8  # of a file: the length of the footer, and the magic bytes

_DICTIONARY_PAGE = 2
_HEAD_BYTES = 1 << 12
_MOST_HEAD_BYTES = 16 << 20  # as Arrow
# The members about data and dictionaries, and where the encoding is in them
_KINDS = {5: 2, 7: 2, 8: 4}
_HEADER: Wanted = {
    1: None,
    2: None,
    3: None,
    **{key: {1: None, 2: None, 4: None} for key in _KINDS},
}
_SIZE, _DATA, _DICTIONARY = 7, 9, 11  # members of a column chunk
_CHUNK: Wanted = {3: {_SIZE: None, _DATA: None, _DICTIONARY: None}}
_FOOTER: Wanted = {3: None, 4: {1: _CHUNK, 3: None}}


class Chunk(NamedTuple):
    """The part of the file with the pages of one column in one row group."""

    start: int
    end: int


class Group(NamedTuple):
    """A row group: its rows, and the chunks of its columns."""

    rows: int
    chunks: list[Chunk]


class Page(NamedTuple):
    """A page of a column, as its header describes it."""

    compressed_bytes: int
    expanded_bytes: int
    values: int
    encoding: int
    is_dictionary: bool


def groups(file: BinaryIO) -> list[Group]:
    """The row groups, from the footer.

    Raises:  WrongStruct.
    """
    end = file.seek(0, 2) - END_BYTES
    file.seek(end)
    start = end - int.from_bytes(file.read(4), "little")
    if start < 0:
        raise WrongStruct("its footer is cut short")
    file.seek(start)
    try:
        footer = Reader(file.read(end - start)).struct(_FOOTER)
    except IndexError as error:
        raise WrongStruct("its footer is cut short") from error
    found = [
        Group(number(group, 3), [_chunk(one) for one in structs(group, 1)])
        for group in structs(footer, 4)
    ]
    if min((group.rows for group in found), default=0) < 0 or number(footer, 3) != sum(
        group.rows for group in found
    ):
        raise WrongStruct("its numbers of rows do not agree")
    return found


def pages(file: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    """The pages of a column chunk.

    Raises:  WrongStruct.
    """
    # Not the end of the chunk: old writers leave a header out of its size, which Arrow allows.
    start, end_of_file = chunk.start, file.seek(0, 2)
    while start < chunk.end:
        header, size = _header(file, start, chunk.end)
        expanded, compressed = number(header, 2), number(header, 3)
        if expanded < 0 or compressed < 0:
            raise WrongStruct("the size of a page is negative")
        if start + size + compressed > end_of_file:
            raise WrongStruct("a page does not end within the file")
        for kind, encoding in _KINDS.items():
            part = header.get(kind)
            if isinstance(part, dict):
                is_dictionary = number(header, 1) == _DICTIONARY_PAGE
                values, code = number(part, 1), number(part, encoding)
                yield Page(compressed, expanded, values, code, is_dictionary)
                break
        start += size + compressed


def _chunk(column: Struct) -> Chunk:
    found = column.get(3)
    if not isinstance(found, dict):
        raise WrongStruct("its footer does not tell where a column is")
    start, size = number(found, _DATA), number(found, _SIZE)
    dictionary = found.get(_DICTIONARY, 0)
    if isinstance(dictionary, int) and 0 < dictionary < start:
        start = dictionary
    if start < 0 or size < 0:
        raise WrongStruct("the place of a column is negative")
    return Chunk(start, start + size)


def _header(file: BinaryIO, start: int, end: int) -> tuple[Struct, int]:
    """The header at a place, and its size."""
    size = _HEAD_BYTES
    while True:
        file.seek(start)
        content = file.read(min(size, end - start))
        reader = Reader(content)
        try:
            return reader.struct(_HEADER), reader.place
        except IndexError as error:
            if len(content) < size or size >= _MOST_HEAD_BYTES:
                raise WrongStruct("the header of a page is cut short") from error
            size *= 16
