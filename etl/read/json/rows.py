"""Rows of objects: the column of each member, and the faults of rows and of whole files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from etl.model.dataset import UnknownColumns
from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode
from etl.read.json.cells import cell, json_text, plain_cell
from etl.read.json.objects import (
    Doubled,
    Number,
    RowFault,
    Text,
    doubled_fault,
    parse_object,
    shown,
)
from etl.read.json.typed import read_columns
from etl.read.rows.collect import Block, Collector
from etl.read.rows.header import FileHeader, added_column
from etl.read.rows.header_hints import no_column_hint
from etl.read.types.documents import NotStorable, load
from etl.read.types.nested import place_in_jsonb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from etl.model.dataset import Field
    from etl.read.json.objects import Value
    from etl.read.json.typed import ObjectBlock
    from etl.read.rows.layout import Layout

_MOST_KNOWN = 10_000  # names whose columns are remembered
_LONGEST_KNOWN = 200
_SHORT_NUMBER = 1_000  # digits, without an exponent
_MOST_SEEN_CHARACTERS = 1 << 20  # of names that are not declared, for the warnings about them
_TEXT = pa.large_string()


class _Place(NamedTuple):
    """Where the values of a name belong: a column of the table, or a member of _extra."""

    column: str
    is_extra: bool = False
    field: Field | None = None


class Row(NamedTuple):
    """The cells of a row by column, and the JSON of its _extra."""

    number: int
    cells: dict[str, str | None]
    extra: str | None


class TypedRows(NamedTuple):
    """Rows that Arrow has read: their numbers, and whole columns. No text has more bytes."""

    numbers: NDArray[np.int64]
    cells: dict[str, pa.ChunkedArray]
    most_bytes: int | None


@dataclass
class FileRows:
    """The rows of a file, or of a part of it, and the faulty ones; or typed rows."""

    rows: list[Row] = field(default_factory=list)
    faults: list[tuple[Text, RowFault]] = field(default_factory=list)
    typed: TypedRows | None = None


class Columns:
    """The columns of the files of a dataset; they depend on the names in the objects."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        dataset = layout.dataset
        self._fields = {one.name: one for one in dataset.fields}
        self._missing = {
            one.name: dataset.missing_values if one.missing_values is None else one.missing_values
            for one in dataset.fields
        }
        self._known: dict[str, _Place] = {}
        self.declared = tuple(name for name in dataset.field_names if name not in layout.path)

    def place(self, name: str) -> _Place:
        """The place of a name.

        Raises:  RowFault, RefusedObject
        """
        found = self._known.get(name)
        if found is None:
            found = self._find(name)
            if len(name) <= _LONGEST_KNOWN:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[name] = found
        return found

    def row(self, number: int, members: Mapping[str, Value]) -> Row:
        """The row of an object.

        Raises:  RowFault, RefusedObject
        """
        cells: dict[str, str | None] = {}
        extra: dict[str, Value] = {}
        for name, value in members.items():
            column, is_extra, one = self.place(name)
            if column in (extra if is_extra else cells):
                raise doubled_fault(name, column, value)
            if is_extra:
                extra[column] = value
            elif one is None:
                cells[column] = plain_cell(value)
            else:
                cells[column] = cell(value, one, self._missing[column])
        return Row(number, cells, self._extra(extra) if extra else None)

    def header(self, names: Iterable[str]) -> FileHeader:
        """The header of rows with these columns: all declared ones, then those added."""
        added = [name for name in names if name not in self.layout.columns]
        columns = (*self.declared, *added)
        return FileHeader(self.layout, "", columns, tuple((name, name) for name in added))

    def _find(self, name: str) -> _Place:
        written = name.strip()
        declared = self.layout.names.get(written.casefold())
        if declared is not None:
            return _Place(declared, field=self._fields.get(declared))
        if "\0" in name:
            raise RowFault(ProblemCode.NUL_BYTE, _NUL_HINT, written, written)
        unknown = self.layout.dataset.unknown_columns
        if unknown is UnknownColumns.REFUSE:
            raise RefusedObject(
                ProblemCode.UNKNOWN_COLUMN,
                f"Its objects have a member that {self.layout.dataset.name} does not declare. "
                "Remove or rename it, declare it, or add it to the `aliases` of a field.",
                written,
            )
        if unknown is UnknownColumns.ADD:
            added = added_column(written, self.layout)
            if added is not None:
                return _Place(added)
        return _Place(written, is_extra=True)

    def _extra(self, members: Mapping[str, Value]) -> str | None:
        texts = {
            name: text
            for name, value in members.items()
            if (text := self._extra_text(name, value)) is not None
        }
        if not texts:
            return None
        listed = (f"{json_text(name)}: {texts[name]}" for name in sorted(texts, key=place_in_jsonb))
        return f"{{{', '.join(listed)}}}"

    def _extra_text(self, name: str, value: Value) -> str | None:
        """The JSON of a value, or None if it is null or blank."""
        if isinstance(value, str) and not isinstance(value, Number):
            value = value.strip() or None
            if value is not None and "\0" in value:
                raise RowFault(ProblemCode.NUL_BYTE, _NUL_HINT, name, value)
        if value is None:
            return None
        text = json_text(value)
        if len(text) > self.layout.most_characters:
            hint = f"Shorten the value to {self.layout.most_characters:,} characters of JSON."
            raise RowFault(ProblemCode.CELL_TOO_LONG, hint, name, text)
        if _may_be_unstorable(value):
            try:
                load(text)
            except NotStorable as error:
                hint = f"The value cannot be stored: {error}."
                raise RowFault(ProblemCode.NOT_JSON, hint, name, text) from error
        return text


class RowReader:
    """Reads the rows of one file, in parts, and knows which names occurred in it."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._seen: dict[str, _Place] = {}
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
                if b"\\" in block.content or name.encode() in block.content:
                    return None  # it may be there with nulls
                del new[name]
        self._seen |= new
        self._has_objects = True
        cells = {place.column: columns[name] for name, place in places.items()}
        has_nul = rb"\u0000" in block.content
        typed = TypedRows(block.numbers, cells, None if has_nul else block.most_bytes)
        return FileRows(typed=typed)

    def _places(self, members: Mapping[str, Value]) -> dict[str, _Place] | None:
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
        self._rows: list[Row] = []

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def add(self, file: int, found: FileRows, collector: Collector) -> None:
        """Add what was read of a file; its faults go to the collector."""
        if found.typed is not None:
            self.flush(collector)
            self._add_typed(file, found.typed, collector)
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

    def _add_typed(self, file: int, rows: TypedRows, collector: Collector) -> None:
        header = self._columns.header(rows.cells)
        cells = [rows.cells[name] for name in header.columns]
        files = np.full(len(rows.numbers), file)
        collector.add_typed_block(Block(header, files, rows.numbers, cells, rows.most_bytes))


def _is_array_of_objects(value: Value) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _may_be_unstorable(value: Value) -> bool:
    """Whether jsonb may refuse the value."""
    if isinstance(value, Number):
        return len(value) > _SHORT_NUMBER or "e" in value or "E" in value
    return isinstance(value, (dict, list, Doubled))


def _column(values: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, _TEXT)])


_NUL_HINT = r"Remove the character \u0000; PostgreSQL cannot store it."
