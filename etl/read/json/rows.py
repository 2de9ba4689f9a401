"""Rows of one file, and which columns it has."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from etl.model.dataset import UnknownColumns
from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode
from etl.read.json.objects import RowFault, Text, is_surely_no_json, parse_object, shown
from etl.read.json.typed import read_columns
from etl.read.pieces import MOST_CELLS
from etl.read.rows.collect import MOST_PROBLEMS, Block, Collector
from etl.read.rows.header import FileHeader
from etl.read.rows.header_hints import no_column_hint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from etl.read.json.columns import ColumnPlace, Columns, ObjectRow
    from etl.read.json.objects import Value
    from etl.read.json.typed import ObjectBlock

_MOST_SEEN_CHARACTERS = 1 << 20  # of names that are not declared, for the warnings about them
_MOST_OBJECTS = 10_000  # read one by one, with a dictionary for each
_MOST_TYPED_CELLS = 2 * MOST_CELLS  # of one block; more only if many columns have come with it
_TEXT = pa.large_string()


class TypedRows(NamedTuple):
    """Rows that Arrow has read: their numbers, and whole columns. No text has more bytes."""

    numbers: NDArray[np.int64]
    cells: dict[str, pa.ChunkedArray]
    most_bytes: int | None


class RowProblem(NamedTuple):
    """Why a row is rejected; `column` is None if the row as a whole is at fault."""

    number: int
    code: ProblemCode
    hint: str
    value: str
    column: str | None


@dataclass
class FileRows:
    """The rows of a file, or of a part of it, and the faulty ones; or typed rows.

    `more` counts, by code, the faulty rows after the first 1,000.
    """

    rows: list[ObjectRow] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    more: Counter[ProblemCode] = field(default_factory=Counter)
    typed: TypedRows | None = None

    @property
    def count(self) -> int:
        """The number of rows that were read one by one."""
        return len(self.rows) + len(self.problems) + self.more.total()

    @property
    def has_all_problems(self) -> bool:
        """Whether further faulty rows are only counted."""
        return len(self.problems) >= MOST_PROBLEMS

    def reject(self, text: Text, fault: RowFault) -> None:
        """Add the problem of a row, without the exception, which refers to much else."""
        if self.has_all_problems:
            self.more[fault.code] += 1
        else:
            value = shown(text) if fault.value is None else fault.value
            problem = RowProblem(text.number, fault.code, fault.hint, value, fault.column)
            self.problems.append(problem)


class RowReader:
    """Reads the rows of one file, in parts, and knows which names occurred in it."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._seen: dict[str, ColumnPlace | None] = {}  # None: in _extra
        self._placed: dict[str, ColumnPlace] = {}  # those of _seen that are columns
        self._room = _MOST_SEEN_CHARACTERS
        self._has_objects = False
        self.array_name: str | None = None  # of the first member that is an array of objects

    def read(self, texts: Iterator[Text]) -> FileRows:
        """The next rows and faults, as many as may be read at once; none if there are no texts.

        Raises:  RefusedObject
        """
        found = FileRows()
        most_rows = min(self._columns.most_rows(), _MOST_OBJECTS)
        for text in texts:
            if found.has_all_problems and is_surely_no_json(text):
                found.more[ProblemCode.NOT_JSON] += 1
                continue
            try:
                members = parse_object(text)
                if not members.keys() <= self._seen.keys():
                    self._note(members)
                    most_rows = min(self._columns.most_rows(), _MOST_OBJECTS)
                found.rows.append(self._columns.row(text.number, members))
            except RowFault as fault:
                found.reject(text, fault)
            else:
                self._has_objects = True
                if len(found.rows) >= most_rows:
                    break
        return found

    def read_block(self, block: ObjectBlock) -> FileRows | None:
        """The rows of a block; None if they must be read row by row, with `read`.

        Raises:  RefusedObject
        """
        try:
            members = parse_object(Text(0, block.first))
            places = self._places(members)
        except RowFault:
            return None
        if places is None or len(places) * len(block.numbers) > _MOST_TYPED_CELLS:
            return None
        fields = {name: place.field for name, place in places.items()}
        columns = read_columns(block, fields, self._columns.layout.dataset)
        if columns is None:
            return None
        new = {name: place for name, place in places.items() if name not in self._seen}
        for name in new.keys() - members.keys():
            if columns[name].null_count == len(block.numbers):
                if _may_have_member(block.content, name):
                    return None  # perhaps with nulls, so it is not absent
                del new[name]
        self._seen |= new
        self._placed |= new
        self._has_objects = True
        cells = {place.column: columns[name] for name, place in places.items()}
        has_nul = rb"\u0000" in block.content
        typed = TypedRows(block.numbers, cells, None if has_nul else block.most_bytes)
        return FileRows(typed=typed)

    def _places(self, members: Mapping[str, Value]) -> dict[str, ColumnPlace] | None:
        """The columns of a block by their names in it; None if there are others.

        The first object tells how names are written, then earlier objects.
        """
        places = {name: self._columns.place(name) for name in members}
        declared = {name: self._columns.place(name) for name in self._columns.declared}
        taken = {place.column for place in places.values()}
        if len(taken) < len(places):
            return None
        for name, place in (*self._placed.items(), *declared.items()):
            if place.column not in taken and not place.is_extra:
                taken.add(place.column)
                places[name] = place
        path = self._columns.layout.path
        is_plain = all(not one.is_extra and one.column not in path for one in places.values())
        return places if is_plain else None

    def header(self) -> FileHeader:
        """The columns that occurred, for the warnings about them.

        Raises:  RefusedObject when there are rows, but none has a declared column.
        """
        layout = self._columns.layout
        seen = self._seen.items()
        found = (name.strip() if place is None else place.column for name, place in seen)
        columns = tuple(dict.fromkeys(found))
        if self._has_objects and layout.expected and set(layout.expected).isdisjoint(columns):
            written = [name.strip() for name in self._seen]
            raise RefusedObject(ProblemCode.MISSING_COLUMN, no_column_hint(layout, written))
        is_add = layout.dataset.unknown_columns is UnknownColumns.ADD
        kept = tuple(name.strip() for name, place in seen if place is None)
        not_added = kept if is_add else ()
        return FileHeader(layout, "", columns, not_added=not_added)

    def _note(self, members: Mapping[str, Value]) -> None:
        for name in members:
            if name in self._seen:
                continue
            place = self._columns.place(name)
            is_undeclared = place.column not in self._columns.layout.columns
            if is_undeclared and self._room < len(name):
                continue
            self._room -= is_undeclared * len(name)
            self._seen[name] = None if place.is_extra else place
            if not place.is_extra:
                self._placed[name] = place
            if self.array_name is None and _is_array_of_objects(members[name]):
                self.array_name = name


class RowBuffer:
    """Gathers the rows of some files until they make a block."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._files: list[int] = []
        self._rows: list[ObjectRow] = []

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def add(self, file: int, found: FileRows, collector: Collector) -> None:
        """Add what was read of a file; its faults go to the collector."""
        if found.typed is not None:
            self.flush(collector)
            files = np.full(len(found.typed.numbers), file)
            self.add_typed(files, found.typed, collector)
            return
        self._files += [file] * len(found.rows)
        self._rows += found.rows
        for one in found.problems:
            collector.reject_row(file, *one)
        for code, count in found.more.items():
            collector.reject_more(file, code, count)

    def flush(self, collector: Collector) -> None:
        """Move the rows to the collector."""
        if not self._rows:
            return
        rows, files = self._rows, self._files
        self._rows, self._files = [], []
        header = self._columns.header(dict.fromkeys(name for row in rows for name in row.cells))
        collector.add_typed_block(
            Block(
                header,
                np.array(files, np.int64),
                np.array([row.number for row in rows], np.int64),
                [_column([row.cells.get(name) for row in rows]) for name in header.columns],
                extra=_column([row.extra for row in rows]),
            )
        )

    def add_typed(self, files: NDArray[np.int64], rows: TypedRows, collector: Collector) -> None:
        """Move typed rows of these files to the collector."""
        header = self._columns.header(rows.cells)
        cells = [rows.cells[name] for name in header.columns]
        collector.add_typed_block(Block(header, files, rows.numbers, cells, rows.most_bytes))


def _may_have_member(content: bytes, name: str) -> bool:
    """Whether objects may have a member of this name."""
    if b"\\" in content:  # it may be written with escapes
        return True
    written = f'"{name}"'.encode()
    return written in content and re.search(re.escape(written) + rb"\s*:", content) is not None


def _is_array_of_objects(value: Value) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _column(values: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, _TEXT)])
