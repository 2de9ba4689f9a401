"""A query of the rows of a table, and its SQL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import ColumnElement, Select, bindparam, literal_column, select, tuple_
from sqlalchemy.sql.elements import quoted_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.rows.columns import Column
    from api.rows.shapes import RowShape

_ANY_DATE = date(2000, 1, 1)


class RowFilters(Protocol):
    """Which rows to return."""

    @property
    def template(self) -> RowFilters:
        """The filters without their values; equal templates have the same SQL."""

    @property
    def cache_key(self) -> object:
        """What the filters are, for the ETag."""

    def depends_on_age(self, shape: RowShape) -> bool:
        """Whether the result depends on the date."""

    def where(self, shape: RowShape, today: date) -> list[ColumnElement[bool]]:
        """The conditions in SQL."""

    def values(self, today: date) -> Mapping[str, object]:
        """The values of the parameters of `where`, and of ages."""


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Which rows to return, which fields of them, and the date for ages.

    `after` has the values that identify the last row of the page before. The rows are in the order
    of the shape's identity, or, `is_descending`, in the opposite one.
    """

    shape: RowShape
    filters: RowFilters
    today: date
    fields: tuple[str, ...]
    after: tuple[object, ...] | None = None
    limit: int | None = None
    is_descending: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the response."""
        return tuple(self.shape.columns[name] for name in self.fields)

    @property
    def has_cursor(self) -> bool:
        """Whether a page needs the columns that identify a row in addition to the fields."""
        return self.limit is not None and not set(self.shape.identity) <= set(self.fields)

    @property
    def cursor(self) -> tuple[Column, ...]:
        """The additional columns of a page."""
        names = self.shape.identity if self.has_cursor else ()
        return tuple(self.shape.columns[name] for name in names)

    @property
    def depends_on_date(self) -> bool:
        """Whether the response contains or depends on ages."""
        return any(one.is_age for one in self.columns) or self.filters.depends_on_age(self.shape)

    @property
    def cache_key(self) -> tuple[object, ...]:
        """Everything that the response depends on, apart from the rows themselves."""
        today = self.today if self.depends_on_date else None
        return self.filters.cache_key, self.fields, self.after, self.limit, today

    @property
    def template(self) -> RowQuery:
        """The same query with placeholder values: queries with one template share their SQL."""
        return replace(
            self,
            filters=self.filters.template,
            today=_ANY_DATE,
            after=None if self.after is None else ("",) * len(self.after),
            limit=None if self.limit is None else 0,
        )

    @property
    def values(self) -> dict[str, object]:
        """The values of the statement's parameters, by name."""
        after = {f"after_{number}": one for number, one in enumerate(self.after or ())}
        return {**self.filters.values(self.today), **after, "limit": self.limit}


def select_rows(query: RowQuery, expressions: Sequence[str]) -> Select[Any]:
    """Select one row per row of the table, with SQL expressions over the subquery `chosen`.

    The subquery applies the limit, so that only rows of the page are encoded.
    """
    chosen = _chosen(query).subquery("chosen")
    row: list[ColumnElement[Any]] = [literal_column(expression) for expression in expressions]
    order = [chosen.c[name] for name in query.shape.identity]
    return select(*row).select_from(chosen).order_by(*_ordered(query, order))


def _chosen(query: RowQuery) -> Select[Any]:
    shape = query.shape
    identity = [shape.columns[name].source for name in shape.identity]
    where = query.filters.where(shape, query.today)
    if query.after is not None:
        where.append(_follows(identity, query.after, is_descending=query.is_descending))
    names = dict.fromkeys((*shape.identity, *query.fields))
    columns = [
        shape.columns[name].value(query.today).label(quoted_name(name, quote=True))
        for name in names
    ]
    order = _ordered(query, identity)
    statement = select(*columns).select_from(shape.table).where(*where).order_by(*order)
    return statement if query.limit is None else statement.limit(bindparam("limit", query.limit))


def _ordered(query: RowQuery, columns: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    return [one.desc() for one in columns] if query.is_descending else list(columns)


def _follows(
    identity: Sequence[ColumnElement[Any]], after: Sequence[object], *, is_descending: bool
) -> ColumnElement[bool]:
    """Whether a row comes after the one that these values identify."""
    given: list[ColumnElement[Any]] = [
        bindparam(f"after_{number}", one) for number, one in enumerate(after)
    ]
    if len(identity) == 1:
        left, right = identity[0], given[0]
        return left < right if is_descending else left > right
    place, last = tuple_(*identity), tuple_(*given)
    return place < last if is_descending else place > last
