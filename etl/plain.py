"""The fast reader: files without quotes that share a header, joined and read as one.

Plain means that bytes alone tell lines and cells: UTF-8, no quote, no NUL, no lone CR. Numpy
finds line ends and delimiters in the joined bytes; lines with as many cells as the header go
through Arrow's CSV reader, the odd ones through the collector one by one. Whatever this reader
takes, the careful reader would read the same.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from etl.collect import Block, Collector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from etl.dialect import Dialect

# What str.strip() takes away; a test compares the two.
WHITESPACE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)

_LONGEST_LINE_BYTES = 1 << 20
_BLOCK_BYTES = 4 << 20
_NEWLINE = 10


class PlainFile(NamedTuple):
    """The header line of a plain file and the bytes behind it, without BOM, lines ended by LF."""

    header: bytes
    body: bytes


def as_plain(content: bytes) -> PlainFile | None:
    """The file cut behind its header; None when it is not plain or does not begin with one."""
    if b'"' in content or b"\0" in content:
        return None
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
        if b"\r" in content:
            return None
    if content.startswith(codecs.BOM_UTF8):
        content = content[len(codecs.BOM_UTF8) :]
    if not _is_utf8(content):
        return None
    header, newline, body = content.partition(b"\n")
    if not newline or not header.decode().strip():
        return None
    return PlainFile(header, body if not body or body.endswith(b"\n") else body + b"\n")


def read_plain(
    files: Sequence[int], bodies: Sequence[bytes], dialect: Dialect, collector: Collector
) -> None:
    """Read the bodies of plain files, all of one dialect; `files` are their places in the batch."""
    joined = b"".join(bodies)
    if not joined:
        return
    index = _index(joined, bodies, dialect.delimiter)
    regular = (index.cells == len(dialect.columns)) & (index.length <= _LONGEST_LINE_BYTES)
    places = np.asarray(files, dtype=np.int64)[index.file]
    if regular.any():
        kept = _keep_lines(joined, index, regular)
        _read_regular(kept, places[regular], index.number[regular], dialect, collector)
    odd = np.flatnonzero(~regular)
    for place, number, start, length in zip(
        places[odd].tolist(),
        index.number[odd].tolist(),
        index.start[odd].tolist(),
        index.length[odd].tolist(),
        strict=True,
    ):
        line = joined[start : start + length].decode()
        cells = line.split(dialect.delimiter)
        collector.add_record(dialect.columns, place, number, line, cells)


@dataclass(frozen=True)
class _Lines:
    """Every line of the joined bytes.

    Shapes:  each (n,). start and length in bytes, the line's LF not counted; cells: how many;
             file: index of its body; number: physical line in its file, whose header is 1.
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    cells: NDArray[np.int64]
    file: NDArray[np.int64]
    number: NDArray[np.int64]


def _is_utf8(content: bytes) -> bool:
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _index(joined: bytes, bodies: Sequence[bytes], delimiter: str) -> _Lines:
    data = np.frombuffer(joined, dtype=np.uint8)
    separators = np.flatnonzero((data == _NEWLINE) | (data == ord(delimiter)))
    newlines = np.flatnonzero(data[separators] == _NEWLINE)
    end = separators[newlines]
    start = np.concatenate(([0], end[:-1] + 1))
    sizes = np.fromiter(map(len, bodies), dtype=np.int64, count=len(bodies))
    body_ends = np.cumsum(sizes)
    file = np.searchsorted(body_ends, end, side="right")
    first_lines = np.searchsorted(start, body_ends - sizes)
    return _Lines(
        start=start,
        length=end - start,
        cells=np.diff(newlines, prepend=-1),
        file=file,
        number=np.arange(len(end)) - first_lines[file] + 2,
    )


def _keep_lines(joined: bytes, index: _Lines, wanted: NDArray[np.bool_]) -> bytes:
    if wanted.all():
        return joined
    data = np.frombuffer(joined, dtype=np.uint8)
    return data[np.repeat(wanted, index.length + 1)].tobytes()


def _read_regular(
    lines: bytes,
    file: NDArray[np.int64],
    number: NDArray[np.int64],
    dialect: Dialect,
    collector: Collector,
) -> None:
    cells = [strip(column) for column in _cut(lines, dialect)]
    blank = reduce(pc.and_, (pc.equal(pc.binary_length(column), 0) for column in cells))
    if pc.any(blank).as_py():
        filled = pc.invert(blank)
        cells = [column.filter(filled) for column in cells]
        keep = filled.to_numpy()
        file, number = file[keep], number[keep]
    collector.add_block(Block(dialect.columns, file, number, cells))


def _cut(lines: bytes, dialect: Dialect) -> list[Any]:
    # Names are our own: a file's may be anything at all.
    names = [str(place) for place in range(len(dialect.columns))]
    text = pa.large_string()
    table = csv.read_csv(
        pa.BufferReader(lines),
        csv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES, use_threads=False),
        csv.ParseOptions(delimiter=dialect.delimiter, quote_char=False),
        csv.ConvertOptions(
            column_types=dict.fromkeys(names, text), strings_can_be_null=False, check_utf8=False
        ),
    )
    return list(table.columns)


def strip(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells as str.strip() would leave them."""
    return pc.utf8_trim(column, characters=WHITESPACE)
