"""What reading a batch of files gathers: blocks of rows, figures and problems."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.extract.safe_text import safe_value
from etl.model import Problem, ProblemCode, Severity, SourceObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

# What str.strip() takes away; a test compares the two.
WHITESPACE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)

_ROWS_A_BLOCK = 100_000


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

    Cells are not stripped; None stands for those of a record whose quotes are broken.
    """

    file: int
    line: int
    raw_line: str
    cells: list[str] | None


class Collector:
    """Takes rows and faults as readers find them; a file is named by its place in the batch."""

    def __init__(self, sources: Sequence[SourceObject]) -> None:
        self._sources = sources
        self._blocks: list[Block] = []
        self._loose: dict[tuple[str, ...], _LooseRows] = {}
        self.rows_read = [0] * len(sources)
        self.problems: list[Problem] = []

    def add_block(self, block: Block) -> None:
        """Take rows that have the header's number of cells; blank ones are left out."""
        block = _without_blank_rows(replace(block, cells=[strip(cells) for cells in block.cells]))
        files, counts = np.unique(block.file, return_counts=True)
        for file, count in zip(files.tolist(), counts.tolist(), strict=True):
            self.rows_read[file] += count
        self._blocks.append(block)

    def add_records(self, columns: tuple[str, ...], records: Iterable[Record]) -> None:
        """Take records of any number of cells, also blank and broken ones."""
        width = len(columns)
        rows = self._loose.setdefault(columns, _LooseRows(columns))
        for record in records:
            cells = record.cells
            if cells is None or len(cells) < width or _any_filled(cells[width:]):
                self._refuse(record, width)
                continue
            rows.add(record.file, record.line, cells)
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

    def cell_problem(  # noqa: PLR0913, PLR0917 - a fault and where it stands
        self, file: int, line: int, column: str, value: str, code: ProblemCode, note: str
    ) -> None:
        """Note a fault of one cell of a row that counts as read."""
        source = self._sources[file]
        self.problems.append(
            Problem(
                code, source.key, source.etag, note, line, safe_value(column), safe_value(value)
            )
        )

    def blocks(self) -> list[Block]:
        """All rows taken so far."""
        for rows in self._loose.values():
            if rows.line:
                self.add_block(rows.take())
        return self._blocks

    def _refuse(self, record: Record, width: int) -> None:
        """Note what is wrong with the form of a record, unless it is blank."""
        if record.cells is not None and not _any_filled(record.cells):
            return
        self.rows_read[record.file] += 1
        source = self._sources[record.file]
        code, note = _fault_of_form(record.cells, width)
        value = safe_value(record.raw_line.rstrip("\r\n"))
        self.problems.append(Problem(code, source.key, source.etag, note, record.line, value=value))


def strip(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells as str.strip() would leave them."""
    return pc.utf8_trim(cells, characters=WHITESPACE)


def _without_blank_rows(block: Block) -> Block:
    blank = reduce(pc.and_, (pc.equal(pc.binary_length(cells), 0) for cells in block.cells))
    return block.without(blank.to_numpy()) if pc.any(blank).as_py() else block


def _any_filled(cells: Sequence[str]) -> bool:
    return any(cell.strip() for cell in cells)


def _fault_of_form(cells: Sequence[str] | None, width: int) -> tuple[ProblemCode, str]:
    if cells is None:
        return ProblemCode.UNCLOSED_QUOTE, _QUOTE_NOTE
    note = f"Give the row {width} cells, as in the header; it has {len(cells)}."
    if len(cells) < width:
        return ProblemCode.SHORT_ROW, note
    return (
        ProblemCode.LONG_ROW,
        f"{note} Put a cell that holds the delimiter between double quotes.",
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
