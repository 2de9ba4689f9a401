"""Read the rows of a sheet, some at a time, as every reader returns them."""

from __future__ import annotations

from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from etl.model.errors import RefusedObject
from etl.model.routing import path_names
from etl.model.values import ProblemCode, Severity
from etl.read.rows.collect import Block, Collector
from etl.read.rows.extract import Extract, add_no_rows, to_extract
from etl.read.rows.header import HeaderFault, header_of
from etl.read.rows.header_hints import looks_like_header
from etl.read.rows.layout import AddedColumns, Layout
from etl.read.rows.notices import Notices
from etl.read.validate import validate
from etl.read.xlsx.cells import CellFault, CellTexts
from etl.read.xlsx.workbook import faults, open_sheet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject
    from etl.read.rows.header import FileHeader
    from etl.read.xlsx.workbook import OpenSheet

MOST_COLUMNS = 1_000
_BATCH_CELLS = 400_000
_BATCH_ROWS = 20_000
_TEXT = pa.large_string()
_SHOWN_CELLS = 10


def read(
    source: SourceObject, dataset: Dataset, added: AddedColumns | None, parts: Iterable[bytes]
) -> Iterator[Extract]:
    """The rows of the sheet, as `etl.read.formats.read_object` returns them.

    Raises:  as there.
    """
    added = AddedColumns() if added is None else added
    layout = Layout(dataset, path_names(dataset), added=added)
    sheet = open_sheet(parts, dataset.sheet)
    rows = _Rows(sheet)
    header_row, header = _find_header(rows, layout, sheet)
    reader = _SheetReader(source, layout, header, sheet)
    step = max(1, min(_BATCH_ROWS, _BATCH_CELLS // len(header.columns)))
    first = header_row + 1
    while some := rows.take(step):
        yield reader.read(first, some)
        first += len(some)
    yield reader.finish()


class _Rows:
    """The rows of a sheet from its first one; some may be read ahead."""

    def __init__(self, sheet: OpenSheet) -> None:
        self._coming = sheet.rows()
        self._ahead: list[list[Any]] = []

    def take(self, count: int) -> list[list[Any]]:
        """The next rows, at most that many."""
        found = self._ahead[:count]
        del self._ahead[:count]
        return found + self._next(count - len(found))

    def peek(self, count: int) -> list[list[Any]]:
        """The next rows, which stay."""
        self._ahead += self._next(count - len(self._ahead))
        return self._ahead[:count]

    def _next(self, count: int) -> list[list[Any]]:
        if count <= 0:
            return []
        with faults():
            return list(islice(self._coming, count))


def _find_header(rows: _Rows, layout: Layout, sheet: OpenSheet) -> tuple[int, FileHeader]:
    """The 0-based row of the header, and its columns.

    Raises:  RefusedObject.
    """
    number = layout.dataset.dialect.header_row - 1
    while number and (skipped := len(rows.take(min(number, _BATCH_ROWS)))):
        number -= skipped
    row = layout.dataset.dialect.header_row - 1
    while some := rows.take(1):
        names = _names(some[0], sheet, row)
        if any(names):
            return row, _header(names, row, rows, layout, sheet)
        row += 1
    raise RefusedObject(
        ProblemCode.EMPTY_FILE,
        f"The sheet {sheet.name!r} has no cells. Fill it, declare another `sheet`, or remove the "
        "file from the bucket.",
    )


def _header(
    names: list[str], row: int, rows: _Rows, layout: Layout, sheet: OpenSheet
) -> FileHeader:
    if len(names) > MOST_COLUMNS:
        raise RefusedObject(
            ProblemCode.TOO_MANY_COLUMNS,
            f"The sheet has more than {MOST_COLUMNS:,} columns. Remove columns you do not need.",
        )

    def remedy(_missing: Sequence[str], _columns: Sequence[str]) -> str:
        below = ((row + n, _names(one, sheet, row + n)) for n, one in enumerate(rows.peek(20), 1))
        return looks_like_header(layout, ((at + 1, cells) for at, cells in below), "row")

    found = header_of(names, layout, remedy=remedy)
    if isinstance(found, HeaderFault):
        shown = ", ".join(filter(None, names[:_SHOWN_CELLS]))
        raise RefusedObject(found.code, found.hint, shown)
    return found


def _names(values: Sequence[object], sheet: OpenSheet, row: int) -> list[str]:
    """The texts of a row, as of a header."""
    texts, _ = CellTexts(None).texts(values)
    first = sheet.first_column
    return [
        text or sheet.scan.errors.get((row, first + place), "") for place, text in enumerate(texts)
    ]


class _SheetReader:
    """Turns rows below a header into Extracts."""

    def __init__(
        self, source: SourceObject, layout: Layout, header: FileHeader, sheet: OpenSheet
    ) -> None:
        self._source = source
        self._layout = layout
        self._header = header
        self._sheet = sheet
        self._notices = Notices()
        self._rows_read = 0
        self._is_begun = False
        fields = {one.name: one for one in layout.dataset.fields}
        self._fields = [
            None if name in layout.path else fields.get(name) for name in header.columns
        ]
        self._texts = [
            CellTexts(one, self._missing(place), is_1904=sheet.is_1904)
            for place, one in enumerate(self._fields)
        ]

    def read(self, first: int, rows: Sequence[Sequence[object]]) -> Extract:
        """The Extract of some rows; `first` is the 0-based number of the first one."""
        collector = self._collector()
        faults: dict[int, list[tuple[str, CellFault]]] = {}
        columns = []
        for place, values in enumerate(zip(*rows, strict=True)):
            texts, faulty = self._texts[place].texts(values)
            faulty |= self._add_missing(place, first, texts)
            for at, fault in faulty.items():
                faults.setdefault(at, []).append((self._header.columns[place], fault))
            columns.append(texts)
        block = Block(
            self._header,
            np.zeros(len(rows), np.int64),
            np.arange(first + 1, first + len(rows) + 1),
            [pa.chunked_array([pa.array(texts, _TEXT)]) for texts in columns],
        )
        if faults:
            keep = np.ones(len(rows), np.bool_)
            keep[list(faults)] = False
            self._add_faults_of_texts(first, faults, block.without(keep))
            block = block.without(~keep)
        for at, found in sorted(faults.items()):
            add = collector.reject_row
            for name, fault in sorted(found):
                add(0, first + at + 1, fault.code, fault.hint, fault.value, name)
                add = collector.add_fault
        collector.add_block(block)
        return self._extract(collector)

    def _add_faults_of_texts(
        self, first: int, faults: dict[int, list[tuple[str, CellFault]]], faulty: Block
    ) -> None:
        """Add the faults of all other cells in rows that have one.

        The latest valid date is not known here, so a date may be rejected later, once all is well.
        """
        collector = Collector([self._source], Notices())
        collector.add_block(faulty)
        texts = to_extract([self._source], self._layout, collector).rows
        etags = {self._source.key: self._source.etag}
        checked = validate(texts, self._layout.dataset, etags, date.max)
        known = {(first + at + 1, name) for at, found in faults.items() for name, _ in found}
        for one in checked.problems:
            line, name = one.line or 0, one.column or ""
            if one.severity is Severity.ERROR and (line, name) not in known:
                fault = CellFault(one.code, one.note, one.value or "")
                faults[line - first - 1].append((name, fault))

    def finish(self) -> Extract:
        """The problems of the sheet as a whole."""
        collector = self._collector()
        if not self._rows_read:
            add_no_rows(0, collector)
        collector.add_warnings()
        return self._extract(collector)

    def _collector(self) -> Collector:
        collector = Collector([self._source], self._notices)
        if not self._is_begun:
            collector.accept(0, self._header)
            self._is_begun = True
        return collector

    def _extract(self, collector: Collector) -> Extract:
        self._rows_read += collector.rows_read[0]
        return to_extract([self._source], self._layout, collector)

    def _missing(self, place: int) -> tuple[str, ...]:
        one = self._fields[place]
        if one is None or one.missing_values is None:
            return self._layout.dataset.missing_values
        return one.missing_values

    def _add_missing(self, place: int, first: int, texts: list[str | None]) -> dict[int, CellFault]:
        """Fill in the errors of a column, and return those of a declared one as faults."""
        scan, column = self._sheet.scan, self._sheet.first_column + place
        faults = {}
        for found, code, hint in (
            (scan.errors, ProblemCode.ERROR_VALUE, _ERROR_HINT),
            (scan.formulas, ProblemCode.FORMULA_WITHOUT_VALUE, _FORMULA_HINT),
        ):
            if not found:
                continue
            for at in range(len(texts)):
                text = found.get((first + at, column))
                if text is None or texts[at] is not None or text in self._missing(place):
                    continue
                if self._fields[place] is not None:
                    faults[at] = CellFault(code, hint, text)
                elif code is ProblemCode.ERROR_VALUE:
                    texts[at] = text
        return faults


_ERROR_HINT = "The formula of the cell has an error. Correct it, and save the workbook again."
_FORMULA_HINT = (
    "The workbook has no value for this formula, because the program that wrote it does not "
    "calculate. Open it in a spreadsheet program and save it, or write values."
)
