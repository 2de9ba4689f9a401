"""What can be asked of a table: its columns, and the order of its rows.

A shape is made once for each version of a dataset, so that statements can be cached by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Date, cast, func, literal_column

from api.rows.columns import Column
from api.state.catalog import ONLY_USERS
from etl.db.dataset_names import PLACE
from etl.db.identifiers import table_of
from etl.db.tables import users
from etl.model.dataset import USERS, DerivedAs, FieldType
from etl.model.routing import path_names
from etl.model.types import DERIVED_SQL, SqlType, sql_type

if TYPE_CHECKING:
    from sqlalchemy import FromClause, TableClause

    from api.state.catalog import Installed
    from etl.model.dataset import Dataset, Derived

RETIRED_AT = "_retired_at"
_TEXT = SqlType("text")
_SYSTEM = {
    "_extra": SqlType("jsonb"),
    "_source_key": _TEXT,
    "_source_line": SqlType("integer"),
    "_run_id": SqlType("bigint"),
    "_updated_at": SqlType("timestamptz"),
    RETIRED_AT: SqlType("timestamptz"),
}
_LIVE = ("_extra", *PLACE, "_run_id", "_updated_at")
_SHADOWED = "_shadowed"


@dataclass(frozen=True, slots=True, eq=False)
class RowShape:
    """A table or a part of it: all columns by name, and those that identify and order its rows.

    `default_fields` are the columns of a response that names none.
    """

    name: str
    table: FromClause
    columns: dict[str, Column]
    identity: tuple[str, ...]
    default_fields: tuple[str, ...]

    @property
    def is_keyed(self) -> bool:
        """Whether a key identifies the rows, and not their place in the bucket."""
        return self.identity != PLACE


@lru_cache(maxsize=1024)
def live_rows(installed: Installed, schema: str) -> RowShape:
    """The rows of a dataset."""
    return _shape(installed, schema, "", _types(installed))


@lru_cache(maxsize=1024)
def retired_rows(installed: Installed, schema: str) -> RowShape:
    """The rows of a dataset whose objects no longer contain them, with the time of retirement."""
    named = _types(installed) | {RETIRED_AT: _SYSTEM[RETIRED_AT]}
    return _shape(installed, schema, "_retired", named)


@lru_cache(maxsize=1024)
def shadowed_rows(installed: Installed, schema: str) -> RowShape:
    """The rows of a dataset that another row with the same key supersedes."""
    dataset = installed.dataset
    others = {one.column for one in dataset.attachments} | {one.name for one in dataset.derived}
    named = {name: type_ for name, type_ in _types(installed).items() if name not in others}
    return _shape(installed, schema, _SHADOWED, named)


def _shape(installed: Installed, schema: str, suffix: str, named: dict[str, SqlType]) -> RowShape:
    """A table of the dataset, with these columns and its own."""
    dataset, is_shadowed = installed.dataset, suffix == _SHADOWED
    identity = PLACE if is_shadowed else dataset.primary_key or PLACE
    system = _LIVE[:-1] if is_shadowed else _LIVE
    types = named | {name: _SYSTEM[name] for name in system}
    ages = {} if is_shadowed else _ages(dataset)
    source = table_of(dataset.table + suffix, schema, [name for name in types if name not in ages])
    is_not_null = {*dataset.primary_key, *system, RETIRED_AT} - {"_extra"}
    columns = {
        name: Column(
            name,
            type_,
            _birthdate(dataset, ages[name], source) if name in ages else source.c[name],
            is_not_null=name in is_not_null,
            is_age=name in ages,
        )
        for name, type_ in types.items()
    }
    return RowShape(dataset.name, source, columns, identity, tuple(named))


def _types(installed: Installed) -> dict[str, SqlType]:
    """The columns that data and declaration make, in their order."""
    dataset = installed.dataset
    fields = {one.name: sql_type(one.type, one.sql) for one in dataset.fields}
    paths = dict.fromkeys(path_names(dataset), _TEXT)
    derived = {one.name: SqlType(DERIVED_SQL[one.computed_as]) for one in dataset.derived}
    attached = dict.fromkeys((one.column for one in dataset.attachments), _TEXT)
    declared = fields | {name: one for name, one in paths.items() if name not in fields}
    return {**declared, **derived, **attached, **dict.fromkeys(installed.added, _TEXT)}


# -- ages


def _ages(dataset: Dataset) -> dict[str, Derived]:
    return {one.name: one for one in dataset.derived if one.computed_as is DerivedAs.AGE}


def _birthdate(dataset: Dataset, age: Derived, source: TableClause) -> ColumnElement[Any]:
    """The date that an age is computed from: a stored date of the same field, if there is one."""
    for one in dataset.derived:
        if one.computed_as is DerivedAs.DATE and one.source == age.source:
            return source.c[one.name]
    stored = source.c[age.source]
    kind = dataset.field(age.source).type
    if kind is FieldType.EPOCH_MS:
        seconds = func.floor(stored / literal_column("1000.0"))
        return cast(func.timezone("UTC", func.to_timestamp(seconds)), Date)
    if kind is FieldType.DATETIME:
        return cast(func.timezone("UTC", stored), Date)
    return stored


# -- GET /data

_USER_COLUMNS = {
    "user_id": "user_id",
    "first_name": "first_name",
    "last_name": "last_name",
    "birthts": "birthts",
    "birthdate": "birthdate",
    "age": "birthdate",
    "img_path": "img_path",
    "extra": "_extra",
    "source_key": "_source_key",
    "source_line": "_source_line",
    "run_id": "_run_id",
    "updated_at": "_updated_at",
}
_NULLABLE = ("birthdate", "age", "img_path", "extra")


def _users() -> RowShape:
    """The users as in GET /data, whose names of columns are older than datasets."""
    types = _types(ONLY_USERS[USERS.name]) | _SYSTEM
    columns = {
        name: Column(
            name,
            types["age" if name == "age" else stored],
            users.c[stored],
            is_not_null=name not in _NULLABLE,
            is_age=name == "age",
        )
        for name, stored in _USER_COLUMNS.items()
    }
    return RowShape(
        "users", users, columns, ("user_id",), ("first_name", "last_name", "birthts", "img_path")
    )


USERS_OF_DATA = _users()
