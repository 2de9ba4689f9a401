"""What can be told of a user in an answer of many, and how PostgreSQL writes it as JSON.

The names below are ours, so they may be syntax; no value ever is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, bindparam, func, literal_column, select

from api.rows.filters import age_in_sql, conditions, values
from etl.db.tables import users

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api.rows.filters import Filters

_MOMENT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

# As to_json(), which looks its argument's type up for every value; this does it once a statement.
_TEXT = "json_scalar({column})::text"
_NUMBER = "{column}::text"
_PLAIN_TEXT = "'\"' || {column}::text || '\"'"  # of digits and the like: nothing to escape


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to tell of a user: its value on a day, and that value's JSON as SQL."""

    value: Callable[[date], ColumnElement[Any]]
    json: str
    is_always_there: bool = True


def _stored(name: str) -> Callable[[date], ColumnElement[Any]]:
    return lambda _: users.c[name]


def _updated_at(_: date) -> ColumnElement[Any]:
    return func.to_char(func.timezone("UTC", users.c.updated_at), _MOMENT)


FIELDS: dict[str, Field] = {
    "first_name": Field(_stored("first_name"), _TEXT),
    "last_name": Field(_stored("last_name"), _TEXT),
    "birthts": Field(_stored("birthts"), _NUMBER),
    "birthdate": Field(_stored("birthdate"), _PLAIN_TEXT, is_always_there=False),
    "age": Field(age_in_sql, _NUMBER, is_always_there=False),
    "img_path": Field(_stored("img_path"), _TEXT, is_always_there=False),
    "extra": Field(_stored("extra"), _NUMBER, is_always_there=False),
    "source_key": Field(_stored("source_key"), _TEXT),
    "source_line": Field(_stored("source_line"), _NUMBER),
    "run_id": Field(_stored("run_id"), _NUMBER),
    "updated_at": Field(_updated_at, _PLAIN_TEXT),
}
_SOME_DAY = date(2000, 1, 1)
USUAL_FIELDS = ("first_name", "last_name", "birthts", "img_path")
ID = "user_id"


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Which users are wanted, as of which day, and what of them."""

    filters: Filters
    today: date
    fields: tuple[str, ...] = USUAL_FIELDS
    after: str | None = None
    limit: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table of them."""
        return (ID, *self.fields)

    @property
    def facts(self) -> tuple[object, ...]:
        """All that tells this answer from another about the same users.

        The day only where ages matter: else tomorrow's is the same.
        """
        ages = (self.filters.min_age, self.filters.max_age)
        needs_day = ages != (None, None) or "age" in self.fields
        day = self.today if needs_day else None
        return self.filters, self.fields, self.after, self.limit, day

    @property
    def shape(self) -> RowQuery:
        """What stands for all that are asked for alike, and differ in `values` alone."""
        filters = replace(
            self.filters, min_age=_some(self.filters.min_age), max_age=_some(self.filters.max_age)
        )
        after = None if self.after is None else ""
        return replace(self, filters=filters, today=_SOME_DAY, after=after, limit=_some(self.limit))

    @property
    def values(self) -> dict[str, object]:
        """The values of the statement's parameters, by name."""
        return {**values(self.filters, self.today), "after": self.after, "limit": self.limit}


def _some(number: int | None) -> int | None:
    return None if number is None else 0


def rows_of(wanted: RowQuery, expressions: Sequence[str]) -> Select[Any]:
    """A row for each user wanted, of SQL expressions over `chosen`.

    The choice is a query of its own: nothing is made of rows that a limit leaves out.
    """
    chosen = _choice(wanted).subquery("chosen")
    row: list[ColumnElement[Any]] = [literal_column(expression) for expression in expressions]
    return select(*row).select_from(chosen).order_by(chosen.c[ID])


def _choice(wanted: RowQuery) -> Select[Any]:
    where = conditions(wanted.filters, wanted.today)
    if wanted.after is not None:
        where.append(users.c.user_id > bindparam("after", wanted.after))
    values = [FIELDS[name].value(wanted.today).label(name) for name in wanted.fields]
    choice = select(users.c.user_id, *values).where(*where).order_by(users.c.user_id)
    return choice if wanted.limit is None else choice.limit(bindparam("limit", wanted.limit))


def json_object(names: Sequence[str], before: str = "", after: str = "") -> str:
    """The JSON object of these columns of `chosen`, between two texts, as SQL.

    Put together by hand, in few parts: `json_build_object` takes half as long again.
    """
    parts, gap = [], before + "{"
    for name in names:
        parts += [f"'{gap}\"{name}\" : '", json_value(name)]
        gap = ", "
    end = "}" if names else gap + "}"
    return " || ".join([*parts, f"'{end}{after}'"])


def json_value(name: str) -> str:
    """The JSON of this column of `chosen`, as SQL."""
    if name == ID:
        return _TEXT.format(column=f"chosen.{name}")
    field = FIELDS[name]
    text = field.json.format(column=f"chosen.{name}")
    return text if field.is_always_there else f"coalesce({text}, 'null')"
