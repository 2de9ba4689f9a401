"""The fast path: plain files that share a header, joined and parsed as one.

A plain file is UTF-8 without NULs and lone CRs. Its quotes, if any, are regular: they enclose
whole cells of one line. So delimiter and newline bytes outside quotes separate its cells and
lines. NumPy finds these bytes in the joined files. Lines as wide as the header go
through Arrow's CSV reader, all others one by one through the collector. The full parser returns
the same for every file that this path accepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from etl.read.csv.encoding import is_utf8, without_marks
from etl.read.csv.quoting import Tokenizer
from etl.read.rows.collect import Block, Collector, ParsedRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from etl.read.rows.header import FileHeader
    from etl.read.rows.layout import Layout

_LONGEST_LINE_BYTES = 1 << 20
_BLOCK_BYTES = 4 << 20
_NEWLINE = 10


class PlainFile(NamedTuple):
    """The header line of a file and the bytes after it, without BOM, lines ended by LF.

    It is plain if `has_regular_quotes` accepts the body; the header tells the delimiter.
    """

    header: bytes
    body: bytes


def as_plain(content: bytes, layout: Layout) -> PlainFile | None:
    """The file, split after its header; None if it cannot be plain or its header line is blank."""
    lines = as_plain_lines(content, layout)
    if lines is None:
        return None
    if layout.header_row > 1:
        *above, lines = lines.split(b"\n", layout.header_row - 1)
        if len(above) < layout.header_row - 1:
            return None
    header, newline, body = lines.partition(b"\n")
    if not newline or not header.decode().strip():
        return None
    return PlainFile(header, body)


def as_plain_lines(content: bytes, layout: Layout) -> bytes | None:
    """The lines without byte order marks, all ended by LF; None if they cannot be plain."""
    if not layout.has_ascii_delimiter:
        return None
    for sign in layout.signs_of_full_parsing:
        if sign in content:
            return None
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
        if b"\r" in content:
            return None
    if not content.isascii():
        content = without_marks(content)
        if not is_utf8(content):
            return None
    return content if not content or content.endswith(b"\n") else content + b"\n"


def has_regular_quotes(body: bytes, header: FileHeader) -> bool:
    """Whether all quotes of these lines, ended by LF, enclose whole cells of one line."""
    quote = header.layout.quote.encode()
    if not quote or quote not in body:
        return True
    data = np.frombuffer(body, dtype=np.uint8)
    quotes = np.flatnonzero(data == ord(quote))
    if len(quotes) % 2:
        return False
    opened, closed = quotes[::2], quotes[1::2]
    before, after = data[opened - 1], data[closed + 1]  # the byte before the first one is an LF
    begins = (before == ord(header.delimiter)) | (before == _NEWLINE)
    ends = (after == ord(header.delimiter)) | (after == _NEWLINE)
    is_doubled = closed[:-1] + 1 == opened[1:]  # closes the cell and opens it again
    begins[1:] |= is_doubled
    ends[:-1] |= is_doubled
    if not (begins.all() and ends.all()):
        return False
    newlines = np.flatnonzero(data == _NEWLINE)
    return bool((np.searchsorted(newlines, opened) == np.searchsorted(newlines, closed)).all())


def read_plain(
    files: Sequence[int],
    bodies: Sequence[bytes],
    header: FileHeader,
    collector: Collector,
    first_line: int = 2,
) -> None:
    """Parse the bodies of plain files with one header; `files` are their indexes in the batch.

    `first_line` is the line number of a body's first line in its file.
    """
    joined = bodies[0] if len(bodies) == 1 else b"".join(bodies)
    if not joined:
        return
    index = _index(joined, bodies, header, first_line)
    regular = (index.cells == len(header.columns)) & (index.length <= _LONGEST_LINE_BYTES)
    places = np.asarray(files, dtype=np.int64)[index.file]
    if regular.any():
        kept = _keep_lines(joined, index, regular)
        cells = _split_cells(kept, header)
        most_bytes = int(index.length[regular].max())
        file, number = places[regular], index.number[regular]
        collector.add_block(Block(header, file, number, cells, most_bytes))
    if not regular.all():
        odd = _odd_lines(joined, index, places, np.flatnonzero(~regular), header)
        collector.add_records(header, odd)


@dataclass(frozen=True)
class _LineIndex:
    """Every line of the joined bytes.

    Shapes:  each (n,). start and length in bytes, without the LF; cells: number of cells;
             file: index of its body; number: physical line in its file, from 1.
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    cells: NDArray[np.int64]
    file: NDArray[np.int64]
    number: NDArray[np.int64]


def _index(
    joined: bytes, bodies: Sequence[bytes], header: FileHeader, first_line: int
) -> _LineIndex:
    data = np.frombuffer(joined, dtype=np.uint8)
    separators = np.flatnonzero((data == _NEWLINE) | (data == ord(header.delimiter)))
    quote = header.layout.quote.encode()
    if quote and quote in joined:
        separators = _outside_quotes(separators, np.flatnonzero(data == ord(quote)))
    newlines = np.flatnonzero(data[separators] == _NEWLINE)
    end = separators[newlines]
    start = np.concatenate(([0], end[:-1] + 1))
    sizes = np.fromiter(map(len, bodies), dtype=np.int64, count=len(bodies))
    body_ends = np.cumsum(sizes)
    file = np.searchsorted(body_ends, end, side="right")
    first_lines = np.searchsorted(start, body_ends - sizes)
    return _LineIndex(
        start=start,
        length=end - start,
        cells=np.diff(newlines, prepend=-1),
        file=file,
        number=np.arange(len(end)) - first_lines[file] + first_line,
    )


def _outside_quotes(separators: NDArray[np.int64], quotes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The separators that follow an even number of the quotes, whose number is even."""
    first, end = np.searchsorted(separators, quotes[::2]), np.searchsorted(separators, quotes[1::2])
    counts = end - first
    inside = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    return np.delete(separators, inside)


def _keep_lines(joined: bytes, index: _LineIndex, wanted: NDArray[np.bool_]) -> bytes:
    if wanted.all():
        return joined
    data = np.frombuffer(joined, dtype=np.uint8)
    return data[np.repeat(wanted, index.length + 1)].tobytes()


def _odd_lines(
    joined: bytes,
    index: _LineIndex,
    places: NDArray[np.int64],
    which: NDArray[np.int64],
    header: FileHeader,
) -> Iterator[ParsedRecord]:
    tokenizer = Tokenizer(header.delimiter, header.layout.quote)
    spans = (places, index.number, index.start, index.length)
    for place, number, start, length in zip(*(x[which].tolist() for x in spans), strict=True):
        line = joined[start : start + length].decode()
        yield ParsedRecord(place, number, line, tokenizer.scan_some(line).cells)


def _split_cells(lines: bytes, header: FileHeader) -> list[Any]:
    # Column indexes as names: Arrow need not accept those of the file.
    names = [str(place) for place in range(len(header.columns))]
    text = pa.large_string()
    quote = header.layout.quote
    quote_char = quote if quote and quote.encode() in lines else False
    table = csv.read_csv(
        pa.BufferReader(lines),
        csv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES, use_threads=False),
        csv.ParseOptions(
            delimiter=header.delimiter, quote_char=quote_char, ignore_empty_lines=False
        ),
        csv.ConvertOptions(
            column_types=dict.fromkeys(names, text), strings_can_be_null=False, check_utf8=False
        ),
    )
    return list(table.columns)
