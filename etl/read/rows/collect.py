"""Collect the results of reading a batch of files: blocks of rows, counters, problems, notices.

Only the first problems of a file's rows are kept individually, up to the number that is stored.
The rest are counted, because a small file can have a fault on each of a million lines.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.safe_text import safe_value
from etl.model.values import Problem, ProblemCode, Severity, SourceObject
from etl.read.arrow import is_text, strip, to_mask
from etl.read.rows.notices import Notices
from etl.read.rows.repeated import repeated_headers
from etl.read.types.typed_texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from etl.read.rows.header import FileHeader

MOST_PROBLEMS = 1_000  # row problems of one object that are stored individually

_BLOCK_ROWS = 100_000


@dataclass(frozen=True)
class Block:
    """Rows under one header, column by column.

    Shapes:  file (n,) index of the row's file in the batch; line (n,) physical line or row, from
             1; cells: one Arrow array (n,) for each column of the header, of large_string or, for
             a whole column of a typed format, another type; null if the row lacks the cell. json:
             the columns whose texts are JSON values. unsure: those of them that jsonb may refuse.
             most_bytes: no text has more, or a NUL; None
             if that is unknown. extra (n,): the JSON of _extra, if no column is in it.
    """

    header: FileHeader
    file: NDArray[np.int64]
    line: NDArray[np.int64]
    cells: list[pa.ChunkedArray]
    most_bytes: int | None = None
    json: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()
    extra: pa.ChunkedArray | None = None

    def without(self, unwanted: NDArray[np.bool_]) -> Block:
        """The block without the rows of the mask."""
        keep = ~unwanted
        return replace(
            self,
            file=self.file[keep],
            line=self.line[keep],
            cells=[cells.filter(pa.array(keep)) for cells in self.cells],
            extra=None if self.extra is None else self.extra.filter(pa.array(keep)),
        )


class ParsedRecord(NamedTuple):
    """One unprocessed record: its file, line (from 1), first physical line, and its cells.

    Cells are not stripped, and None if the record's quotes are broken. They are ignored if a
    line of the record cannot be decoded.
    """

    file: int
    line: int
    raw_line: str
    cells: list[str] | None
    is_decodable: bool = True


class Collector:
    """Collects rows and problems from the parsers; a file is identified by its index in the batch.

    `more` counts, by file and code, the row problems that are not kept. `without_id` are the
    files whose rows take their key from the name. `notices` are those found so far, if a file
    comes in chunks.
    """

    def __init__(self, sources: Sequence[SourceObject], notices: Notices | None = None) -> None:
        self._sources = sources
        self._blocks: list[Block] = []
        self._buffers: dict[tuple[FileHeader, int], _RowBuffer] = {}
        self._malformed = [0] * len(sources)
        self.rows_read = [0] * len(sources)
        self.rows_rejected = [0] * len(sources)
        self.problems: list[Problem] = []
        self.more: defaultdict[int, Counter[ProblemCode]] = defaultdict(Counter)
        self.without_id: set[int] = set()
        self.notices = Notices() if notices is None else notices

    def add_block(self, block: Block) -> None:
        """Add rows as wide as the header, without blank rows and repeated headers."""
        self._add(self._without_headers(_without_blank_rows(_stripped(block))))

    def add_typed_block(self, block: Block) -> None:
        """Add rows of a format with values: blank ones are rows, and none repeats the header."""
        self._add(_stripped(block))

    def _add(self, block: Block) -> None:
        files, counts = np.unique(block.file, return_counts=True)
        for file, count in zip(files.tolist(), counts.tolist(), strict=True):
            self.rows_read[file] += count
        self._blocks.append(block)

    def add_records(self, header: FileHeader, records: Iterable[ParsedRecord]) -> None:
        """Add records of any number of cells, including blank and broken ones.

        A short row may lack nearly all columns, so it is in a block that has only twice as many
        as the row has cells.
        """
        width, fewest = len(header.columns), header.fewest_cells
        buffers: dict[int, _RowBuffer] = {}
        for record in records:
            cells = record.cells
            if (
                cells is None
                or len(cells) < fewest
                or not record.is_decodable
                or _any_filled(cells[width:])
            ):
                self._reject_malformed(record, width)
                continue
            if len(cells) < width:
                self._note_missing(record)
            count = min(max(1 << (len(cells) - 1).bit_length(), fewest), width)
            rows = buffers.get(count) or buffers.setdefault(count, self._buffer(header, count))
            rows.add(record.file, record.line, cells)
            if len(rows.line) == _BLOCK_ROWS:
                self.add_block(rows.take())

    def add_object_problem(
        self,
        file: int,
        code: ProblemCode,
        hint: str,
        value: str | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add a problem of a whole file."""
        source = self._sources[file]
        shown = None if value is None else safe_value(value)
        self.problems.append(
            Problem(code, source.key, source.etag, hint, value=shown, severity=severity)
        )

    def accept(self, file: int, header: FileHeader) -> None:
        """Note what is special about the file's header, which is valid."""
        name = header.layout.dataset.id_from_name
        if name is not None and name not in header.columns:
            self.without_id.add(file)
        for code, hint in header.warnings:
            self.add_object_problem(file, code, hint, severity=Severity.WARNING)

    def add_cell_problems(
        self, block: Block, place: int, faulty: NDArray[np.bool_], code: ProblemCode, hint: str
    ) -> None:
        """Add problems of faulty cells in the block's column `place`, whose rows are counted."""
        where = np.flatnonzero(faulty)
        kept = first_of_each(block.file[where], MOST_PROBLEMS)
        for file in block.file[where[~kept]].tolist():
            self.more[file][code] += 1
        column = safe_value(block.header.columns[place])
        faults = block.cells[place].take(pa.array(where[kept])).combine_chunks()
        for index, text in zip(where[kept].tolist(), texts_of(faults).to_pylist(), strict=True):
            source = self._sources[int(block.file[index])]
            line, value = int(block.line[index]), safe_value(text or "")
            self.problems.append(Problem(code, source.key, source.etag, hint, line, column, value))

    def reject_row(  # noqa: PLR0913, PLR0917 - what a problem says
        self,
        file: int,
        line: int,
        code: ProblemCode,
        hint: str,
        value: str,
        column: str | None = None,
    ) -> None:
        """Count a row that is in no block as read and rejected, and add its first problem."""
        self.rows_read[file] += 1
        self.rows_rejected[file] += 1
        self.add_fault(file, line, code, hint, value, column)

    def reject_more(self, file: int, code: ProblemCode, count: int) -> None:
        """Count rows with this fault, after the first 1,000, as read and rejected."""
        self.rows_read[file] += count
        self.rows_rejected[file] += count
        self.more[file][code] += count

    def add_fault(  # noqa: PLR0913, PLR0917 - what a problem says
        self,
        file: int,
        line: int,
        code: ProblemCode,
        hint: str,
        value: str,
        column: str | None = None,
    ) -> None:
        """Add a problem of a row that is in no block, besides the first one."""
        self._malformed[file] += 1
        if self._malformed[file] > MOST_PROBLEMS:
            self.more[file][code] += 1
            return
        source = self._sources[file]
        shown = None if column is None else safe_value(column)
        self.problems.append(
            Problem(code, source.key, source.etag, hint, line, shown, safe_value(value))
        )

    def reject_rows(self, block: Block, rejected: NDArray[np.bool_]) -> Block:
        """Count the rows of the mask as rejected, and return the block without them."""
        files, counts = np.unique(block.file[rejected], return_counts=True)
        for file, count in zip(files.tolist(), counts.tolist(), strict=True):
            self.rows_rejected[file] += count
        return block.without(rejected)

    def add_warnings(self) -> None:
        """Turn the notices into warnings, after the last rows of these files."""
        self.problems.extend(self.notices.problems(self._sources))

    def blocks(self) -> list[Block]:
        """All rows added so far."""
        for rows in self._buffers.values():
            if rows.line:
                self.add_block(rows.take())
        return self._blocks

    def _buffer(self, header: FileHeader, count: int) -> _RowBuffer:
        """The buffer of the rows that have at most so many cells."""
        key = header, count
        if key not in self._buffers:
            self._buffers[key] = _RowBuffer(header.first(count))
        return self._buffers[key]

    def _note_missing(self, record: ParsedRecord) -> None:
        """Note that a row lacks trailing cells, unless it is blank."""
        if _any_filled(record.cells or ()):
            code = ProblemCode.MISSING_TRAILING_CELLS
            self.notices.add(record.file, code, [record.line], record.raw_line)

    def _without_headers(self, block: Block) -> Block:
        """The block without repeated headers; a notice records them."""
        repeated = repeated_headers(block.header, block.cells)
        if not repeated:
            return block
        places: defaultdict[int, list[int]] = defaultdict(list)
        for index in repeated:
            places[int(block.file[index])].append(int(block.line[index]))
        for file, numbers in places.items():
            self.notices.add(file, ProblemCode.REPEATED_HEADER, numbers)
        unwanted = np.zeros(len(block.line), dtype=np.bool_)
        unwanted[repeated] = True
        return block.without(unwanted)

    def _reject_malformed(self, record: ParsedRecord, width: int) -> None:
        """Reject a record with broken encoding, quotes or width, unless it is blank."""
        if record.is_decodable and record.cells is not None and not _any_filled(record.cells):
            return
        code, hint = _malformed_fault(record, width)
        self.reject_row(record.file, record.line, code, hint, record.raw_line.rstrip("\r\n"))


def first_of_each(groups: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Which values are among the first `most` of their group; groups are contiguous."""
    if len(groups) <= most:
        return np.ones(len(groups), dtype=np.bool_)
    begins = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    sizes = np.diff(begins, append=len(groups))
    first: NDArray[np.bool_] = np.arange(len(groups)) - np.repeat(begins, sizes) < most
    return first


def _stripped(block: Block) -> Block:
    untrimmed = block.header.layout.untrimmed
    named = zip(block.header.columns, block.cells, strict=True)
    return replace(
        block,
        cells=[
            cells if name in untrimmed or not is_text(cells) else strip(cells)
            for name, cells in named
        ],
    )


def _without_blank_rows(block: Block) -> Block:
    blank: NDArray[np.bool_] = np.ones(len(block.line), dtype=np.bool_)
    for name, cells in zip(block.header.columns, block.cells, strict=True):
        is_untrimmed = name in block.header.layout.untrimmed
        size = pc.binary_length(strip(cells) if is_untrimmed else cells)
        blank &= to_mask(pc.equal(size, 0).fill_null(fill_value=True))
        if not blank.any():
            return block
    return block.without(blank)


def _any_filled(cells: Sequence[str]) -> bool:
    return any(cell.strip() for cell in cells)


def _malformed_fault(record: ParsedRecord, width: int) -> tuple[ProblemCode, str]:
    cells = record.cells
    if not record.is_decodable:
        return ProblemCode.UNDECODABLE, _ENCODING_HINT
    if cells is None:
        return ProblemCode.UNCLOSED_QUOTE, _QUOTE_HINT
    hint = f"The row has {len(cells)} cells, but the header has {width}."
    if len(cells) < width:
        return ProblemCode.SHORT_ROW, f"{hint} Add the missing cells."
    return (
        ProblemCode.LONG_ROW,
        f"{hint} Remove the extra cells, or quote cells that contain the delimiter.",
    )


_ENCODING_HINT = (
    "The row is neither UTF-8 nor cp1252, or it contains surrogates encoded as UTF-8 (CESU-8). "
    "Export the file as UTF-8."
)
_QUOTE_HINT = (
    "A quoted cell that begins on this line is not closed properly. End it with one double "
    "quote just before the delimiter, and double every quote inside it."
)


class _RowBuffer:
    """Buffers rows added one by one until there are enough for a block of columns.

    One flat list holds the cells. With a list per row, garbage collection would take as long as
    parsing.
    """

    def __init__(self, header: FileHeader) -> None:
        self._header = header
        self._width = len(header.columns)
        self._file: list[int] = []
        self._cells: list[str | None] = []
        self.line: list[int] = []

    def add(self, file: int, line: int, cells: Sequence[str | None]) -> None:
        """Add a row; missing cells are null, and cells beyond the columns are dropped."""
        self._file.append(file)
        self.line.append(line)
        self._cells += cells[: self._width]
        if len(cells) < self._width:
            self._cells += [None] * (self._width - len(cells))

    def take(self) -> Block:
        """Remove and return the rows so far."""
        block = Block(
            self._header,
            np.array(self._file, dtype=np.int64),
            np.array(self.line, dtype=np.int64),
            [
                pa.chunked_array([pa.array(self._cells[place :: self._width], pa.large_string())])
                for place in range(self._width)
            ],
        )
        self._file, self._cells, self.line = [], [], []
        return block
