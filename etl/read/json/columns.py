"""The column of each member of an object, and the rows that result."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from etl.model.dataset import UnknownColumns
from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode
from etl.read.json.cells import cell, json_text, plain_cell
from etl.read.json.objects import Doubled, Number, RowFault, doubled_fault
from etl.read.pieces import rows_at_once
from etl.read.rows.header import FileHeader, added_column
from etl.read.types.documents import NotStorable, load
from etl.read.types.nested import place_in_jsonb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from etl.model.dataset import Field
    from etl.read.json.objects import Value
    from etl.read.rows.layout import Layout

_MOST_KNOWN = 10_000  # names whose columns are remembered
_LONGEST_KNOWN = 200
_SHORT_NUMBER = 1_000  # digits, without an exponent


class ColumnPlace(NamedTuple):
    """Where the values of a name belong: a column of the table, or a member of _extra."""

    column: str
    is_extra: bool = False
    field: Field | None = None


class ObjectRow(NamedTuple):
    """The cells of a row by column, and the JSON of its _extra."""

    number: int
    cells: dict[str, str | None]
    extra: str | None


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
        self._known: dict[str, ColumnPlace] = {}
        self.declared = tuple(name for name in dataset.field_names if name not in layout.path)

    def most_rows(self) -> int:
        """How many rows may be read at once: each may have all columns that are known so far."""
        return rows_at_once(len(self.layout.columns) + self.layout.added.count)

    def place(self, name: str) -> ColumnPlace:
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

    def row(self, number: int, members: Mapping[str, Value]) -> ObjectRow:
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
        return ObjectRow(number, cells, self._extra(extra) if extra else None)

    def header(self, names: Iterable[str]) -> FileHeader:
        """The header of rows with these columns: all declared ones, then those added."""
        added = [name for name in names if name not in self.layout.columns]
        columns = (*self.declared, *added)
        return FileHeader(self.layout, "", columns, tuple((name, name) for name in added))

    def _find(self, name: str) -> ColumnPlace:
        written = name.strip()
        declared = self.layout.names.get(written.casefold())
        if declared is not None:
            return ColumnPlace(declared, field=self._fields.get(declared))
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
                return ColumnPlace(added)
        return ColumnPlace(written, is_extra=True)

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


def _may_be_unstorable(value: Value) -> bool:
    """Whether jsonb may refuse the value."""
    if isinstance(value, Number):
        return len(value) > _SHORT_NUMBER or "e" in value or "E" in value
    return isinstance(value, (dict, list, Doubled))


_NUL_HINT = r"Remove the character \u0000; PostgreSQL cannot store it."
