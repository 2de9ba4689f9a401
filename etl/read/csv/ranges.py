"""Cut a large CSV into parts that are read independently, each from the first line of a record.

A newline may be inside a quoted cell, so not every line begins a record. Whether one does is
decided without the lines far before it: a record that spans several lines has at most 1,000 of
them and 1,048,576 characters, so among as many lines there is one with which a record begins.
From each line that could be it, the records are followed. Once all of these paths have met, the
line where they meet begins a record, whatever is before. Where they do not meet, the file is not
cut.

Compressed files, UTF-16 and files of one user, whose rows must be equal, are not cut.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from etl.read.csv import records
from etl.read.csv.chunks import ChunkReader
from etl.read.csv.encoding import count_line_endings, decode_lines, end_of_lines, is_read_as_utf8
from etl.read.csv.header import read_header
from etl.read.csv.parse import Layouts, header_line
from etl.read.csv.records import RecordReader
from etl.read.pieces import pieces
from etl.read.rows.header import FileHeader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject
    from etl.read.rows.extract import Extract
    from etl.read.rows.notices import Notices

HEAD_BYTES = 1 << 18  # of a file, in which its header must be
_WINDOWS = (1 << 17, 1 << 20, 1 << 23)  # bytes in which the first line of a record is searched


class FileHead(NamedTuple):
    """The first lines of a file, of which the last one is its header."""

    content: bytes
    header: FileHeader


class Surveyed(NamedTuple):
    """The line endings of a range of a file, and the first line after which a part may begin.

    `cut` is the offset of that line in the range, and `lines_before` the number of line endings
    before it; None if there is no such line.
    """

    lines: int
    cut: int | None = None
    lines_before: int = 0


class LineRange(NamedTuple):
    """A part of a file: from the byte `start` to the one before `end`; lines count from 1."""

    start: int
    end: int
    first_line: int


def read_head(source: SourceObject, dataset: Dataset, beginning: bytes) -> FileHead | None:
    """The head of a file of which `beginning` are at most the first bytes; None: do not cut it."""
    lines = beginning[: beginning.rfind(b"\n") + 1]
    if not lines or not is_read_as_utf8(beginning, source.size):
        return None
    decoded = decode_lines(lines)
    layout = Layouts(dataset, None).of(source.key)
    first = header_line(decoded.lines, layout.header_row)
    if first is None or first + 1 in decoded.undecodable:
        return None
    header = read_header(decoded.lines[first].rstrip("\r\n"), layout)
    content = b"".join(lines.splitlines(keepends=True)[: first + 1])
    if not isinstance(header, FileHeader) or not content.endswith(b"\n"):
        return None
    name = dataset.id_from_name
    is_of_one_user = name is not None and name not in header.columns
    return None if is_of_one_user else FileHead(content, header)


def survey(content: bytes, header: FileHeader, *, is_first: bool) -> Surveyed:
    """Survey a range of a file. Unless it `is_first`, `content` begins with the byte before it."""
    if is_first:
        return Surveyed(count_line_endings(content))
    before = count_line_endings(content[:1])  # an LF next may end the same line
    lines = count_line_endings(content) - before
    cut = _first_record(content, header)
    if cut is None or cut == len(content):
        return Surveyed(lines)
    return Surveyed(lines, cut - 1, count_line_endings(content[:cut]) - before)


def parts_of(size: int, range_bytes: int, surveyed: Sequence[Surveyed]) -> list[LineRange]:
    """The parts of a file of that many bytes, and of its ranges in their order."""
    starts = [(0, 1)]
    line = 1
    for number, found in enumerate(surveyed):
        if found.cut is not None:
            starts.append((number * range_bytes + found.cut, line + found.lines_before))
        line += found.lines
    ends = [*(start for start, _ in starts[1:]), size]
    return [LineRange(start, end, first) for (start, first), end in zip(starts, ends, strict=True)]


def read_lines(  # noqa: PLR0913, PLR0917 - of the file, its part, and what is found
    source: SourceObject,
    dataset: Dataset,
    head: bytes,
    lines: LineRange,
    contents: Iterable[bytes],
    notices: Notices,
) -> Iterator[Extract]:
    """The rows of one part, as its content arrives; its warnings are added to `notices`.

    All parts together have the same rows, problems and warnings as `read_object`.
    """
    reader = ChunkReader(source, dataset, notices=notices)
    if lines.start:
        reader.skip(head, lines.first_line)
    for content in contents:
        for piece in pieces(content, reader.most_rows):
            yield reader.read(piece)
    yield reader.finish_part()


def _first_record(content: bytes, header: FileHeader) -> int | None:
    """The offset of a line that certainly begins a record; None if none is found."""
    start = content.find(b"\n") + 1
    for size in _WINDOWS if start else ():
        window = content[start : start + size]
        window = window[: end_of_lines(window)]
        line = _meeting(decode_lines(window).lines, header)
        if line is not None:
            return start + sum(map(len, window.splitlines(keepends=True)[:line]))
        if start + size >= len(content):
            break
    return None


def _meeting(lines: Sequence[str], header: FileHeader) -> int | None:
    """The index of the line with which a record begins, wherever the first one of them begins."""
    count = _lines_of_longest(lines)
    if count is None:
        return None
    reader = RecordReader(lines, 0, header, is_cut=True)
    after = [reader.line_after(index) for index in range(count)]
    # From each line, the first line outside these with which a record begins.
    found: list[int] = [count] * count
    for index in reversed(range(count)):
        line = after[index]
        if line is None:
            return None
        found[index] = line if line >= count else found[line]
    heads = set(found)
    while len(heads) > 1:
        first = min(heads)
        line = reader.line_after(first) if first < len(lines) else None
        if line is None:
            return None
        heads = (heads - {first}) | {line}
    return heads.pop()


def _lines_of_longest(lines: Sequence[str]) -> int | None:
    """How many of the lines are more than any record on several lines has; None: all are not."""
    characters = accumulate(map(len, lines))
    for count, total in enumerate(characters, 1):
        if count >= records.MAX_LINES or total > records.MAX_CHARACTERS + len("\r\n"):
            return count
    return None
