"""The tables of a dataset: created if they are missing, and extended by columns.

A table with the name of a dataset's that Bucketline did not create is never touched, and a change
that would rewrite a table is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from etl.db.dataset_names import (
    RETIRED,
    RETIRED_AT,
    SHADOWED,
    TableIndex,
    indexes,
    relation_name,
    retired_indexes,
)
from etl.db.dependents import dependents, refuse
from etl.db.identifiers import in_text
from etl.db.sql import statements
from etl.db.table_locks import lock_dataset
from etl.model.dataset import Dataset, DerivedAs
from etl.model.declaration import Alteration, rebuilding
from etl.model.errors import ConfigurationError
from etl.model.routing import path_names
from etl.model.types import column_type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from etl.db.dataset_sql import DatasetSql
    from etl.model.declaration import DeclarationChange

LOCK_TIMEOUT = "2s"  # readers of the table wait as long as we do
_BYTE_TEXT = 'text COLLATE "C"'
_CALM = "autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 2147483647"
_NOT_SUPPORTED = "0A000"  # a view has the column
# Whole days, rounded down, as in etl.db.tables.
_DATE = "(DATE '1970-01-01' + (({0} + 8640000000000) / 86400000 - 100000)::integer)"


class TableColumn(NamedTuple):
    """A column: its name, its type, and whether it may be null."""

    name: str
    type: str
    is_required: bool = False

    @property
    def sql(self) -> str:
        """The column as in CREATE TABLE."""
        return f"{in_text(self.name)} {self.type}{' NOT NULL' if self.is_required else ''}"


_KEY_COLUMN = TableColumn("_source_key", _BYTE_TEXT, is_required=True)
_LINE_COLUMN = TableColumn("_source_line", "integer", is_required=True)
_RUN_COLUMN = TableColumn("_run_id", "bigint", is_required=True)
_PLACE = [TableColumn("_extra", "jsonb"), _KEY_COLUMN, _LINE_COLUMN]
_WRITTEN = [_RUN_COLUMN, TableColumn("_updated_at", "timestamptz", is_required=True)]
_RETIRED_AT = TableColumn(RETIRED_AT, "timestamptz", is_required=True)


def ensure(
    connection: Connection,
    sql: DatasetSql,
    changes: Sequence[DeclarationChange] = (),
    *,
    keeps_staging: bool = False,
) -> None:
    """Create the tables of the dataset, or alter them in place. The caller commits.

    Columns that are missing are added, and `changes` of the declaration are made. The staging table
    is created again, unless it is to be kept.

    Raises:  ConfigurationError when a table is not Bucketline's, or would have to be rewritten.
             SQLAlchemy's error when a lock was not free in time.
    """
    if not keeps_staging:
        renew_staging(connection, sql)
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    found = _found(connection, sql)
    _refuse_foreign(sql, found)
    missing = {name: made for name, made in created(sql).items() if name not in found}
    for statement in (one for made in missing.values() for one in made):
        connection.execute(text(statement))
    if sql.dataset.table not in missing:
        _alter(connection, sql, changes)
        _check_unchanged(connection, sql)
        _drop_not_null(connection, sql)
        add_columns(connection, sql, [*sql.cells, *sql.attached])
    connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))


def renew_staging(connection: Connection, sql: DatasetSql) -> None:
    """Create the staging table again. The caller commits.

    Raises:  SQLAlchemy's error when a lock was not free in time.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"DROP TABLE IF EXISTS {sql.own_staging}; {create_staging(sql)}"))


def ensure_indexes(connection: Connection, sql: DatasetSql) -> None:
    """Create the declared indexes that are missing, while the table is read. The caller commits.

    Raises:  SQLAlchemy's error when a lock was not free in time.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    _, *others = indexes(sql.dataset)
    of_retired = retired_indexes(sql.dataset)
    for table, wanted in ((sql.table, others), (sql.retired, of_retired)):
        for index in wanted:
            connection.execute(text(sql.create_index(index, table, if_missing=True)))
    connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))


def add_columns(connection: Connection, sql: DatasetSql, names: Iterable[str]) -> None:
    """Add those of the columns that the tables lack; all are nullable. The caller commits.

    The columns of attachments are not part of the shadowed rows and of staging.
    """
    wanted = set(names)
    columns = [one for one in _cells(sql) if one.name in wanted]
    attached = [one for one in _attached(sql.dataset) if one.name in wanted]
    for table in (sql.table, sql.retired):
        _add_to(connection, table, columns + attached)
    if sql.dataset.primary_key:
        _add_to(connection, sql.shadowed, columns)
    add_to_staging(connection, sql, wanted)


def add_to_staging(connection: Connection, sql: DatasetSql, names: Collection[str]) -> None:
    """Add those of the columns that the tables of staged rows lack. The caller commits."""
    columns = [one for one in _cells(sql) if one.name in names]
    for table in {sql.own_staging, sql.staging}:
        _add_to(connection, table, columns)


def _add_to(connection: Connection, table: str, columns: Iterable[TableColumn]) -> None:
    added = ", ".join(
        f"ADD COLUMN IF NOT EXISTS {one._replace(is_required=False).sql}" for one in columns
    )
    if added:
        connection.execute(text(f"ALTER TABLE {table} {added}"))


def drop_tables(connection: Connection, sql: DatasetSql) -> None:
    """Drop those tables of the dataset that are ours. The caller commits.

    Raises:  ConfigurationError with the statements that drop what depends on them; DatasetRefused
             when other sessions use them for too long.
    """
    table = sql.dataset.table
    tables = {table: sql.table, table + RETIRED: sql.retired, table + SHADOWED: sql.shadowed}
    found = _found(connection, sql, list(tables))
    ours = [written.replace("\\:", ":") for name, written in tables.items() if found.get(name)]
    refuse(
        [other for one in ours for other in dependents(connection, one)],
        f"Other objects depend on the tables of dataset {sql.dataset.name!r}.",
    )
    lock_dataset(connection, sql.dataset.name, ours)
    for one in ours:
        connection.exec_driver_sql(f"DROP TABLE {one}")
    connection.execute(text(f"DROP TABLE IF EXISTS {sql.own_staging}"))


def check_names(connection: Connection, sql: DatasetSql) -> None:
    """Raises:  ConfigurationError when another program has a relation with the name of a table."""
    _refuse_foreign(sql, _found(connection, sql))


def are_ours(connection: Connection, sql: DatasetSql) -> bool:
    """Whether the table exists, and all existing tables of the dataset look like ours."""
    found = _found(connection, sql)
    return sql.dataset.table in found and all(found.values())


def left_columns(connection: Connection, sql: DatasetSql) -> dict[str, bool]:
    """The columns that the tables have from an earlier declaration, or that its data added.

    The value is whether data may have added it; texts that were declared look the same.
    """
    columns = [one.name for one in shapes(sql)[sql.dataset.table].columns]
    named = text(statements("dataset_tables")["left"])
    rows = connection.execute(named, {**_relations(sql), "columns": columns})
    return {row.name: row.may_be_added for row in rows}


# -- what exists


def _found(
    connection: Connection, sql: DatasetSql, names: Sequence[str] | None = None
) -> dict[str, bool]:
    """The relations with the names of the tables; whether each looks like ours."""
    rows = connection.execute(
        text(statements("dataset_tables")["found"]),
        {"schema": sql.schema, "names": list(names or created(sql))},
    )
    return {row.name: row.is_ours for row in rows}


def _refuse_foreign(sql: DatasetSql, found: dict[str, bool]) -> None:
    foreign = sorted(name for name, is_ours in found.items() if not is_ours)
    if foreign:
        raise ConfigurationError(
            f"{sql.schema} already contains {', '.join(foreign)}, which Bucketline did not create.",
            hint=f"Rename it, or give dataset {sql.dataset.name!r} another `table`.",
        )


def _check_unchanged(connection: Connection, sql: DatasetSql) -> None:
    """Refuse columns of another type, undeclared ones that rows must have, and another key."""
    named, relations = statements("dataset_tables"), _relations(sql)
    differing = connection.execute(text(named["differing"]), relations).all()
    key = list(connection.scalars(text(named["primary_key"]), relations))
    faults = [f"column {row.name} is {row.stored}, not {row.declared}" for row in differing]
    required = [row.name for row in _required(connection, sql) if not row.is_declared]
    faults += [f"column {name} must not be null, but is not declared" for name in required]
    faults += [
        f"column {name} is not declared"
        for name, may_be_added in left_columns(connection, sql).items()
        if not may_be_added and name not in required
    ]
    if key != list(sql.key):
        faults.append(f"the primary key is {', '.join(key) or 'missing'}, not {', '.join(sql.key)}")
    if faults:
        raise ConfigurationError(
            f"The table of dataset {sql.dataset.name!r} does not match its declaration:"
            f" {'; '.join(faults)}.",
            hint=rebuilding(sql.dataset.name),
        )


def _alter(connection: Connection, sql: DatasetSql, changes: Iterable[DeclarationChange]) -> None:
    """Make the changes that PostgreSQL makes without a rewrite of the table."""
    types = {one.name: one.type for one in _cells(sql)}
    kept = {index.columns for index in indexes(sql.dataset)}
    for change in changes:
        if change.alteration is Alteration.DROP_INDEX and change.columns not in kept:
            connection.execute(text(sql.drop_index(change.columns)))
            if not retired_indexes(sql.dataset):
                connection.execute(text(sql.drop_index((RETIRED_AT,), RETIRED)))
        elif change.alteration is Alteration.WIDEN_TYPE:
            altered = {name: f"TYPE {types[name]}" for name in change.columns}
            _alter_columns(connection, sql, altered)


def _drop_not_null(connection: Connection, sql: DatasetSql) -> None:
    """Drop NOT NULL from columns that are no longer declared as required."""
    loosened = [row.name for row in _required(connection, sql) if row.is_declared]
    _alter_columns(connection, sql, dict.fromkeys(loosened, "DROP NOT NULL"))


def _required(connection: Connection, sql: DatasetSql) -> Sequence[Row[Any]]:
    """The NOT NULL columns that are not declared as required."""
    named = text(statements("dataset_tables")["required"])
    return connection.execute(named, _relations(sql)).all()


def _relations(sql: DatasetSql) -> dict[str, str]:
    """The table, that of retired rows and the staging table, as parameters."""
    names = {"table": sql.table, "retired": sql.retired, "staging": sql.own_staging}
    return {relation: name.replace("\\:", ":") for relation, name in names.items()}


def _alter_columns(connection: Connection, sql: DatasetSql, altered: Mapping[str, str]) -> None:
    """Alter the columns of the file in all tables but staging.

    Raises:  ConfigurationError naming what depends on the column.
    """
    if not altered:
        return
    actions = ", ".join(f"ALTER COLUMN {in_text(name)} {how}" for name, how in altered.items())
    tables = [sql.table, sql.retired, *([sql.shadowed] if sql.dataset.primary_key else [])]
    try:
        for table in tables:
            connection.execute(text(f"ALTER TABLE {table} {actions}"))
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _NOT_SUPPORTED:
            raise
        diag = error.orig.diag  # type: ignore[union-attr]
        raise ConfigurationError(
            f"The table of dataset {sql.dataset.name!r} cannot be changed:"
            f" {diag.message_primary}: {diag.message_detail}.",
            hint="Drop what depends on the column, apply the change and create it again, or set the"
            " declaration back.",
        ) from error


# -- definitions


class TableShape(NamedTuple):
    """The columns, the primary key and the other indexes of a table."""

    columns: Sequence[TableColumn]
    key: tuple[str, ...]
    indexes: Sequence[TableIndex] = ()


def shapes(sql: DatasetSql) -> dict[str, TableShape]:
    """The tables of the dataset, by name: of live, retired and shadowed rows."""
    dataset = sql.dataset
    table, key = dataset.table, sql.key
    columns = _cells(sql)
    stored = [*columns, *_derived(dataset), *_attached(dataset)]
    _, *others = indexes(dataset)
    lasting = [
        *(one._replace(is_required=one.name in key) for one in stored),
        *_PLACE,
        *_WRITTEN,
        _RETIRED_AT,
    ]
    found = {
        table: TableShape([*stored, *_PLACE, *_WRITTEN], key, others),
        table + RETIRED: TableShape(lasting, key, retired_indexes(dataset)),
    }
    if dataset.primary_key:
        name = table + SHADOWED
        by_key = TableIndex(relation_name(name, key, "idx"), key)
        place = ("_source_key", "_source_line")
        found[name] = TableShape([*columns, *_PLACE, _RUN_COLUMN], place, [by_key])
    return found


def created(sql: DatasetSql) -> dict[str, list[str]]:
    """The statements that create each table with its indexes, by table name."""
    tables = dict(zip(sql.relations, (sql.table, sql.retired, sql.shadowed), strict=False))
    return {
        name: [
            _create(tables[name], name, shape.columns, shape.key),
            *(sql.create_index(one, tables[name]) for one in shape.indexes),
        ]
        for name, shape in shapes(sql).items()
    }


def create_staging(sql: DatasetSql, *, kind: str = "UNLOGGED", table: str | None = None) -> str:
    """The statement that creates the table of rows read by a run."""
    columns = ", ".join(one.sql for one in [*_cells(sql), *_PLACE])
    return f"CREATE {kind} TABLE {table or sql.own_staging} ({columns}) WITH ({_CALM})"


def create_successor(sql: DatasetSql) -> str:
    """The statement that creates the successor of the table.

    It has neither indexes nor the columns that have the same value in all rows of a run.
    """
    dataset = sql.dataset
    stored = [*_cells(sql), *_derived(dataset), *_attached(dataset), *_PLACE]
    columns = ", ".join(one.sql for one in stored)
    return f"CREATE TABLE {sql.successor} ({columns}) WITH (autovacuum_enabled = false)"


def _create(table: str, name: str, columns: Sequence[TableColumn], key: Sequence[str]) -> str:
    lines = [one.sql for one in columns]
    listed = ", ".join(map(in_text, key))
    constraint = in_text(relation_name(name, (), "pkey"))
    lines.append(f"CONSTRAINT {constraint} PRIMARY KEY ({listed})")
    return f"CREATE TABLE {table} (\n    " + ",\n    ".join(lines) + ")"


def _cells(sql: DatasetSql) -> list[TableColumn]:
    """The columns of the file and its key, with those that data added."""
    dataset = sql.dataset
    columns = {
        field.name: TableColumn(
            field.name,
            column_type(field, is_key=field.name in dataset.primary_key),
            field.constraints.required or field.name in dataset.primary_key,
        )
        for field in dataset.fields
    }
    for name in path_names(dataset):
        is_key = name in dataset.primary_key
        column = TableColumn(name, _BYTE_TEXT if is_key else "text", is_key)
        columns.setdefault(name, column)
    for name in sql.added:
        columns.setdefault(name, TableColumn(name, "text"))
    return list(columns.values())


def _attached(dataset: Dataset) -> list[TableColumn]:
    return [TableColumn(one.column, "text") for one in dataset.attachments]


def _derived(dataset: Dataset) -> list[TableColumn]:
    """The stored derived columns."""
    return [
        TableColumn(
            one.name, f"date GENERATED ALWAYS AS {_DATE.format(in_text(one.source))} STORED"
        )
        for one in dataset.derived
        if one.computed_as is DerivedAs.DATE
    ]
