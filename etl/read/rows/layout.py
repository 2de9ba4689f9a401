"""What the files of a dataset look like: the columns they may have and must have, and their limits.

Everything here follows from the declaration of the dataset. `header` applies it to the header of
one file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from etl.model.column_names import SYSTEM_COLUMNS
from etl.model.dataset import Dataset, FieldType, ShortRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_ADDED = 200  # columns that files add to one table
LONGEST_NAME_BYTES = 63  # of a column, in PostgreSQL

_USERS_CELL_CHARACTERS = 10_000
_USERS_ID_BYTES = 1_024
_CELL_CHARACTERS = 1_048_576

# The entry of a row in an index of PostgreSQL has at most 2,704 bytes. Its own header takes 16 of
# them, each column up to 8 for its length and alignment, and the columns of the object's key
# together up to 1,024.
_INDEX_ENTRY_BYTES = 2_704 - 16
_INDEX_COLUMN_BYTES = 8
_OBJECT_KEY_BYTES = 1_024
_OF_VARIABLE_SIZE = frozenset(
    {FieldType.STRING, FieldType.NUMBER, FieldType.OBJECT, FieldType.ARRAY, FieldType.ANY}
)


class AddedColumns:
    """The columns that the files of one dataset have added to its table, at most 200.

    `names` are those that the table has already.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = set(names)
        self._new: list[str] = []

    def accept(self, name: str) -> bool:
        """Whether the table has the column, or can get it."""
        if name in self._names:
            return True
        if len(self._names) >= MOST_ADDED:
            return False
        self._names.add(name)
        self._new.append(name)
        return True

    @property
    def count(self) -> int:
        """The number of columns, with those that the table had already."""
        return len(self._names)

    def take_new(self) -> tuple[str, ...]:
        """The columns accepted since the last call, which the table must get.

        Also those of rows and objects that are refused in the end: they count towards the limit,
        so whether another column fits would otherwise depend on what was read when.
        """
        new, self._new = tuple(self._new), []
        return new


@dataclass(frozen=True, eq=False)
class Layout:
    """The columns and limits of the files of one dataset.

    `path` are the columns taken from the object key. `delimiter` is None if it is detected in
    each file.
    """

    dataset: Dataset
    path: tuple[str, ...] = ()
    delimiter: str | None = None
    added: AddedColumns = field(default_factory=AddedColumns)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The declared columns and those of the path by the names of a header, in folded case."""
        spelled = {name: name for name in self.path}
        for one in self.dataset.fields:
            spelled |= dict.fromkeys((one.name, *one.aliases), one.name)
        return {written.strip().casefold(): name for written, name in spelled.items()}

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The declared columns in their order, then the other columns of the path."""
        declared = self.dataset.field_names
        return (*declared, *(name for name in self.path if name not in declared))

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The columns that the header must have."""
        elsewhere = {*self.path, self.dataset.id_from_name}
        return tuple(name for name in self._filled if name not in elsewhere)

    @cached_property
    def expected(self) -> tuple[str, ...]:
        """The columns that a file normally has; a preset leaves that open."""
        if self.dataset.is_preset:
            return ()
        return tuple(name for name in self.dataset.field_names if name not in self.path)

    @cached_property
    def unlackable(self) -> frozenset[str]:
        """The columns whose cell a row must have, if the header has them."""
        is_padded = self.dataset.short_rows is ShortRows.PAD
        names = self._filled if is_padded else self.dataset.field_names
        return frozenset(names) - set(self.path)

    @cached_property
    def untrimmed(self) -> frozenset[str]:
        """The columns whose space is kept."""
        return frozenset(one.name for one in self.dataset.fields if not one.trim)

    @cached_property
    def unaddable(self) -> frozenset[str]:
        """The lower-case names that no added column can have."""
        others = [one.name for one in self.dataset.derived]
        others += [one.column for one in self.dataset.attachments]
        return frozenset(name.lower() for name in (*self.columns, *others, *SYSTEM_COLUMNS))

    @cached_property
    def most_characters(self) -> int:
        """The number of characters that a cell may have."""
        return _USERS_CELL_CHARACTERS if self.dataset.is_preset else _CELL_CHARACTERS

    @cached_property
    def most_bytes(self) -> Mapping[str, int]:
        """The number of bytes, in UTF-8, that the cell of an indexed column may have."""
        limits: dict[str, int] = {}
        for columns in (self.dataset.primary_key, *self.dataset.indexes):
            texts = [name for name in columns if self._is_limited(name)]
            if not texts:
                continue
            left = _INDEX_ENTRY_BYTES - _INDEX_COLUMN_BYTES * len(columns)
            left -= _OBJECT_KEY_BYTES if not set(self.path).isdisjoint(columns) else 0
            for name in texts:
                limits[name] = min(limits.get(name, left), left // len(texts))
        if self.dataset.is_preset:
            limits = {name: min(limit, _USERS_ID_BYTES) for name, limit in limits.items()}
        return limits

    @property
    def quote(self) -> str:
        """The character that quotes cells; empty if none does."""
        return self.dataset.dialect.quote_char

    @property
    def header_row(self) -> int:
        """The line, from 1, from which on the header is searched."""
        return self.dataset.dialect.header_row

    @cached_property
    def signs_of_full_parsing(self) -> tuple[bytes, ...]:
        """The bytes that the fast path cannot read."""
        return (b"\0",) if self.quote.isascii() else (self.quote.encode(), b"\0")

    @cached_property
    def has_ascii_delimiter(self) -> bool:
        """Whether the delimiter is one byte."""
        return self.delimiter is None or self.delimiter.isascii()

    @cached_property
    def _filled(self) -> tuple[str, ...]:
        """The declared columns that are never null."""
        key = self.dataset.primary_key
        fields = self.dataset.fields
        declared = tuple(one.name for one in fields if one.constraints.required or one.name in key)
        return (*declared, *(name for name in key if name not in declared))

    def _is_limited(self, name: str) -> bool:
        """Whether the size of the column in an index depends on the size of a cell."""
        if name in self.path or name not in self.dataset.field_names:
            return False
        return self.dataset.field(name).type in _OF_VARIABLE_SIZE
