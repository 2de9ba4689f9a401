"""What a table of a dataset is, and what it is to become."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from etl.db.dataset_tables import TableShape


class FoundColumn(NamedTuple):
    """A column of the table, of its new shape, or of both; see reshape.sql."""

    name: str
    stored_type: str | None
    wanted_type: str | None
    is_required: bool
    has_default: bool
    stored_generated: str | None
    wanted_generated: str | None
    is_same: bool


class FoundIndex(NamedTuple):
    """An index of the table; see reshape.sql."""

    name: str
    is_key: bool
    columns: Sequence[str]
    qualified: str
    description: str
    constraint_description: str | None


class Wish(NamedTuple):
    """What a table is to become: its name and shape.

    `droppable` are the columns to drop unless they are in the shape; all others stay. `order`
    sorts the rows of which a new key keeps the first. Texts of the columns `formatted` are not
    converted to numbers.
    """

    name: str
    shape: TableShape
    order: str
    droppable: Collection[str] = ()
    formatted: frozenset[str] = frozenset()
