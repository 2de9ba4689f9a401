"""The header of a file: the delimiter that makes the required columns of it, and all columns."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.model.values import ProblemCode
from etl.verify.records import QuoteError, Shape, read_cells
from etl.verify.text import FileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.verify.text import Decoded

REQUIRED = ("first_name", "last_name", "birthts")
KNOWN = ("user_id", *REQUIRED)
MOST_COLUMNS = 1_000

_DELIMITERS = ",;\t|"
_QUOTED = re.compile('"[^"]*"?')


@dataclass(frozen=True, slots=True)
class Header:
    """A header: its columns' final names, what records under it look like, and where they begin."""

    names: list[str]
    shape: Shape
    next_line: int

    def is_repeated_by(self, cells: Sequence[str]) -> bool:
        """Whether a record names the same columns as the header."""
        return len(cells) == len(self.names) and all(
            _final_name(cell, number).casefold() == name.casefold()
            for number, (cell, name) in enumerate(zip(cells, self.names, strict=True), start=1)
        )


@dataclass(frozen=True, slots=True)
class _Cut:
    """A header line cut at one delimiter, as far as it goes well and is not too wide."""

    cells: list[str]
    is_broken: bool


def read_header(decoded: Decoded, key_user_id: str) -> Header:
    """Find the header and check it.

    Raises:  FileError with the first fault it has.
    """
    # There is one that is not blank: an empty file never comes here.
    lines = (decoded.text[line.start : line.end] for line in decoded.lines)
    index, raw = next((n, line) for n, line in enumerate(lines) if line.strip() != "")
    if index in decoded.undecodable:
        raise FileError(ProblemCode.UNDECODABLE)
    if "\0" in raw:
        raise FileError(ProblemCode.NUL_BYTE)
    delimiter, cut = _choose(raw)
    if len(cut.cells) > MOST_COLUMNS or (cut.is_broken and len(cut.cells) == MOST_COLUMNS):
        raise FileError(ProblemCode.TOO_MANY_COLUMNS)
    if cut.is_broken:
        raise FileError(ProblemCode.UNCLOSED_QUOTE)
    names = [_final_name(cell, number) for number, cell in enumerate(cut.cells, start=1)]
    _check_names(names, key_user_id)
    # A record needs all cells up to the last column that is ours.
    fewest = max(number for number, name in enumerate(names, start=1) if name in KNOWN)
    return Header(names, Shape(delimiter, fewest, len(names)), index + 1)


def _choose(header: str) -> tuple[str, _Cut]:
    """Take the first delimiter that yields the required columns.

    Where none does, the header is faulty: its fault is that under the most frequent delimiter
    outside quotes.
    """
    for delimiter in _DELIMITERS:
        cut = _cut(header, delimiter)
        if {cell.casefold() for cell in cut.cells}.issuperset(REQUIRED):
            return delimiter, cut
    most_frequent = max(_DELIMITERS, key=_QUOTED.sub("", header).count)
    return most_frequent, _cut(header, most_frequent)


def _cut(header: str, delimiter: str) -> _Cut:
    cells: list[str] = []
    try:
        for cell, _ in read_cells(header, 0, len(header), delimiter):
            cells.append(cell)
            if len(cells) > MOST_COLUMNS:
                break
    except QuoteError:
        return _Cut(cells, is_broken=True)
    return _Cut(cells, is_broken=False)


def _final_name(cell: str, number: int) -> str:
    if cell == "":
        return f"column_{number}"
    return cell.casefold() if cell.casefold() in KNOWN else cell


def _check_names(names: list[str], key_user_id: str) -> None:
    if max(Counter(names).values()) > 1:
        raise FileError(ProblemCode.DUPLICATE_COLUMN)
    if any(name not in names for name in REQUIRED):
        raise FileError(ProblemCode.MISSING_COLUMN)
    if "user_id" not in names and key_user_id == "":
        raise FileError(ProblemCode.MISSING_COLUMN)
