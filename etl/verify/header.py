"""Parse the header of a file: its delimiter and its column names."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.model.dataset import ShortRows
from etl.model.values import ProblemCode
from etl.verify.layout import folded
from etl.verify.records import QuoteError, Shape, read_cells
from etl.verify.text import FileError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from etl.verify.layout import ObjectColumns
    from etl.verify.text import DecodedFile

MAX_COLUMNS = 1_000

_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Header:
    """A header: normalized column names, the shape of its records, and their first line."""

    layout: ObjectColumns
    names: list[str]
    shape: Shape
    next_line: int

    def is_repeated_by(self, cells: Sequence[str]) -> bool:
        """Whether a record repeats the column names of the header."""
        if len(cells) != len(self.names):
            return False
        for number, (cell, name) in enumerate(zip(cells, self.names, strict=True), start=1):
            if _normalized(cell, number, self.layout).casefold() != name.casefold():
                return False
        return True


@dataclass(frozen=True, slots=True)
class _SplitHeader:
    """The cells of a header line for one delimiter, up to a quote error or the maximum width."""

    cells: list[str]
    is_broken: bool


class HeaderReader:
    """Finds and validates headers of one dataset; the columns `elsewhere` need not be in them."""

    def __init__(self, layout: ObjectColumns, elsewhere: Collection[str]) -> None:
        dataset = layout.dataset
        self._layout = layout
        self._elsewhere = elsewhere
        self._quote = dataset.dialect.quote_char
        self._own = {field.name for field in dataset.fields if field.name not in elsewhere}
        self._filled = set(layout.filled) - set(elsewhere)
        self._required = self._filled - {dataset.id_from_name}

    def read(self, decoded: DecodedFile, delimiter: str | None) -> Header:
        """Find the header; `delimiter` is the only one possible, or None.

        Raises:  FileError with its first fault.
        """
        # At least one line is not blank, because empty files were rejected before.
        lines = (decoded.text[line.start : line.end] for line in decoded.lines)
        index, raw = next((n, line) for n, line in enumerate(lines) if line.strip() != "")
        if index in decoded.undecodable:
            raise FileError(ProblemCode.UNDECODABLE)
        if "\0" in raw:
            raise FileError(ProblemCode.NUL_BYTE)
        delimiter, split = self._choose(raw, delimiter)
        if len(split.cells) > MAX_COLUMNS or (split.is_broken and len(split.cells) == MAX_COLUMNS):
            raise FileError(ProblemCode.TOO_MANY_COLUMNS)
        if split.is_broken:
            raise FileError(ProblemCode.UNCLOSED_QUOTE)
        names = [
            _normalized(cell, number, self._layout)
            for number, cell in enumerate(split.cells, start=1)
        ]
        self._check_names(names)
        return Header(self._layout, names, self._shape(delimiter, names), index + 1)

    def _choose(self, header: str, only: str | None) -> tuple[str, _SplitHeader]:
        """Choose the first delimiter that yields the required columns.

        If none does, or none is required, choose the one that yields the most declared columns,
        of those the most frequent one outside quotes.
        """
        if only is not None:
            return only, self._split(header, only)
        unquoted = header
        if self._quote:
            quote = re.escape(self._quote)
            unquoted = re.sub(f"{quote}[^{quote}]*{quote}?", "", header)
        best, most = None, (-1, -1)
        for delimiter in _DELIMITERS:
            split = self._split(header, delimiter)
            known = {self._layout.by_header.get(folded(cell)) for cell in split.cells} - {None}
            if self._required and known.issuperset(self._required):
                return delimiter, split
            rank = len(known), unquoted.count(delimiter)
            if rank > most:
                best, most = (delimiter, split), rank
        assert best is not None  # noqa: S101  # ranks are not negative
        return best

    def _split(self, header: str, delimiter: str) -> _SplitHeader:
        cells: list[str] = []
        try:
            for cell, _ in read_cells(header, 0, len(header), delimiter, self._quote):
                cells.append(cell.strip())
                if len(cells) > MAX_COLUMNS:
                    break
        except QuoteError:
            return _SplitHeader(cells, is_broken=True)
        return _SplitHeader(cells, is_broken=False)

    def _check_names(self, names: list[str]) -> None:
        if max(Counter(names).values()) > 1:
            raise FileError(ProblemCode.DUPLICATE_COLUMN)
        is_of_something_else = bool(self._own) and self._own.isdisjoint(names)
        if is_of_something_else or not self._required.issubset(names):
            raise FileError(ProblemCode.MISSING_COLUMN)

    def _shape(self, delimiter: str, names: list[str]) -> Shape:
        """A record must have all cells up to the last declared one or, padded, required one."""
        dataset = self._layout.dataset
        needed = self._filled if dataset.short_rows is ShortRows.PAD else self._own
        untrimmed = {field.name for field in dataset.fields if not field.trim}
        return Shape(
            delimiter=delimiter,
            min_width=max((n for n, name in enumerate(names, 1) if name in needed), default=1),
            width=len(names),
            quote=self._quote,
            untrimmed=frozenset(n for n, name in enumerate(names) if name in untrimmed),
        )


def _normalized(cell: str, number: int, layout: ObjectColumns) -> str:
    """The column of a known name, else the name as written or, if it is empty, its place."""
    name = cell.strip()
    if name == "":
        return f"column_{number}"
    return layout.by_header.get(folded(name), name)
