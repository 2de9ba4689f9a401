"""The full parser: the records of a file one by one, with quotes.

An unclosed quote must not swallow the rows after it. A broken record therefore loses only its
first line, and parsing resumes on the next one. A simple parser could then scan the rest of the
file again for every line. This one scans each line at most twice: as the start of a record, and
as the inside of a quote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.read.csv.quoting import Scan, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etl.read.rows.header import FileHeader

MAX_LINES = 1_000
MAX_CHARACTERS = 1_048_576


class RecordReader:
    """Every record from line `first` on, including blank ones: its first line and its cells.

    Lines count from 0 here. Cells are not stripped, and None if the record is broken.

    A record on one line may have any number of cells. A record on several lines is broken unless

    - it is as wide as the header without blank surplus cells, or lacks only trailing cells of
      unknown columns; and
    - it spans at most 1,000 lines and 1,048,576 characters, not counting its last line ending.

    If more lines will follow (`is_cut`), iteration ends before the first record that they could
    complete; `next_line` is its first line.
    """

    def __init__(
        self, lines: Sequence[str], first: int, header: FileHeader, *, is_cut: bool = False
    ) -> None:
        self._lines = lines
        self._delimiter = header.delimiter
        self._quote = header.layout.quote
        self._quoted = _QuotedRecords(lines, header, is_cut=is_cut)
        self.next_line = first

    def __iter__(self) -> Iterator[tuple[int, list[str] | None]]:
        """Continue at `next_line`."""
        while self.next_line < len(self._lines):
            start = self.next_line
            found = self._read(start)
            if found is None:
                return
            cells, self.next_line = found
            yield start, cells

    def line_after(self, start: int) -> int | None:
        """The line after the record on line `start`; None if that depends on lines to come.

        `start` grows from call to call, and may be within another record.
        """
        found = self._read(start)
        return None if found is None else found[1]

    def _read(self, start: int) -> tuple[list[str] | None, int] | None:
        line = self._lines[start]
        if self._quote and self._quote in line:
            return self._quoted.read(start)
        return _body(line).split(self._delimiter), start + 1


class _QuotedRecords:
    """Parses the records that contain quotes."""

    def __init__(self, lines: Sequence[str], header: FileHeader, *, is_cut: bool) -> None:
        self._lines = lines
        self._is_cut = is_cut
        self._width = len(header.columns)
        self._fewest = header.fewest_cells
        self._tokenizer = Tokenizer(header.delimiter, header.layout.quote)
        self._inside = _Inside(lines, self._tokenizer, 0)

    def read(self, start: int) -> tuple[list[str] | None, int] | None:
        """The cells of the record on line `start`, or None if broken, and the next record's line.

        None instead of both if the record depends on lines still to come.
        """
        head = self._tokenizer.scan(_body(self._lines[start]))
        if head is None or head.opened is None:
            return (None if head is None else head.cells), start + 1
        if not self._inside.covers(start + 1):
            self._inside = _Inside(self._lines, self._tokenizer, start + 1)
        last = self._inside.last_line(start)
        if last is None and self._is_cut and self._inside.could_continue(start):
            return None
        if last is not None:
            cells = self._long_record(start, last, head)
            if cells is not None:
                return cells, last + 1
        return None, start + 1

    def _long_record(self, start: int, last: int, head: Scan) -> list[str] | None:
        before = len(head.cells)
        if before + self._inside.cells_closed(start + 1, last) < self._fewest:
            return None
        filled = self._inside.last_filled_cell(start + 1)
        if filled and before + filled > self._width:
            return None
        cells: list[str] = []
        for cell in self._cells(start, last, head):
            if len(cells) < self._width:
                cells.append(cell)
            elif cell.strip():
                return None
        return cells

    def _cells(self, start: int, last: int, head: Scan) -> Iterator[str]:
        """The cells as they close, so that the caller can stop early."""
        yield from head.cells
        fragments = [self._tokenizer.unescape(self._lines[start][head.opened :])]
        for index in range(start + 1, last + 1):
            scan = self._inside.scan_of(index)
            if scan.cells:
                yield "".join([*fragments, scan.cells[0]])
                yield from scan.cells[1:]
                fragments.clear()
            if scan.opened is not None:
                fragments.append(self._tokenizer.unescape(self._lines[index][scan.opened :]))


class _Inside:
    """Lines from `first` on, scanned as if a quote were open at the start of `first`.

    The scan of a line inside a quote does not depend on where the quote was opened. All records
    that extend into these lines therefore share one scan, which only moves forward.
    """

    def __init__(self, lines: Sequence[str], tokenizer: Tokenizer, first: int) -> None:
        self._lines = lines
        self._tokenizer = tokenizer
        self._first = first
        self._scans: list[Scan] = []
        self._cells = [0]
        self._characters = [0]
        self._last_filled = 0
        self._is_open_cell_filled = False
        self._is_over = False

    def covers(self, index: int) -> bool:
        """Whether a record may extend into these lines at `index`."""
        return self._first <= index < self._next or (index == self._next and not self._is_over)

    def last_line(self, start: int) -> int | None:
        """The last line of the record that starts on line `start`; None if it is broken."""
        while not self._is_over and self._next < len(self._lines):
            if not self._within_limits(start, self._next):
                return None
            self._read_next()
        last = self._next - 1
        is_closed = self._is_over and len(self._scans) == last + 1 - self._first
        return last if is_closed and self._within_limits(start, last) else None

    def could_continue(self, start: int) -> bool:
        """Whether the record that starts on line `start` is still open after the last line."""
        if self._is_over or self._next < len(self._lines):
            return False
        return self._next - start < MAX_LINES and self._length(start, self._next) <= MAX_CHARACTERS

    def cells_closed(self, first: int, last: int) -> int:
        """The number of cells that end on the lines `first` to `last`."""
        return self._cells[last + 1 - self._first] - self._cells[first - self._first]

    def last_filled_cell(self, first: int) -> int:
        """The number, from 1, of the last nonblank cell among those that end on `first` or later.

        0 if all are blank, or if it is the first one, which began on an unknown line before.
        """
        place = self._last_filled - self._cells[first - self._first]
        return place if place > 1 else 0

    def scan_of(self, index: int) -> Scan:
        """The scan of one line."""
        return self._scans[index - self._first]

    @property
    def _next(self) -> int:
        return self._first + len(self._characters) - 1

    def _within_limits(self, start: int, last: int) -> bool:
        characters = self._length(start, last) + len(_body(self._lines[last]))
        return last - start < MAX_LINES and characters <= MAX_CHARACTERS

    def _length(self, start: int, end: int) -> int:
        """The number of characters on the lines from `start` up to, but not including, `end`."""
        between = self._characters[end - self._first] - self._characters[start + 1 - self._first]
        return len(self._lines[start]) + between

    def _read_next(self) -> None:
        line = self._lines[self._next]
        scan = self._tokenizer.scan(_body(line), inside=True)
        if scan is not None:
            self._track_filled(line, scan)
            self._scans.append(scan)
            self._cells.append(self._cells[-1] + len(scan.cells))
        self._characters.append(self._characters[-1] + len(line))
        self._is_over = scan is None or scan.opened is None

    def _track_filled(self, line: str, scan: Scan) -> None:
        for place, cell in enumerate(scan.cells):
            if cell.strip() or self._is_open_cell_filled:
                self._last_filled = self._cells[-1] + place + 1
            self._is_open_cell_filled = False
        if scan.opened is not None and line[scan.opened :].strip():
            self._is_open_cell_filled = True


def _body(line: str) -> str:
    return line.rstrip("\r\n")
