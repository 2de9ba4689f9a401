"""The columns of a dataset, and how names in a header become columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from etl.model.dataset import DerivedAs, Field, FieldType
from etl.verify.globs import path_names

if TYPE_CHECKING:
    from etl.model.dataset import Dataset

MAX_ADDED = 200
MAX_NAME_BYTES = 63

_CELL, _USERS_CELL = 1_048_576, 10_000  # characters
# Bytes: of an entry in an index of PostgreSQL, of what each of its columns takes in addition to
# the value, of an object key and of a user_id.
_INDEX_ENTRY = 2_688
_INDEX_COLUMN = 8
_OBJECT_KEY = 1_024
_USERS_ID = 1_024

_FIXED_SIZE = frozenset(
    {
        *(FieldType.INTEGER, FieldType.BOOLEAN, FieldType.DATE, FieldType.TIME),
        *(FieldType.DATETIME, FieldType.YEAR, FieldType.EPOCH_MS),
    }
)
_SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
_DOCUMENTS = frozenset({FieldType.OBJECT, FieldType.ARRAY, FieldType.ANY})


@dataclass(frozen=True)
class ObjectColumns:
    """The columns of one dataset; `added` are those that unknown columns made so far."""

    dataset: Dataset
    added: tuple[str, ...] = ()

    @cached_property
    def path_names(self) -> tuple[str, ...]:
        """The columns whose values are in the object keys."""
        template = self.dataset.path_columns
        return () if template is None else path_names(template, self.dataset.include)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The declared fields, then the path columns that are not declared."""
        known = set(self.dataset.field_names)
        undeclared = (Field(name=name) for name in self.path_names if name not in known)
        return (*self.dataset.fields, *undeclared)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of `fields`."""
        return tuple(field.name for field in self.fields)

    @cached_property
    def filled(self) -> frozenset[str]:
        """The columns that are never null."""
        required = (one.name for one in self.dataset.fields if one.constraints.required)
        return frozenset((*required, *self.dataset.primary_key))

    @cached_property
    def longest_cell(self) -> int:
        """The number of characters that a cell may have."""
        return _USERS_CELL if self.dataset.is_preset else _CELL

    @cached_property
    def longest_bytes(self) -> dict[str, int]:
        """The number of bytes that the cells of indexed columns may have, which share an entry."""
        found: dict[str, int] = {}
        for columns in (self.dataset.primary_key, *self.dataset.indexes):
            in_path = set(columns) & set(self.path_names)
            cells = [one.name for one in self.dataset.fields if one.name in columns]
            varying = [
                name
                for name in cells
                if name not in in_path and self.dataset.field(name).type not in _FIXED_SIZE
            ]
            room = _INDEX_ENTRY - _INDEX_COLUMN * len(columns) - (_OBJECT_KEY if in_path else 0)
            for name in varying:
                found[name] = min(found.get(name, room), room // len(varying))
        if self.dataset.is_preset:
            return {name: min(_USERS_ID, room) for name, room in found.items()}
        return found

    @cached_property
    def derived_dates(self) -> tuple[tuple[str, str], ...]:
        """The stored derived columns, each with its source."""
        derived = self.dataset.derived
        return tuple(
            (each.name, each.source) for each in derived if each.computed_as is DerivedAs.DATE
        )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of the data table, without those that begin with `_`."""
        derived = (name for name, _ in self.derived_dates)
        attachments = (attachment.column for attachment in self.dataset.attachments)
        return (*self.shadowed_columns, *derived, *attachments)

    @cached_property
    def shadowed_columns(self) -> tuple[str, ...]:
        """The columns of the table of shadowed rows, without those that begin with `_`."""
        return (*self.names, *self.undeclared)

    @cached_property
    def undeclared(self) -> tuple[str, ...]:
        """The columns that unknown columns made and that have not been declared since."""
        attached = {each.column for each in self.dataset.attachments}
        return tuple(name for name in self.added if name not in {*self.names, *attached})

    @cached_property
    def documents(self) -> frozenset[str]:
        """The columns of type jsonb."""
        return frozenset(field.name for field in self.fields if field.type in _DOCUMENTS)

    @cached_property
    def by_header(self) -> dict[str, str]:
        """The column of each name in a header, in the form of `folded`; names before aliases."""
        found = {folded(name): name for name in self.names}
        for field in self.dataset.fields:
            for alias in field.aliases:
                found.setdefault(folded(alias), field.name)
        return found

    @cached_property
    def identity_places(self) -> tuple[int, ...]:
        """The places of the primary key in `names`."""
        return tuple(self.names.index(name) for name in self.dataset.primary_key)

    def column_of(self, header: str) -> str | None:
        """The column that an unknown header makes or fills; None if it is kept in `_extra`."""
        name = header.strip().lower()
        if not name or name.startswith("_") or len(name.encode()) > MAX_NAME_BYTES:
            return None
        if name in self._taken or (name not in self.added and len(self.added) >= MAX_ADDED):
            return None
        return name

    @cached_property
    def _taken(self) -> frozenset[str]:
        """The lowercase names of the columns that no unknown column may have."""
        others = (
            *(each.name for each in self.dataset.derived),
            *(each.column for each in self.dataset.attachments),
        )
        return frozenset(name.lower() for name in (*self.names, *others, *_SYSTEM_COLUMNS))


def folded(name: str) -> str:
    """A name in a header without its letter case and the space around it."""
    return name.strip().casefold()
