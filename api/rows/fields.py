"""The fields of a user in GET /data, and the SQL that encodes them as JSON.

Field names come from this module, so they may become SQL text. Values are always parameters.
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

_TIMESTAMP = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

# Like to_json(), but it looks up the type of its argument once per statement, not per value.
_TEXT = "json_scalar({column})::text"
_NUMBER = "{column}::text"
_PLAIN_TEXT = "'\"' || {column}::text || '\"'"  # for digits and punctuation that need no escaping


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a user: its value on a given date, and the SQL of its JSON."""

    value: Callable[[date], ColumnElement[Any]]
    json: str
    is_not_null: bool = True


def _stored(name: str) -> Callable[[date], ColumnElement[Any]]:
    return lambda _: users.c[name]


def _updated_at(_: date) -> ColumnElement[Any]:
    return func.to_char(func.timezone("UTC", users.c._updated_at), _TIMESTAMP)


FIELDS: dict[str, Field] = {
    "first_name": Field(_stored("first_name"), _TEXT),
    "last_name": Field(_stored("last_name"), _TEXT),
    "birthts": Field(_stored("birthts"), _NUMBER),
    "birthdate": Field(_stored("birthdate"), _PLAIN_TEXT, is_not_null=False),
    "age": Field(age_in_sql, _NUMBER, is_not_null=False),
    "img_path": Field(_stored("img_path"), _TEXT, is_not_null=False),
    "extra": Field(_stored("_extra"), _NUMBER, is_not_null=False),
    "source_key": Field(_stored("_source_key"), _TEXT),
    "source_line": Field(_stored("_source_line"), _NUMBER),
    "run_id": Field(_stored("_run_id"), _NUMBER),
    "updated_at": Field(_updated_at, _PLAIN_TEXT),
}
_ANY_DATE = date(2000, 1, 1)
DEFAULT_FIELDS = ("first_name", "last_name", "birthts", "img_path")
ID = "user_id"


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Which users to return, which fields of them, and the date for their ages."""

    filters: Filters
    today: date
    fields: tuple[str, ...] = DEFAULT_FIELDS
    after: str | None = None
    limit: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the result."""
        return (ID, *self.fields)

    @property
    def cache_key(self) -> tuple[object, ...]:
        """Everything that the response depends on, apart from the users themselves.

        It contains the date only if the response depends on ages.
        """
        ages = (self.filters.min_age, self.filters.max_age)
        depends_on_age = ages != (None, None) or "age" in self.fields
        today = self.today if depends_on_age else None
        return self.filters, self.fields, self.after, self.limit, today

    @property
    def template(self) -> RowQuery:
        """The same query with placeholder values: queries with one template share their SQL."""
        filters = replace(
            self.filters,
            min_age=_placeholder(self.filters.min_age),
            max_age=_placeholder(self.filters.max_age),
        )
        after = None if self.after is None else ""
        return replace(
            self, filters=filters, today=_ANY_DATE, after=after, limit=_placeholder(self.limit)
        )

    @property
    def values(self) -> dict[str, object]:
        """The values of the statement's parameters, by name."""
        return {**values(self.filters, self.today), "after": self.after, "limit": self.limit}


def _placeholder(number: int | None) -> int | None:
    return None if number is None else 0


def select_rows(query: RowQuery, expressions: Sequence[str]) -> Select[Any]:
    """Select one row per user, with SQL expressions over the subquery `chosen`.

    The subquery applies the limit, so that only rows of the page are encoded.
    """
    chosen = _select_users(query).subquery("chosen")
    row: list[ColumnElement[Any]] = [literal_column(expression) for expression in expressions]
    return select(*row).select_from(chosen).order_by(chosen.c[ID])


def _select_users(query: RowQuery) -> Select[Any]:
    where = conditions(query.filters, query.today)
    if query.after is not None:
        where.append(users.c.user_id > bindparam("after", query.after))
    fields = [FIELDS[name].value(query.today).label(name) for name in query.fields]
    statement = select(users.c.user_id, *fields).where(*where).order_by(users.c.user_id)
    return statement if query.limit is None else statement.limit(bindparam("limit", query.limit))


def json_object(names: Sequence[str], before: str = "", after: str = "") -> str:
    """The SQL of a JSON object with these columns of `chosen`, between two texts.

    Concatenation with few operands: `json_build_object` takes 50% longer.
    """
    parts, gap = [], before + "{"
    for name in names:
        parts += [f"'{gap}\"{name}\" : '", json_value(name)]
        gap = ", "
    end = "}" if names else gap + "}"
    return " || ".join([*parts, f"'{end}{after}'"])


def json_value(name: str) -> str:
    """The SQL of the JSON of this column of `chosen`."""
    if name == ID:
        return _TEXT.format(column=f"chosen.{name}")
    field = FIELDS[name]
    text = field.json.format(column=f"chosen.{name}")
    return text if field.is_not_null else f"coalesce({text}, 'null')"
