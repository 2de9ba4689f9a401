"""Read JSON: an object on each line, or an array of objects.

A file is parsed twice, because its last object may be the first with some column, and the objects
of a large file do not fit into memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from etl.model.dataset import FieldType, UnknownColumns
from etl.model.values import ProblemCode
from etl.verify import json_rows
from etl.verify.documents import JsonText, json_text, json_value
from etl.verify.faults import FileError
from etl.verify.json_rows import FaultyRow
from etl.verify.layout import folded
from etl.verify.rows import Rows
from etl.verify.text import as_utf8

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from etl.verify.file import DatasetFile
    from etl.verify.layout import ObjectColumns
    from etl.verify.rows import Reading

    Cut = Callable[[bytes], Iterable[tuple[int, bytes]]]


def read_lines(file: DatasetFile) -> Reading:
    """The rows and faults of a file with an object on each line.

    Raises:  FileError.
    """
    content = as_utf8(file.content)
    if next(iter(json_rows.lines(content)), None) is None:
        raise FileError(ProblemCode.EMPTY_FILE)
    return _read(file, content, json_rows.lines)


def read_array(file: DatasetFile) -> Reading:
    """The rows and faults of a file with an array of objects, also in a member, or one object.

    Raises:  FileError.
    """
    content = as_utf8(file.content)
    if not content.strip(json_rows.SPACE):
        raise FileError(ProblemCode.EMPTY_FILE)
    name = file.layout.dataset.dialect.member
    if name is None:
        return _read(file, content, json_rows.elements)
    return _read(file, content, lambda content: json_rows.elements_of(content, name))


def _read(file: DatasetFile, content: bytes, cut: Cut) -> Reading:
    if next(iter(cut(content)), None) is None:
        raise FileError(ProblemCode.NO_ROWS)
    rows = _JsonRows(file, _places(content, cut, file.layout))
    for number, written in cut(content):
        rows.add(number, written)
    return rows.finish()


class _Place(NamedTuple):
    """Where the values of a member belong: in a column, or in `_extra` under a name."""

    name: str
    is_extra: bool = False


def _places(content: bytes, cut: Cut, layout: ObjectColumns) -> dict[str, _Place]:
    """The places of all members.

    Raises:  FileError.
    """
    places: dict[str, _Place] = {}
    for _, written in cut(content):
        try:
            row = json_rows.parse(written)
        except FaultyRow:
            continue
        for name in row:
            if name in places:
                continue
            if _has_nul(name, layout):
                break
            places[name] = _place(name, layout)
    return places


def _has_nul(name: str, layout: ObjectColumns) -> bool:
    """Whether the name of a member that is not declared has a NUL."""
    return "\0" in name and folded(name) not in layout.by_header


def _place(name: str, layout: ObjectColumns) -> _Place:
    stripped = name.strip()
    declared = layout.by_header.get(folded(name))
    if declared is not None:
        return _Place(declared)
    unknown = layout.dataset.unknown_columns
    if unknown is UnknownColumns.REFUSE:
        raise FileError(ProblemCode.UNKNOWN_COLUMN)
    column = layout.column_of(stripped) if unknown is UnknownColumns.ADD else None
    return _Place(stripped, is_extra=True) if column is None else _Place(column)


class _JsonRows:
    """Validates the objects of a file."""

    def __init__(self, file: DatasetFile, places: dict[str, _Place]) -> None:
        self._layout = file.layout
        self._places = places
        in_file = list(dict.fromkeys(place.name for place in places.values()))
        self._columns = file.columns(in_file)
        self._index = {name: n for n, name in enumerate(in_file)}
        missing = file.layout.dataset.missing_values
        self._missing_of_any = {
            one.name: missing if one.missing_values is None else one.missing_values
            for one in file.layout.fields
            if one.type is FieldType.ANY
        }
        self._own = file.own
        self._in_path = file.found.keys()
        self._rows = Rows(self._columns)
        self._has_objects = False

    def add(self, number: int, written: bytes) -> None:
        """Accept or reject a row."""
        try:
            cells = self._cells(json_rows.parse(written))
        except FaultyRow as fault:
            self._rows.reject(number, fault.code)
            return
        self._has_objects = True
        self._rows.add(number, cells)

    def finish(self) -> Reading:
        """Validate the file as a whole.

        Raises:  FileError.
        """
        if self._has_objects and self._own and self._own.isdisjoint(self._index):
            raise FileError(ProblemCode.MISSING_COLUMN)
        return self._rows.finish()

    def _cells(self, row: dict[str, object]) -> list[object]:
        cells: list[object] = [None] * len(self._index)
        filled: set[str] = set()
        extra: list[object] = []
        for key, value in row.items():
            if _has_nul(key, self._layout):
                raise FaultyRow(ProblemCode.NUL_BYTE)
            name, is_extra = self._places[key]
            if name in filled:
                raise FaultyRow(ProblemCode.DUPLICATE_COLUMN)
            filled.add(name)
            cell = None if name in self._in_path else self._cell(name, value)
            cells[self._index[name]] = cell
            if is_extra and not _is_blank(cell):
                extra.append(cell)
        for cell in extra:
            self._check_extra(cell)
        return cells

    def _cell(self, name: str, value: object) -> object:
        if not isinstance(value, str):
            return value
        text = str(self._columns.trimmed(self._index[name], value))
        if name not in self._missing_of_any or text in self._missing_of_any[name]:
            return text
        return JsonText(text)

    def _check_extra(self, cell: object) -> None:
        """Check a value that is stored in `_extra`."""
        if isinstance(cell, str) and "\0" in cell:
            raise FaultyRow(ProblemCode.NUL_BYTE)
        if len(json_text(cell)) > self._layout.longest_cell:
            raise FaultyRow(ProblemCode.CELL_TOO_LONG)
        try:
            json_value(cell)
        except ValueError as error:
            raise FaultyRow(ProblemCode.NOT_JSON) from error


def _is_blank(cell: object) -> bool:
    return cell is None or cell == ""
