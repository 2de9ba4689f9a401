"""Cut a large Parquet file into parts of whole row groups, which are read independently."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from etl.read.parquet.opening import MOST_FOOTER_BYTES
from etl.read.parquet.pages import END_BYTES, groups
from etl.read.parquet.thrift import WrongStruct
from etl.read.spool import sparse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO, TypeAlias

    from etl.read.parquet.pages import Group

    # The bytes of a file from one place to another
    Fetch: TypeAlias = Callable[[int, int], Iterable[bytes]]

LEAST_BYTES = 1 << 17  # of a part, whose texts may then have as much of them as those of the file

_SLACK_BYTES = 1 << 12  # old writers leave a header out of the size of a chunk


class RowGroups(NamedTuple):
    """Consecutive row groups: their places, the number of their first row, and their bytes.

    `footer` is the first byte of the footer of the file.
    """

    first: int
    end: int
    first_row: int
    start_byte: int
    end_byte: int
    footer: int


def parts_of(size: int, fetch: Fetch, least_bytes: int) -> list[RowGroups]:
    """The parts of a file of that size, each of at least so many bytes; none if it is not cut."""
    try:
        footer = _footer(size, fetch)
        with sparse(size, [(footer, fetch(footer, size))]) as content:
            found = groups(content)
    except WrongStruct:
        return []
    first_rows = accumulate((group.rows for group in found), initial=1)
    parts: list[RowGroups] = []
    for place, (group, first_row) in enumerate(zip(found, first_rows, strict=False)):
        start, end = _bytes_of(group, footer)
        one = RowGroups(place, place + 1, first_row, start, end, footer)
        if parts and _size(parts[-1]) < max(least_bytes, LEAST_BYTES):
            parts[-1] = _together(parts[-1], one)
        else:
            parts.append(one)
    if len(parts) > 1 and _size(parts[-1]) < LEAST_BYTES:
        last = parts.pop()
        parts[-1] = _together(parts[-1], last)
    return parts


def content_of(size: int, part: RowGroups, fetch: Fetch) -> AbstractContextManager[BinaryIO]:
    """The part of a file of that size, with zeros in place of the others."""
    return sparse(size, _ranges(size, part, fetch))


def _ranges(size: int, part: RowGroups, fetch: Fetch) -> Iterator[tuple[int, Iterable[bytes]]]:
    yield part.start_byte, fetch(part.start_byte, part.end_byte)
    yield part.footer, fetch(part.footer, size)


def _footer(size: int, fetch: Fetch) -> int:
    """The first byte of the footer.

    Raises:  WrongStruct.
    """
    if size <= END_BYTES:
        raise WrongStruct("it has no footer")
    end = b"".join(fetch(size - END_BYTES, size))
    footer = int.from_bytes(end[:4], "little") + END_BYTES
    if footer > min(MOST_FOOTER_BYTES, size):
        raise WrongStruct("its footer is too long")
    return size - footer


def _bytes_of(group: Group, footer: int) -> tuple[int, int]:
    start = min((chunk.start for chunk in group.chunks), default=0)
    end = max((chunk.end for chunk in group.chunks), default=0)
    return start, max(min(end + _SLACK_BYTES, footer), start)


def _size(part: RowGroups) -> int:
    return part.end_byte - part.start_byte


def _together(one: RowGroups, other: RowGroups) -> RowGroups:
    return one._replace(
        end=other.end,
        start_byte=min(one.start_byte, other.start_byte),
        end_byte=max(one.end_byte, other.end_byte),
    )
