"""Parse the header of a file: its delimiter and its column names."""

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

    from etl.verify.text import DecodedFile

REQUIRED = ("first_name", "last_name", "birthts")
KNOWN = ("user_id", *REQUIRED)
MAX_COLUMNS = 1_000

_DELIMITERS = ",;\t|"
_QUOTED = re.compile('"[^"]*"?')


@dataclass(frozen=True, slots=True)
class Header:
    """A header: normalized column names, the shape of its records, and their first line."""

    names: list[str]
    shape: Shape
    next_line: int

    def is_repeated_by(self, cells: Sequence[str]) -> bool:
        """Whether a record repeats the column names of the header."""
        return len(cells) == len(self.names) and all(
            _normalized(cell, number).casefold() == name.casefold()
            for number, (cell, name) in enumerate(zip(cells, self.names, strict=True), start=1)
        )


@dataclass(frozen=True, slots=True)
class _SplitHeader:
    """The cells of a header line for one delimiter, up to a quote error or the maximum width."""

    cells: list[str]
    is_broken: bool


def read_header(decoded: DecodedFile, key_user_id: str) -> Header:
    """Find and validate the header.

    Raises:  FileError with its first fault.
    """
    # At least one line is not blank, because empty files were rejected before.
    lines = (decoded.text[line.start : line.end] for line in decoded.lines)
    index, raw = next((n, line) for n, line in enumerate(lines) if line.strip() != "")
    if index in decoded.undecodable:
        raise FileError(ProblemCode.UNDECODABLE)
    if "\0" in raw:
        raise FileError(ProblemCode.NUL_BYTE)
    delimiter, split = _choose(raw)
    if len(split.cells) > MAX_COLUMNS or (split.is_broken and len(split.cells) == MAX_COLUMNS):
        raise FileError(ProblemCode.TOO_MANY_COLUMNS)
    if split.is_broken:
        raise FileError(ProblemCode.UNCLOSED_QUOTE)
    names = [_normalized(cell, number) for number, cell in enumerate(split.cells, start=1)]
    _check_names(names, key_user_id)
    # A record must have all cells up to the last known column.
    min_width = max(number for number, name in enumerate(names, start=1) if name in KNOWN)
    return Header(names, Shape(delimiter, min_width, len(names)), index + 1)


def _choose(header: str) -> tuple[str, _SplitHeader]:
    """Choose the first delimiter that yields the required columns.

    If none does, choose the most frequent one outside quotes, to report the fault of the header.
    """
    for delimiter in _DELIMITERS:
        split = _split(header, delimiter)
        if {cell.casefold() for cell in split.cells}.issuperset(REQUIRED):
            return delimiter, split
    most_frequent = max(_DELIMITERS, key=_QUOTED.sub("", header).count)
    return most_frequent, _split(header, most_frequent)


def _split(header: str, delimiter: str) -> _SplitHeader:
    cells: list[str] = []
    try:
        for cell, _ in read_cells(header, 0, len(header), delimiter):
            cells.append(cell)
            if len(cells) > MAX_COLUMNS:
                break
    except QuoteError:
        return _SplitHeader(cells, is_broken=True)
    return _SplitHeader(cells, is_broken=False)


def _normalized(cell: str, number: int) -> str:
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
