"""Collects the results of reading a batch of files: blocks of rows, counters, problems, notices.

Only the first problems of a file's rows are kept individually, up to the number that is stored.
The rest are counted, because a small file can have a fault on each of a million lines.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.values import Problem, ProblemCode, Severity, SourceObject
from etl.read.csv.dialect import fewest_cells, is_header
from etl.read.csv.notices import Notices
from etl.read.csv.safe_text import safe_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

# What str.strip() takes away; a test compares the two.
WHITESPACE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)

MOST_PROBLEMS = 1_000  # of an object's rows, stored one by one

_ROWS_A_BLOCK = 100_000
_TELLING = "birthts"  # the column by which a header among rows is found
_TELLING_BYTES = (7, 8)  # of all texts that casefold() makes that name


@dataclass(frozen=True)
class Block:
    """Rows under one header, column by column.

    Shapes:  file (n,) place of the row's file in the batch; line (n,) physical line, from 1;
             cells: one Arrow large_string array (n,) for each of `columns`.
    """

    columns: tuple[str, ...]
    file: NDArray[np.int64]
    line: NDArray[np.int64]
    cells: list[pa.ChunkedArray]

    def without(self, unwanted: NDArray[np.bool_]) -> Block:
        """The block without the rows of the mask."""
        keep = ~unwanted
        return replace(
            self,
            file=self.file[keep],
            line=self.line[keep],
            cells=[cells.filter(pa.array(keep)) for cells in self.cells],
        )


class Record(NamedTuple):
    """One record as it stands: its file, line (from 1), first physical line, and its cells.

    Cells are not stripped; None stands for those of a record whose quotes are broken. They are
    ignored if a line of the record cannot be decoded.
    """

    file: int
    line: int
    raw_line: str
    cells: list[str] | None
    is_decodable: bool = True


class Collector:
    """Takes rows and faults as readers find them; a file is named by its place in the batch.

    `more` counts, by file and code, the problems of rows that are not kept. `unnamed` are the
    files whose rows bear no id of their own. `notices` are those of the files so far, if these
    come in pieces.
    """

    def __init__(self, sources: Sequence[SourceObject], notices: Notices | None = None) -> None:
        self._sources = sources
        self._blocks: list[Block] = []
        self._loose: dict[tuple[str, ...], _LooseRows] = {}
        self._refused = [0] * len(sources)
        self.rows_read = [0] * len(sources)
        self.rows_rejected = [0] * len(sources)
        self.problems: list[Problem] = []
        self.more: defaultdict[int, Counter[ProblemCode]] = defaultdict(Counter)
        self.unnamed: set[int] = set()
        self.notices = Notices() if notices is None else notices

    def add_block(self, block: Block) -> None:
        """Take rows that have the header's number of cells; blank ones and headers are left out."""
        block = _without_blank_rows(replace(block, cells=[strip(cells) for cells in block.cells]))
        block = self._without_headers(block)
        files, counts = np.unique(block.file, return_counts=True)
        for file, count in zip(files.tolist(), counts.tolist(), strict=True):
            self.rows_read[file] += count
        self._blocks.append(block)

    def add_records(self, columns: tuple[str, ...], records: Iterable[Record]) -> None:
        """Take records of any number of cells, also blank and broken ones."""
        width, fewest = len(columns), fewest_cells(columns)
        rows = self._loose.setdefault(columns, _LooseRows(columns))
        for record in records:
            cells = record.cells
            if (
                cells is None
                or len(cells) < fewest
                or not record.is_decodable
                or _any_filled(cells[width:])
            ):
                self._refuse(record, width)
                continue
            rows.add(record.file, record.line, self._padded(record, cells, width))
            if len(rows.line) == _ROWS_A_BLOCK:
                self.add_block(rows.take())

    def object_problem(
        self,
        file: int,
        code: ProblemCode,
        note: str,
        value: str | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Note a fault of a whole file."""
        source = self._sources[file]
        shown = None if value is None else safe_value(value)
        self.problems.append(
            Problem(code, source.key, source.etag, note, value=shown, severity=severity)
        )

    def refuse_cells(
        self, block: Block, place: int, faulty: NDArray[np.bool_], code: ProblemCode, note: str
    ) -> None:
        """Note a fault of cells of the block's column `place`, in rows that count as read."""
        where = np.flatnonzero(faulty)
        kept = first_of_each(block.file[where], MOST_PROBLEMS)
        for file in block.file[where[~kept]].tolist():
            self.more[file][code] += 1
        column, cells = safe_value(block.columns[place]), block.cells[place]
        for index in where[kept].tolist():
            source = self._sources[int(block.file[index])]
            value = safe_value(cells[index].as_py())
            line = int(block.line[index])
            self.problems.append(Problem(code, source.key, source.etag, note, line, column, value))

    def reject_rows(self, block: Block, refused: NDArray[np.bool_]) -> Block:
        """Count the rows of the mask as rejected; the block without them."""
        files, counts = np.unique(block.file[refused], return_counts=True)
        for file, count in zip(files.tolist(), counts.tolist(), strict=True):
            self.rows_rejected[file] += count
        return block.without(refused)

    def note_oddities(self) -> None:
        """Turn the notices into problems, after the last rows of these files."""
        self.problems.extend(self.notices.problems(self._sources))

    def blocks(self) -> list[Block]:
        """All rows taken so far."""
        for rows in self._loose.values():
            if rows.line:
                self.add_block(rows.take())
        return self._blocks

    def _padded(self, record: Record, cells: list[str], width: int) -> list[str]:
        """The cells with blank ones for missing trailing cells, which are noted."""
        if len(cells) >= width:
            return cells
        if _any_filled(cells):
            code = ProblemCode.MISSING_TRAILING_CELLS
            self.notices.add(record.file, code, [record.line], record.raw_line)
        return cells + [""] * (width - len(cells))

    def _without_headers(self, block: Block) -> Block:
        """The block without repeated headers, which are noted."""
        repeated = _repeated_headers(block)
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

    def _refuse(self, record: Record, width: int) -> None:
        """Note what is wrong with the form of a record, unless it is blank."""
        if record.is_decodable and record.cells is not None and not _any_filled(record.cells):
            return
        file = record.file
        self.rows_read[file] += 1
        self.rows_rejected[file] += 1
        self._refused[file] += 1
        code, note = _fault_of_form(record, width)
        if self._refused[file] > MOST_PROBLEMS:
            self.more[file][code] += 1
            return
        source = self._sources[file]
        value = safe_value(record.raw_line.rstrip("\r\n"))
        self.problems.append(Problem(code, source.key, source.etag, note, record.line, value=value))


def first_of_each(groups: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Which values are among the first `most` of their group; equal ones stand together."""
    if len(groups) <= most:
        return np.ones(len(groups), dtype=np.bool_)
    begins = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    sizes = np.diff(begins, append=len(groups))
    first: NDArray[np.bool_] = np.arange(len(groups)) - np.repeat(begins, sizes) < most
    return first


def strip(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells as str.strip() would leave them."""
    return pc.utf8_trim(cells, characters=WHITESPACE)


def _without_blank_rows(block: Block) -> Block:
    blank = reduce(pc.and_, (pc.equal(pc.binary_length(cells), 0) for cells in block.cells))
    return block.without(blank.to_numpy()) if pc.any(blank).as_py() else block


def _repeated_headers(block: Block) -> list[int]:
    """The rows that repeat the header, found by their `birthts` cell."""
    birthts = block.cells[block.columns.index(_TELLING)]
    size = pc.binary_length(birthts)
    is_as_long = pc.or_(*(pc.equal(size, length) for length in _TELLING_BYTES))
    if not pc.any(is_as_long).as_py():
        return []
    begins_so = pc.match_substring_regex(birthts.filter(is_as_long), "^[bB]")
    if not pc.any(begins_so).as_py():
        return []
    where = np.flatnonzero(is_as_long.to_numpy())[begins_so.to_numpy()]
    rows = zip(*(cells.take(pa.array(where)).to_pylist() for cells in block.cells), strict=True)
    found = zip(where.tolist(), rows, strict=True)
    return [index for index, cells in found if is_header(cells, block.columns)]


def _any_filled(cells: Sequence[str]) -> bool:
    return any(cell.strip() for cell in cells)


def _fault_of_form(record: Record, width: int) -> tuple[ProblemCode, str]:
    cells = record.cells
    if not record.is_decodable:
        return ProblemCode.UNDECODABLE, _ENCODING_NOTE
    if cells is None:
        return ProblemCode.UNCLOSED_QUOTE, _QUOTE_NOTE
    note = f"Give the row {width} cells, as in the header; it has {len(cells)}."
    if len(cells) < width:
        return ProblemCode.SHORT_ROW, note
    return (
        ProblemCode.LONG_ROW,
        f"{note} Put a cell that holds the delimiter between double quotes.",
    )


_ENCODING_NOTE = (
    "The row is neither UTF-8 nor cp1252, or it has surrogates encoded as UTF-8 (CESU-8). "
    "Export it as UTF-8."
)
_QUOTE_NOTE = (
    "A quoted cell that begins on this line is not closed properly. End it with one double "
    "quote just before the delimiter, and write a quote inside it twice."
)


class _LooseRows:
    """Rows that came one by one, until there are enough to make columns of.

    The cells lie in one flat list: a list for each row would keep the garbage collector busy
    for as long as the reading itself takes.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns = columns
        self._file: list[int] = []
        self._cells: list[str] = []
        self.line: list[int] = []

    def add(self, file: int, line: int, cells: list[str]) -> None:
        """Take a row; cells beyond the columns are left out."""
        self._file.append(file)
        self.line.append(line)
        self._cells += cells[: len(self._columns)]

    def take(self) -> Block:
        """Give away what has come so far."""
        width = len(self._columns)
        block = Block(
            self._columns,
            np.array(self._file, dtype=np.int64),
            np.array(self.line, dtype=np.int64),
            [
                pa.chunked_array([pa.array(self._cells[place::width], pa.large_string())])
                for place in range(width)
            ],
        )
        self._file, self._cells, self.line = [], [], []
        return block
