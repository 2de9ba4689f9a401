"""Files with planted faults, written with the standard library alone.

The generator records the values of each valid row and, for each fault, the line, code, column,
value and words of the note. Nothing here comes from the readers under test.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN_CHARACTERS = 100


class Fault(NamedTuple):
    """A kind of faulty row: its raw text, and its problems.

    In the text, {n} is the row's number in six digits. A byte that is not UTF-8 is written as
    `surrogateescape` does. The problems are (code, column, words of the note); a problem of the
    whole row has no column.
    """

    raw: str
    problems: tuple[tuple[str, str | None, str], ...]

    @property
    def is_plain(self) -> bool:
        """Whether the file that it is in stays UTF-8 without quotes and NUL."""
        return not set('"\0\n') & set(self.raw) and self.raw.isprintable()


def fault(raw: str, code: str, column: str | None, note: str) -> Fault:
    """A kind of row with one fault."""
    return Fault(raw, ((code, column, note),))


class Found(NamedTuple):
    """A problem as it must be reported; `note` is a part of the reported one."""

    line: int | None
    column: str | None
    code: str
    value: str | None
    note: str


@dataclass
class PlantedFile:
    """One file: the values of each valid row by its line, and the problems.

    `extra` is by line what is in no declared column. `planted` counts the rows of each kind of
    fault. An object `is_refused` whole if none of its rows may be loaded.
    """

    content: bytes = b""
    rows: dict[int, Any] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    extra: dict[int, dict[str, str]] = field(default_factory=dict)
    planted: Counter[str] = field(default_factory=Counter)
    is_refused: bool = False

    @property
    def problems(self) -> set[tuple[int | None, str | None, str]]:
        """The line, column and code of each problem."""
        return {(one.line, one.column, one.code) for one in self.found}

    @property
    def rejected(self) -> set[int]:
        """The lines of the faulty rows."""
        return {one.line for one in self.found if one.line is not None} - set(self.rows)

    @property
    def rows_read(self) -> int:
        """The number of valid and of faulty rows."""
        return len(self.rows) + len(self.rejected)


class Writing(NamedTuple):
    """How a file is written. `extra` is a first column that no dataset declares."""

    ending: str = "\n"
    bom: str = ""
    extra: str = ""


LF, CRLF = Writing(), Writing(ending="\r\n")


class FileWriter:
    """Writes rows and faults, and counts the physical lines."""

    def __init__(
        self, header: Sequence[str], columns: Sequence[str], delimiter: str, how: Writing
    ) -> None:
        self._columns, self._delimiter, self._how = columns, delimiter, how
        self._buffer = io.StringIO(newline="")
        self._cells = csv.writer(self._buffer, delimiter=delimiter, lineterminator=how.ending)
        self._line = 1
        self._made = PlantedFile()
        self._buffer.write(how.bom)
        self._write([how.extra] if how.extra else [], header)

    def add(self, cells: Sequence[str], values: object) -> int:
        """Write a valid row; return its line."""
        line = self._line
        self._made.rows[line] = values
        first = []
        if self._how.extra:
            first = [f"extra {line}"]
            self._made.extra[line] = {self._how.extra: first[0]}
        self._write(first, cells)
        return line

    def warn(self, line: int, code: str, column: str, value: str, note: str) -> None:
        """Expect a warning of a valid row."""
        self._made.found.append(Found(line, column, code, value, note))

    def plant(self, kind: Fault, number: int, **named: str) -> None:
        """Write a faulty row."""
        own = kind.raw.format(n=f"{number:06d}", **named)
        raw = f"extra{self._delimiter}{own}" if self._how.extra else own
        for code, column, note in kind.problems:
            value = raw if column is None else self._cell(own, column)
            self._made.found.append(Found(self._line, column, code, shown(value), note))
        self._made.planted[kind.raw] += 1
        self._buffer.write(raw + self._how.ending)
        self._line += 1 + raw.count("\n")

    def end(self) -> PlantedFile:
        """The file."""
        self._made.content = self._buffer.getvalue().encode("utf-8", "surrogateescape")
        return self._made

    def _cell(self, raw: str, column: str) -> str:
        (cells,) = csv.reader(io.StringIO(raw, newline=""), delimiter=self._delimiter)
        return cells[self._columns.index(column)].strip()

    def _write(self, first: list[str], cells: Sequence[str]) -> None:
        self._cells.writerow([*first, *cells])
        self._line += 1 + sum(cell.count("\n") for cell in cells)


def shown(value: str) -> str:
    """The value as problems show it: control characters escaped, cut to 100 characters."""
    escaped = value.replace("\0", r"\x00").replace("\n", r"\n").replace("\r", r"\r")
    escaped = escaped.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if len(escaped) <= _SHOWN_CHARACTERS:
        return escaped
    return escaped[: _SHOWN_CHARACTERS - 1] + "…"
