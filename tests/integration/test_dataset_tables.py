"""The tables of datasets: created, extended, and refused if they are another program's."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from etl.db import dataset_tables
from etl.db.dataset_names import indexes, relation_name
from etl.db.dataset_sql import DatasetSql
from etl.model.dataset import USERS, Dataset, Field, FieldType, OnRemoved
from etl.model.errors import ConfigurationError
from tests.sample_datasets import ORDERS, PARTS, READINGS

TABLES = "('users', 'users_retired', 'users_shadowed', 'staging_users')"
CATALOG = {
    "columns": "SELECT relname, attname, format_type(atttypid, atttypmod),"
    " (SELECT collname FROM pg_collation WHERE pg_collation.oid = attcollation), attnotnull,"
    " attgenerated, pg_get_expr(adbin, adrelid)"
    " FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
    " LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
    f" WHERE relname IN {TABLES} AND attnum > 0 AND NOT attisdropped ORDER BY 1, 2",
    "indexes": f"SELECT indexdef FROM pg_indexes WHERE tablename IN {TABLES} ORDER BY 1",
    "constraints": "SELECT conname, contype, pg_get_constraintdef(pg_constraint.oid)"
    " FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid"
    f" WHERE relname IN {TABLES} AND contype <> 'n' ORDER BY 1",
    "options": "SELECT relname, relpersistence, relnamespace::regnamespace, reloptions"
    f" FROM pg_class WHERE relname IN {TABLES} ORDER BY 1",
}


def catalog(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {
        name: [tuple(row) for row in connection.execute(text(query))]
        for name, query in CATALOG.items()
    }


def sql_of(dataset: Dataset, *added: str) -> DatasetSql:
    return DatasetSql(dataset, "public", added)


def column_names(connection: Connection, table: str) -> list[str]:
    return list(
        connection.scalars(
            text(
                "SELECT attname FROM pg_attribute WHERE attrelid = CAST(:table AS regclass)"
                " AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
            ),
            {"table": table},
        )
    )


def test_tables_of_users_are_those_of_the_migrations(engine: Engine):
    with engine.begin() as connection:
        migrated = catalog(connection)
        dataset_tables.drop_tables(connection, sql_of(USERS))
        dataset_tables.ensure(connection, sql_of(USERS))
        assert catalog(connection) == migrated


@pytest.mark.parametrize("dataset", [USERS, ORDERS, READINGS, PARTS], ids=lambda one: one.name)
def test_second_creation_changes_nothing(engine: Engine, dataset: Dataset):
    sql = sql_of(dataset)
    oid = text("SELECT CAST(CAST(:table AS regclass) AS bigint)")
    with engine.begin() as connection:
        dataset_tables.ensure(connection, sql)
        before = connection.scalar(oid, {"table": sql.table})
        dataset_tables.ensure(connection, sql)
        assert connection.scalar(oid, {"table": sql.table}) == before


@pytest.mark.parametrize("dataset", [USERS, ORDERS, READINGS, PARTS], ids=lambda one: one.name)
def test_first_load_creates_the_indexes_that_it_drops(engine: Engine, dataset: Dataset):
    sql = sql_of(dataset)
    query = text("SELECT indexdef FROM pg_indexes WHERE tablename = :table ORDER BY 1")
    table = {"table": dataset.table}
    with engine.begin() as connection:
        dataset_tables.ensure(connection, sql)
        before = connection.scalars(query, table).all()
        assert len(before) == len(indexes(dataset))
        for name in ("drop_indexes", "create_indexes"):
            connection.execute(text(sql.statements("first_load")[name]))
        assert connection.scalars(query, table).all() == before


def test_columns_are_added_and_keep_the_table(engine: Engine):
    added = 'Länge: 5%, "x"'
    wider = Field(name="note")
    declared = sql_of(Dataset(**{**_values(ORDERS), "fields": (*ORDERS.fields, wider)}), added)
    with engine.begin() as connection:
        dataset_tables.ensure(connection, sql_of(ORDERS))
        dataset_tables.ensure(connection, declared)
        for table in ("orders", "orders_retired", "orders_shadowed", "staging_orders"):
            assert {"note", added} <= set(column_names(connection, table))


def _values(dataset: Dataset) -> dict[str, Any]:
    return {name: getattr(dataset, name) for name in Dataset.__slots__}


@pytest.mark.parametrize("name", ["orders", "orders_retired", "orders_shadowed"])
@pytest.mark.parametrize(
    "made", ["TABLE {} (order_id text)", "VIEW {} AS SELECT 1 AS one", "TYPE {} AS ENUM ('a')"]
)
def test_relation_of_another_program_is_refused_by_name(engine: Engine, name: str, made: str):
    with engine.begin() as connection:
        connection.execute(text(f"CREATE {made.format(f'public.{name}')}"))
        with pytest.raises(ConfigurationError, match=f"{name}, which Bucketline did not create"):
            dataset_tables.ensure(connection, sql_of(ORDERS))


def test_other_type_or_key_is_refused_with_the_steps_that_create_it_again(engine: Engine):
    narrowed = tuple(
        Field(name=one.name, type=FieldType.INTEGER) if one.name == "amount" else one
        for one in ORDERS.fields
    )
    changed = Dataset(**{**_values(ORDERS), "fields": narrowed, "primary_key": ("rank",)})
    with engine.begin() as connection:
        dataset_tables.ensure(connection, sql_of(ORDERS))
        with pytest.raises(ConfigurationError) as caught:
            dataset_tables.ensure(connection, sql_of(changed))
    assert "column amount is numeric(12,2), not bigint" in caught.value.message
    assert "the primary key is order_id, not rank" in caught.value.message
    assert "datasets apply --rebuild orders" in caught.value.hint


def test_a_table_in_use_is_not_waited_for(engine: Engine):
    with engine.begin() as connection:
        dataset_tables.ensure(connection, sql_of(ORDERS))
    with engine.connect() as reader, engine.connect() as connection:
        reader.execute(text("SELECT FROM orders"))
        connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            dataset_tables.add_columns(connection, sql_of(ORDERS, "more"), ["more"])


def test_names_of_indexes_never_collide():
    names = [
        relation_name(table, columns, kind)
        for table in ("t", "t_a", "t_retired", "x" * 48, "x" * 47)
        for columns in ((), ("a",), ("a_b",), ("a", "b"), ("b",), ("y" * 48,), ("y" * 48, "z"))
        for kind in ("pkey", "idx")
    ]
    assert len({name.lower() for name in names}) == len(names)
    assert all(len(name.encode()) <= 63 for name in names)


def test_deleting_dataset_has_the_same_tables():
    deleting = Dataset(**{**_values(ORDERS), "on_removed": OnRemoved.DELETE})
    assert dataset_tables.created(sql_of(deleting)) == dataset_tables.created(sql_of(ORDERS))
