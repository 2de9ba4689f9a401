"""Parse one file of a dataset into its rows and faults, one row at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from etl.model.dataset import UnknownColumns
from etl.model.values import ProblemCode
from etl.verify import names
from etl.verify.cells import CellReader
from etl.verify.globs import path_texts
from etl.verify.header import HeaderReader
from etl.verify.records import read_records
from etl.verify.text import FileError, decode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import date

    from etl.verify.header import Header
    from etl.verify.layout import ObjectColumns
    from etl.verify.records import CsvRecord
    from etl.verify.text import DecodedFile

MAX_LISTED = 1_000


@dataclass(frozen=True, slots=True)
class Row:
    """A valid row.

    `values` has one for each of the layout's fields, `added` those of the columns that unknown
    columns made, and `extra` the cells of the others.
    """

    line: int
    values: tuple[object, ...]
    extra: dict[str, str] | None = None
    added: dict[str, str] | None = None


class _Fault(NamedTuple):
    """A fault of a row; faults sort in the order in which they are listed."""

    column: str
    code: ProblemCode


@dataclass(slots=True)
class Reading:
    """The rows and faults of one file.

    `faults` are the problem codes of the file, including warnings. `rejected` holds (line, code)
    of the first 1,000 row faults, including warnings; `rows_rejected` counts all rejected rows.
    """

    faults: Counter[str] = field(default_factory=Counter)
    rows: list[Row] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    rows_rejected: int = 0

    def note(self, code: ProblemCode) -> None:
        """Record a fault of the file once."""
        self.faults[code] = 1


def read(content: bytes, layout: ObjectColumns, key: str, today: date) -> Reading:
    """Parse a file; `today` is the last birthdate allowed."""
    found = _path_texts(layout, key)
    try:
        decoded = decode(content)
        header = _read_header(decoded, layout, key, found)
        _refuse_unknown(header)
    except FileError as error:
        return Reading(faults=Counter([error.code.value]))
    rows = _Rows(header, key, found, today)
    for record in read_records(decoded, header.next_line, header.shape):
        rows.add(record)
    reading = rows.finish()
    if decoded.is_guessed and ProblemCode.ROWS_WITHOUT_ID not in reading.faults:
        reading.note(ProblemCode.GUESSED_ENCODING)
    return reading


def _path_texts(layout: ObjectColumns, key: str) -> dict[str, str | None]:
    """The texts of the path columns."""
    template = layout.dataset.path_columns
    return {} if template is None else path_texts(template, layout.path_names, key)


def _read_header(
    decoded: DecodedFile, layout: ObjectColumns, key: str, found: dict[str, str | None]
) -> Header:
    dataset = layout.dataset
    delimiter = dataset.dialect.delimiter
    if delimiter is None and (dataset.format or names.split_name(key)[1]) == "tsv":
        delimiter = "\t"
    header = HeaderReader(layout, found).read(decoded, delimiter)
    id_field = dataset.id_from_name
    if id_field is not None and id_field not in header.names and names.user_id(key) == "":
        raise FileError(ProblemCode.MISSING_COLUMN)
    return header


def _unknown(header: Header) -> Iterator[tuple[int, str]]:
    known = set(header.layout.names)
    return ((n, name) for n, name in enumerate(header.names) if name not in known)


def _refuse_unknown(header: Header) -> None:
    refuses = header.layout.dataset.unknown_columns is UnknownColumns.REFUSE
    if refuses and any(True for _ in _unknown(header)):
        raise FileError(ProblemCode.UNKNOWN_COLUMN)


def _lacks_declared(header: Header, found: Collection[str]) -> bool:
    """Whether declared columns are absent that may have another name, or that choose the winner."""
    dataset = header.layout.dataset
    absent = {field.name for field in dataset.fields}.difference(header.names, found)
    if dataset.is_preset or not absent:
        return False
    has_unknown = any(name != f"column_{place + 1}" for place, name in _unknown(header))
    return has_unknown or dataset.prefer in absent


class _Columns:
    """What becomes of the cells of a file, and of the texts that its key has."""

    def __init__(self, header: Header, key: str, found: dict[str, str | None], today: date) -> None:
        layout = header.layout
        self.names = [*header.names, *found]
        self.path_cells = list(found.values())
        self.constants: dict[int, object] = {}
        self.read: list[tuple[int, int | None, CellReader]] = []  # to, from
        for to, one in enumerate(layout.fields):
            cell = CellReader(one, layout.dataset, today)
            if one.name in found:
                self.read.append((to, len(header.names) + list(found).index(one.name), cell))
            elif one.name in header.names:
                self.read.append((to, header.names.index(one.name), cell))
            elif one.name == layout.dataset.id_from_name:
                self.constants[to] = names.user_id(key)
            else:
                self.read.append((to, None, cell))
        self.width = len(layout.fields)
        rooms = layout.longest_bytes
        self.limited = [(n, rooms[name]) for n, name in enumerate(self.names) if name in rooms]
        self._sort_unknown(header)
        self.are_absent = _lacks_declared(header, found)

    def _sort_unknown(self, header: Header) -> None:
        self.extra: list[tuple[int, str]] = []
        self.added: list[tuple[int, str]] = []
        self.are_kept = False
        adds = header.layout.dataset.unknown_columns is UnknownColumns.ADD
        made: set[str] = set()
        for place, name in _unknown(header):
            is_named = name != f"column_{place + 1}"
            column = header.layout.column_of(name) if adds and is_named else None
            if column is not None and column not in made:
                made.add(column)
                self.added.append((place, column))
            else:
                self.extra.append((place, name))
                self.are_kept |= adds


class _Rows:
    """Validates the records of a file one by one."""

    def __init__(self, header: Header, key: str, found: dict[str, str | None], today: date) -> None:
        self._header = header
        self._columns = _Columns(header, key, found, today)
        self._reading = Reading()

    def add(self, record: CsvRecord) -> None:
        if record.cells is None:
            self._reject(record.line, [_Fault("", record.fault or ProblemCode.UNCLOSED_QUOTE)])
        elif any(cell and not cell.isspace() for cell in record.cells):
            self._validate(record.line, self._pad(record.cells), len(record.cells))

    def finish(self) -> Reading:
        """Validate the file as a whole."""
        reading, dataset = self._reading, self._header.layout.dataset
        rows_read = len(reading.rows) + reading.rows_rejected
        if dataset.id_from_name is not None and self._are_of_several(dataset.id_from_name):
            return Reading(
                faults=Counter([ProblemCode.ROWS_WITHOUT_ID.value]), rows_rejected=rows_read
            )
        if rows_read == 0:
            reading.note(ProblemCode.NO_ROWS)
        if any(cell.seconds and cell.seconds.are_seconds for _, _, cell in self._columns.read):
            reading.note(ProblemCode.EPOCH_SECONDS)
        if self._columns.are_kept:
            reading.note(ProblemCode.COLUMN_KEPT_IN_EXTRA)
        if self._columns.are_absent:
            reading.note(ProblemCode.DECLARED_COLUMN_ABSENT)
        if reading.rows_rejected > dataset.refuse_object_above * rows_read:
            reading.note(ProblemCode.TOO_MANY_FAULTS)
            reading.rows, reading.rows_rejected = [], rows_read
        return reading

    def _are_of_several(self, id_field: str) -> bool:
        """Whether rows that nothing tells apart differ in more than their line."""
        rows = self._reading.rows
        if id_field in self._header.names or not rows:
            return False
        return any(replace(row, line=rows[0].line) != rows[0] for row in rows)

    def _pad(self, cells: list[str]) -> list[str]:
        """Add omitted blank cells at the end, if none of them is in a column that needs one."""
        shape = self._header.shape
        if not shape.min_width <= len(cells) < shape.width:
            return cells
        self._reading.note(ProblemCode.MISSING_TRAILING_CELLS)
        return cells + [""] * (shape.width - len(cells))

    def _validate(self, line: int, cells: list[str], present: int) -> None:
        """Accept or reject a row, of which so many cells are in the file."""
        if self._header.is_repeated_by(cells):
            self._reading.note(ProblemCode.REPEATED_HEADER)
            return
        if len(cells) != self._header.shape.width:
            is_short = len(cells) < self._header.shape.width
            code = ProblemCode.SHORT_ROW if is_short else ProblemCode.LONG_ROW
            self._reject(line, [_Fault("", code)])
            return
        columns = self._columns
        omitted = [None] * (len(cells) - present)
        texts: list[str | None] = [*cells[:present], *omitted, *columns.path_cells]
        faults = self._unreadable(texts)
        if faults:
            self._reject(line, faults)
            return
        warnings: list[_Fault] = []
        values: list[object] = [None] * columns.width
        for to, place, cell in columns.read:
            doubts: list[ProblemCode] = []
            values[to], codes = cell.read(None if place is None else texts[place], doubts)
            if codes or doubts:
                faults += [_Fault(cell.name, code) for code in codes]
                warnings += [_Fault(cell.name, code) for code in doubts]
        if faults:
            self._reject(line, faults + warnings)
        else:
            self._list(line, warnings)
            self._accept(line, values, cells)

    def _unreadable(self, texts: list[str | None]) -> list[_Fault]:
        """The cells that are not parsed; a NUL hides lengths, and both hide other faults."""
        all_names = self._columns.names
        with_nul = [n for n, text in enumerate(texts) if text and "\0" in text]
        if with_nul:
            return [_Fault(all_names[n], ProblemCode.NUL_BYTE) for n in with_nul]
        longest = self._header.layout.longest_cell
        too_long = [n for n, text in enumerate(texts) if text and len(text) > longest]
        for place, room in self._columns.limited:
            text = texts[place] or ""
            if len(text.encode()) > room and place not in too_long:
                too_long.append(place)
        return [_Fault(all_names[n], ProblemCode.CELL_TOO_LONG) for n in too_long]

    def _reject(self, line: int, faults: list[_Fault]) -> None:
        self._reading.rows_rejected += 1
        self._list(line, faults)

    def _list(self, line: int, faults: list[_Fault]) -> None:
        reading = self._reading
        room = MAX_LISTED - len(reading.rejected)
        reading.rejected += [(line, fault.code.value) for fault in sorted(faults)[:room]]
        if len(faults) > room:
            reading.note(ProblemCode.MORE_PROBLEMS)

    def _accept(self, line: int, values: list[object], cells: list[str]) -> None:
        columns = self._columns
        for to, place, cell in columns.read:
            value = values[to]
            if cell.seconds and isinstance(value, int) and place is not None and place < len(cells):
                cell.seconds.add(cells[place], value)
        for to, value in columns.constants.items():
            values[to] = value
        extra = {name: cells[n] for n, name in columns.extra if cells[n] != ""}
        added = {name: cells[n] for n, name in columns.added if cells[n] != ""}
        self._reading.rows.append(Row(line, tuple(values), extra or None, added or None))
