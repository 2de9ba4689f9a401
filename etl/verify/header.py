"""Parse the header of a file: its delimiter and its column names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from etl.model.dataset import ShortRows
from etl.model.values import ProblemCode
from etl.verify.faults import FileError
from etl.verify.file import normalized
from etl.verify.layout import folded
from etl.verify.records import QuoteError, Shape, read_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.verify.file import DatasetFile
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
            if normalized(cell, number, self.layout).casefold() != name.casefold():
                return False
        return True


@dataclass(frozen=True, slots=True)
class _SplitHeader:
    """The cells of a header line for one delimiter, up to a quote error or the maximum width."""

    cells: list[str]
    is_broken: bool


class HeaderReader:
    """Finds and validates the header of a file."""

    def __init__(self, file: DatasetFile) -> None:
        self._file = file
        self._layout = file.layout
        self._quote = file.layout.dataset.dialect.quote_char

    def read(self, decoded: DecodedFile, delimiter: str | None) -> Header:
        """Find the header; `delimiter` is the only one possible, or None.

        Raises:  FileError with its first fault.
        """
        least = self._layout.dataset.dialect.header_row - 1
        places = islice(enumerate(decoded.lines), least, None)
        lines = ((n, decoded.text[line.start : line.end]) for n, line in places)
        numbered = ((n, line) for n, line in lines if line.strip() != "")
        index, raw = next(numbered, (0, ""))
        if not raw:
            raise FileError(ProblemCode.EMPTY_FILE)
        if index in decoded.undecodable:
            raise FileError(ProblemCode.UNDECODABLE)
        if "\0" in raw:
            raise FileError(ProblemCode.NUL_BYTE)
        delimiter, split = self._choose(raw, delimiter)
        if len(split.cells) > MAX_COLUMNS or (split.is_broken and len(split.cells) == MAX_COLUMNS):
            raise FileError(ProblemCode.TOO_MANY_COLUMNS)
        if split.is_broken:
            raise FileError(ProblemCode.UNCLOSED_QUOTE)
        names = self._file.names(split.cells)
        self._file.check(names)
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
            if self._file.required and known.issuperset(self._file.required):
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

    def _shape(self, delimiter: str, names: list[str]) -> Shape:
        """A record must have all cells up to the last declared one or, padded, required one."""
        dataset = self._layout.dataset
        needed = self._file.filled if dataset.short_rows is ShortRows.PAD else self._file.own
        untrimmed = {field.name for field in dataset.fields if not field.trim}
        return Shape(
            delimiter=delimiter,
            min_width=max((n for n, name in enumerate(names, 1) if name in needed), default=1),
            width=len(names),
            quote=self._quote,
            untrimmed=frozenset(n for n, name in enumerate(names) if name in untrimmed),
        )
