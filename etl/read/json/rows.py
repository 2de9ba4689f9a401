"""Rows of one file, and which columns it has."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from etl.model.dataset import UnknownColumns
from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode
from etl.read.json.objects import RowFault, Text, parse_object, shown
from etl.read.json.typed import read_columns
from etl.read.rows.collect import Block, Collector
from etl.read.rows.header import FileHeader
from etl.read.rows.header_hints import no_column_hint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from etl.read.json.columns import ColumnPlace, Columns, ObjectRow
    from etl.read.json.objects import Value
    from etl.read.json.typed import ObjectBlock

_MOST_SEEN_CHARACTERS = 1 << 20  # of names that are not declared, for the warnings about them
_TEXT = pa.large_string()


class TypedRows(NamedTuple):
    """Rows that Arrow has read: their numbers, and whole columns. No text has more bytes."""

    numbers: NDArray[np.int64]
    cells: dict[str, pa.ChunkedArray]
    most_bytes: int | None


@dataclass
class FileRows:
    """The rows of a file, or of a part of it, and the faulty ones; or typed rows."""

    rows: list[ObjectRow] = field(default_factory=list)
    faults: list[tuple[Text, RowFault]] = field(default_factory=list)
    typed: TypedRows | None = None


class RowReader:
    """Reads the rows of one file, in parts, and knows which names occurred in it."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._seen: dict[str, ColumnPlace] = {}
        self._room = _MOST_SEEN_CHARACTERS
        self._has_objects = False
        self.array_name: str | None = None  # of the first member that is an array of objects

    def read(self, texts: Iterable[Text]) -> FileRows:
        """The rows and faults of these texts.

        Raises:  RefusedObject
        """
        found = FileRows()
        for text in texts:
            try:
                members = parse_object(text)
                if not members.keys() <= self._seen.keys():
                    self._note(members)
                found.rows.append(self._columns.row(text.number, members))
            except RowFault as fault:
                # Those would keep all frames, and a small file can have a million faults.
                fault.__traceback__ = fault.__cause__ = fault.__context__ = None
                found.faults.append((text, fault))
            else:
                self._has_objects = True
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
        if places is None:
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
        names = (*self._seen, *self._columns.declared)
        taken = {place.column for place in places.values()}
        if len(taken) < len(places):
            return None
        for name in names:
            place = self._columns.place(name)
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
        places = self._seen.values()
        columns = tuple(dict.fromkeys(one.column for one in places))
        if self._has_objects and layout.expected and set(layout.expected).isdisjoint(columns):
            written = [name.strip() for name in self._seen]
            raise RefusedObject(ProblemCode.MISSING_COLUMN, no_column_hint(layout, written))
        is_add = layout.dataset.unknown_columns is UnknownColumns.ADD
        not_added = tuple(one.column for one in places if one.is_extra) if is_add else ()
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
            self._seen[name] = place
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
        for text, fault in found.faults:
            value = shown(text) if fault.value is None else fault.value
            collector.reject_row(file, text.number, fault.code, fault.hint, value, fault.column)

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
