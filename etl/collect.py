"""What reading a batch of files gathers: blocks of rows, figures and problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from etl.model import Problem, ProblemCode, Severity, SourceObject
from etl.safe_text import safe_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_ROWS_A_BLOCK = 100_000


@dataclass(frozen=True)
class Block:
    """Rows under one header, column by column.

    Shapes:  file (n,) place of the row's file in the batch; line (n,) physical line, from 1;
             cells: one Arrow large_string array (n,) for each of `columns`, stripped.
    """

    columns: tuple[str, ...]
    file: NDArray[np.int64]
    line: NDArray[np.int64]
    cells: list[pa.ChunkedArray]


class Collector:
    """Takes rows and faults as readers find them; a file is named by its place in the batch."""

    def __init__(self, sources: Sequence[SourceObject]) -> None:
        self._sources = sources
        self._blocks: list[Block] = []
        self._loose: dict[tuple[str, ...], _LooseRows] = {}
        self.rows_read = [0] * len(sources)
        self.problems: list[Problem] = []

    def add_block(self, block: Block) -> None:
        """Take rows that are cut and stripped already."""
        self._blocks.append(block)
        files, counts = np.unique(block.file, return_counts=True)
        for file, count in zip(files.tolist(), counts.tolist(), strict=True):
            self.rows_read[file] += count

    def add_record(
        self,
        columns: tuple[str, ...],
        file: int,
        line: int,
        raw_line: str,
        cells: Sequence[str] | None,
    ) -> None:
        """Take one record: a row, a blank one, or (cells None) one whose quotes are broken."""
        if cells is None:
            self._refuse_row(file, line, raw_line, ProblemCode.UNCLOSED_QUOTE, _QUOTE_NOTE)
            return
        stripped = [cell.strip() for cell in cells]
        if not any(stripped):
            return
        width, found = len(columns), len(stripped)
        if found < width:
            note = f"Give the row {width} cells, as in the header; it has {found}."
            self._refuse_row(file, line, raw_line, ProblemCode.SHORT_ROW, note)
        elif any(stripped[width:]):
            note = (
                f"Give the row {width} cells, as in the header; it has {found}. "
                "Put a cell that holds the delimiter between double quotes."
            )
            self._refuse_row(file, line, raw_line, ProblemCode.LONG_ROW, note)
        else:
            self._keep(columns, file, line, stripped[:width])

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
            Problem(code, source.key, source.etag, note, line, column, safe_value(value))
        )

    def blocks(self) -> Iterator[Block]:
        """All rows taken so far."""
        for columns, rows in self._loose.items():
            if rows.cells:
                self._blocks.append(rows.as_block(columns))
                rows.clear()
        yield from self._blocks

    def _keep(self, columns: tuple[str, ...], file: int, line: int, cells: list[str]) -> None:
        self.rows_read[file] += 1
        rows = self._loose.setdefault(columns, _LooseRows())
        rows.add(file, line, cells)
        if len(rows.cells) >= _ROWS_A_BLOCK:
            self._blocks.append(rows.as_block(columns))
            rows.clear()

    def _refuse_row(
        self, file: int, line: int, raw_line: str, code: ProblemCode, note: str
    ) -> None:
        self.rows_read[file] += 1
        source = self._sources[file]
        value = safe_value(raw_line.rstrip("\r\n"))
        self.problems.append(Problem(code, source.key, source.etag, note, line, value=value))


_QUOTE_NOTE = (
    "A quoted cell that begins on this line is not closed properly. End it with one double "
    "quote just before the delimiter, and write a quote inside it twice."
)


class _LooseRows:
    """Rows that came one by one, until there are enough to make columns of."""

    def __init__(self) -> None:
        self.file: list[int] = []
        self.line: list[int] = []
        self.cells: list[list[str]] = []

    def add(self, file: int, line: int, cells: list[str]) -> None:
        self.file.append(file)
        self.line.append(line)
        self.cells.append(cells)

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]

    def as_block(self, columns: tuple[str, ...]) -> Block:
        return Block(
            columns,
            np.array(self.file, dtype=np.int64),
            np.array(self.line, dtype=np.int64),
            [
                pa.chunked_array([pa.array(cells, pa.large_string())])
                for cells in zip(*self.cells, strict=True)
            ],
        )
