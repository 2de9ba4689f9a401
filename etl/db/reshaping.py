"""All tables of a dataset get the shape of another declaration; see etl.db.reshape."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from etl.db import dataset_tables
from etl.db.dataset_names import RETIRED, SHADOWED
from etl.db.dependents import dependents
from etl.db.found_tables import Wish
from etl.db.reshape import Reshape, find, plain
from etl.db.reshape_obstacles import obstacles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from etl.db.dataset_sql import DatasetSql
    from etl.db.dependents import Dependent

_ORDERS = {"": "", RETIRED: "_retired_at DESC, ", SHADOWED: ""}


def find_shapes(
    connection: Connection, before: DatasetSql, sql: DatasetSql, left: Iterable[str] = ()
) -> dict[str, Reshape]:
    """By suffix, how the existing tables of `before` get the shape that the dataset declares.

    `left` are columns that they have of an earlier declaration.
    """
    table, former_shapes = before.dataset.table, dataset_tables.shapes(before)
    found = {}
    for name, shape in dataset_tables.shapes(sql).items():
        suffix = name.removeprefix(sql.dataset.table)
        former = former_shapes.get(table + suffix)
        wish = Wish(
            name,
            shape,
            f"{_ORDERS[suffix]}_source_key, _source_line",
            droppable=[*left, *(one.name for one in (former.columns if former else ()))],
            formatted=frozenset(
                one.name for one in sql.dataset.fields if one.decimal_char != "." or one.group_char
            ),
        )
        reshape = find(connection, sql.schema, table + suffix, wish)
        if reshape is not None:
            found[suffix] = reshape
    return found


def all_obstacles(
    connection: Connection, before: DatasetSql, sql: DatasetSql, shapes: Mapping[str, Reshape]
) -> list[Dependent]:
    """What others must drop before the tables get these shapes, in this order."""
    found = [other for one in shapes.values() for other in obstacles(connection, one)]
    if loses_shadowed(before, sql):
        found += dependents(connection, plain(before.shadowed))
    return found


def loses_shadowed(before: DatasetSql, sql: DatasetSql) -> bool:
    """Whether the dataset no longer has a table of shadowed rows."""
    return bool(before.dataset.primary_key) and not sql.dataset.primary_key


def drop_shadowed(connection: Connection, before: DatasetSql, sql: DatasetSql) -> None:
    """Drop the table of shadowed rows if the dataset no longer has one. The caller commits."""
    if loses_shadowed(before, sql):
        connection.execute(text(f"DROP TABLE IF EXISTS {before.shadowed}"))


def is_taken(connection: Connection, before: DatasetSql, sql: DatasetSql) -> bool:
    """Whether the new name of the table is that of an earlier declaration's table."""
    is_renamed = sql.dataset.table != before.dataset.table
    return is_renamed and dataset_tables.are_ours(connection, sql)


# -- tables without rows


def is_free(connection: Connection, before: DatasetSql, sql: DatasetSql) -> bool:
    """Whether the tables have no rows, and nothing of other clients depends on what changes.

    They then get any shape at once.
    """
    return _shapes_if_free(connection, before, sql) is not None


class Reshaped(Enum):
    """What became of tables that were to be reshaped."""

    NOT_FREE = auto()
    ALTERED = auto()
    COMPLETE = auto()  # all exist, and have their shape and their indexes already


def reshape_empty(connection: Connection, before: DatasetSql, sql: DatasetSql) -> Reshaped:
    """Give the tables their new shape if they are free; return whether. The caller commits.

    They stay the same tables, with their grants and comments. Tables that are missing are not
    created.

    Raises:  SQLAlchemy's error when a lock was not free in time.
    """
    shapes = _shapes_if_free(connection, before, sql)
    if shapes is None:
        return Reshaped.NOT_FREE
    if _are_as_wished(before, sql, shapes):
        is_complete = len(shapes) == len(dataset_tables.shapes(sql))
        return Reshaped.COMPLETE if is_complete else Reshaped.ALTERED
    connection.execute(text(f"SET LOCAL lock_timeout = '{dataset_tables.LOCK_TIMEOUT}'"))
    listed = ", ".join(plain(one.table) for one in shapes.values())
    connection.exec_driver_sql(f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE")
    if not _are_empty(connection, before):  # another client may have inserted a row
        return Reshaped.NOT_FREE
    drop_shadowed(connection, before, sql)
    for one in shapes.values():
        one.apply(connection)
        one.finish(connection)
    return Reshaped.ALTERED


def _shapes_if_free(
    connection: Connection, before: DatasetSql, sql: DatasetSql
) -> dict[str, Reshape] | None:
    """How free tables get their shape; None if they are not free."""
    if not _are_empty(connection, before) or is_taken(connection, before, sql):
        return None
    shapes = find_shapes(connection, before, sql, _left(connection, before, sql))
    if _are_as_wished(before, sql, shapes) or not all_obstacles(connection, before, sql, shapes):
        return shapes
    return None


def _are_as_wished(before: DatasetSql, sql: DatasetSql, shapes: Mapping[str, Reshape]) -> bool:
    """Whether there is nothing to alter."""
    return all(one.is_as_wished for one in shapes.values()) and not loses_shadowed(before, sql)


def _left(connection: Connection, before: DatasetSql, sql: DatasetSql) -> Iterable[str]:
    """The columns of an earlier declaration, if the dataset was not installed (`before` is it)."""
    return dataset_tables.left_columns(connection, sql) if before is sql else ()


def _are_empty(connection: Connection, sql: DatasetSql) -> bool:
    """Whether the table exists, and no existing table of the dataset has a row."""
    if not dataset_tables.are_ours(connection, sql):
        return False
    filled = (f"EXISTS (SELECT FROM {one})" for one in _existing(connection, sql))
    return not connection.scalar(text(f"SELECT {' OR '.join(filled)}"))


def _existing(connection: Connection, sql: DatasetSql) -> Iterable[str]:
    tables = (sql.table, sql.retired, *([sql.shadowed] if sql.dataset.primary_key else ()))
    question = text("SELECT name FROM unnest(:names) AS name WHERE to_regclass(name) IS NOT NULL")
    found = set(connection.scalars(question, {"names": list(map(plain, tables))}))
    return [one for one in tables if plain(one) in found]
