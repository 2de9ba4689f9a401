"""Validate the rows of one file one by one, and collect them with the faults of the file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from etl.model.dataset import UnknownColumns
from etl.model.values import ProblemCode
from etl.verify import names
from etl.verify.cells import CellReader
from etl.verify.documents import has_nul, is_storable
from etl.verify.typed import extra_value, plain_text, written_in_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from etl.verify.layout import ObjectColumns

MAX_LISTED = 1_000


@dataclass(frozen=True, slots=True)
class Row:
    """A valid row.

    `values` has one for each of the layout's fields, `added` those of the columns that unknown
    columns made, and `extra` the cells of the others: texts, or JsonValues.
    """

    line: int
    values: tuple[object, ...]
    extra: dict[str, object] | None = None
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


class FileColumns:
    """What becomes of the cells of a file, and of the texts `found` in its key.

    `in_file` are the names of its columns, each once: declared ones by their field, nameless ones
    `column_<n>`.
    """

    def __init__(  # noqa: PLR0913
        self,
        layout: ObjectColumns,
        in_file: Sequence[str],
        key: str,
        found: Mapping[str, str | None],
        today: date,
        *,
        has_types: bool,
    ) -> None:
        self.layout = layout
        self.in_file = list(in_file)
        self.names = [*in_file, *found]
        untrimmed = {field.name for field in layout.dataset.fields if not field.trim}
        self._are_trimmed = [name not in untrimmed for name in in_file]
        self.path_cells = list(found.values())
        self.constants: dict[int, object] = {}
        self.read: list[tuple[int, int | None, CellReader]] = []  # to, from
        self.read_on_any_day: list[tuple[int | None, CellReader]] = []
        places = {name: n for n, name in enumerate(in_file)}
        places |= {name: n for n, name in enumerate(found, len(in_file))}
        for to, one in enumerate(layout.fields):
            if one.name not in places and one.name == layout.dataset.id_from_name:
                self.constants[to] = names.user_id(key)
            else:
                cell = CellReader(one, layout.dataset, today, has_types=has_types)
                self.read.append((to, places.get(one.name), cell))
                at_any_time = CellReader(one, layout.dataset, date.max, has_types=has_types)
                self.read_on_any_day.append((places.get(one.name), at_any_time))
        self.width = len(layout.fields)
        rooms = layout.longest_bytes
        self.limited = [(n, rooms[name]) for n, name in enumerate(self.names) if name in rooms]
        self._sort_unknown()
        self.are_absent = self._lacks_declared(found)

    def trimmed(self, place: int, cell: object) -> object:
        """The cell of a typed file, without space around it if it is a text."""
        return cell.strip() if isinstance(cell, str) and self._are_trimmed[place] else cell

    def _unknown(self) -> Iterator[tuple[int, str]]:
        known = set(self.layout.names)
        return ((n, name) for n, name in enumerate(self.in_file) if name not in known)

    def _lacks_declared(self, found: Mapping[str, str | None]) -> bool:
        """Whether columns are absent that may have another name, or that choose the winner."""
        dataset = self.layout.dataset
        absent = {field.name for field in dataset.fields}.difference(self.in_file, found)
        if dataset.is_preset or not absent:
            return False
        has_unknown = any(name != f"column_{place + 1}" for place, name in self._unknown())
        return has_unknown or dataset.prefer in absent

    def _sort_unknown(self) -> None:
        self.extra: list[tuple[int, str]] = []
        self.added: list[tuple[int, str]] = []
        self.are_kept = False
        adds = self.layout.dataset.unknown_columns is UnknownColumns.ADD
        made: set[str] = set()
        for place, name in self._unknown():
            is_named = name != f"column_{place + 1}"
            column = self.layout.column_of(name) if adds and is_named else None
            if column is not None and column not in made:
                made.add(column)
                self.added.append((place, column))
            else:
                self.extra.append((place, name))
                self.are_kept |= adds


class Rows:
    """Validates the rows of a file."""

    def __init__(self, columns: FileColumns) -> None:
        self._columns = columns
        self._dataset = columns.layout.dataset
        self._extra = frozenset(place for place, _ in columns.extra)
        self._reading = Reading()

    def note(self, code: ProblemCode) -> None:
        """Record a fault of the file once."""
        self._reading.note(code)

    def reject(self, line: int, code: ProblemCode) -> None:
        """Reject a row for a fault of all of it."""
        self._reject(line, [_Fault("", code)])

    def reject_cells(
        self, line: int, codes: Mapping[str, ProblemCode], cells: Sequence[object]
    ) -> None:
        """Reject a row for the faults of some cells, given by their columns, and of the others."""
        columns = self._columns
        faults = [_Fault(column, code) for column, code in codes.items()]
        texts = [*cells, *columns.path_cells]
        if not self._unreadable(texts):
            for place, cell in columns.read_on_any_day:
                if cell.name not in codes:
                    _, found = cell.read(None if place is None else texts[place], [])
                    faults += [_Fault(cell.name, code) for code in found]
        self._reject(line, faults)

    def add(self, line: int, cells: Sequence[object]) -> None:
        """Accept or reject a row; a cell is a text, a typed value, or None if there is none."""
        columns = self._columns
        texts = [*cells, *columns.path_cells]
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

    def finish(self) -> Reading:
        """Validate the file as a whole."""
        reading, dataset, columns = self._reading, self._dataset, self._columns
        rows_read = len(reading.rows) + reading.rows_rejected
        if dataset.id_from_name is not None and self._are_of_several(dataset.id_from_name):
            return Reading(
                faults=Counter([ProblemCode.ROWS_WITHOUT_ID.value]), rows_rejected=rows_read
            )
        if rows_read == 0:
            reading.note(ProblemCode.NO_ROWS)
        if any(cell.seconds and cell.seconds.are_seconds for _, _, cell in columns.read):
            reading.note(ProblemCode.EPOCH_SECONDS)
        if columns.are_kept:
            reading.note(ProblemCode.COLUMN_KEPT_IN_EXTRA)
        if columns.are_absent:
            reading.note(ProblemCode.DECLARED_COLUMN_ABSENT)
        if reading.rows_rejected > dataset.refuse_object_above * rows_read:
            reading.note(ProblemCode.TOO_MANY_FAULTS)
            reading.rows, reading.rows_rejected = [], rows_read
        return reading

    def _are_of_several(self, id_field: str) -> bool:
        """Whether rows that nothing tells apart differ in more than their line."""
        rows = self._reading.rows
        if id_field in self._columns.in_file or not rows:
            return False
        return any(replace(row, line=rows[0].line) != rows[0] for row in rows)

    def _unreadable(self, cells: list[object]) -> list[_Fault]:
        """The cells that are not parsed.

        Bytes that are not UTF-8 hide a NUL, which hides lengths, and all of them other faults.
        """
        all_names = self._columns.names
        undecodable = [n for n, cell in enumerate(cells) if isinstance(cell, bytes)]
        if undecodable:
            return [_Fault(all_names[n], ProblemCode.UNDECODABLE) for n in undecodable]
        texts = [cell if isinstance(cell, str) else written_in_json(cell) for cell in cells]
        with_nul = [n for n, cell in enumerate(cells) if self._has_nul(n, cell)]
        if with_nul:
            return [_Fault(all_names[n], ProblemCode.NUL_BYTE) for n in with_nul]
        longest = self._columns.layout.longest_cell
        too_long = [n for n, text in enumerate(texts) if len(text) > longest]
        for place, room in self._columns.limited:
            if len(texts[place].encode()) > room and place not in too_long:
                too_long.append(place)
        if too_long:
            return [_Fault(all_names[n], ProblemCode.CELL_TOO_LONG) for n in too_long]
        odd = [n for n, cell in enumerate(cells) if n in self._extra and not is_storable(cell)]
        return [_Fault(all_names[n], ProblemCode.NOT_JSON) for n in odd]

    def _has_nul(self, place: int, cell: object) -> bool:
        """Whether a text has a NUL; in `_extra`, also one in an array or object."""
        if isinstance(cell, str):
            return "\0" in cell
        return isinstance(cell, list | dict) and place in self._extra and has_nul(cell)

    def _reject(self, line: int, faults: list[_Fault]) -> None:
        self._reading.rows_rejected += 1
        self._list(line, faults)

    def _list(self, line: int, faults: list[_Fault]) -> None:
        reading = self._reading
        room = MAX_LISTED - len(reading.rejected)
        reading.rejected += [(line, fault.code.value) for fault in sorted(faults)[:room]]
        if len(faults) > room:
            reading.note(ProblemCode.MORE_PROBLEMS)

    def _accept(self, line: int, values: list[object], cells: Sequence[object]) -> None:
        columns = self._columns
        for to, place, cell in columns.read:
            value = values[to]
            if cell.seconds and isinstance(value, int) and place is not None and place < len(cells):
                cell.seconds.add(str(cells[place]), value)
        for to, value in columns.constants.items():
            values[to] = value
        extra = {
            name: extra_value(cells[n]) for n, name in columns.extra if not _is_blank(cells[n])
        }
        added = {name: plain_text(cells[n]) for n, name in columns.added if not _is_blank(cells[n])}
        self._reading.rows.append(Row(line, tuple(values), extra or None, added or None))


def _is_blank(cell: object) -> bool:
    return cell is None or cell == ""
