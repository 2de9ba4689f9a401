"""A role that was granted once reads all tables of the data, also those that are made later."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from etl.model.dataset import USERS, Field
from etl.model.values import RunReport, Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.sync.merge import Thresholds
from tests.conftest import TestBucket
from tests.sample_datasets import ORDERS, READINGS

ALWAYS = Thresholds(small=0, many=1)
ACL = "SELECT CAST(relacl AS text) FROM pg_class WHERE oid = CAST('orders' AS regclass)"
OID = "SELECT CAST(CAST('orders' AS regclass) AS oid)"

Ask = Callable[[str], list[Any]]


@pytest.fixture
def reader(engine: Engine) -> Iterator[str]:
    """A role as in "Let a role read the tables", granted before any dataset is declared."""
    name = f"reader_{uuid.uuid4().hex[:12]}"
    with engine.begin() as connection:
        for statement in (
            f"CREATE ROLE {name} NOLOGIN",
            f"GRANT USAGE ON SCHEMA public TO {name}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {name}",
        ):
            connection.exec_driver_sql(statement)
    yield name
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {name}")
        connection.exec_driver_sql(f"DROP ROLE {name}")


@pytest.fixture
def ask(engine: Engine, reader: str) -> Ask:
    """Query as the role."""

    def query(statement: str) -> list[Any]:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL ROLE {reader}")
            return [tuple(row) for row in connection.execute(text(statement))]

    return query


@pytest.fixture
def run(settings: Settings) -> Callable[..., RunReport]:
    def start(*datasets: Any) -> RunReport:  # noqa: ANN401
        return DataManager(settings, datasets=datasets, thresholds=ALWAYS).run(Trigger.CLI)

    return start


def test_tables_of_datasets_that_are_declared_later_are_readable(
    run: Callable[..., RunReport], ask: Ask, bucket: TestBucket
):
    run(USERS)
    run(ORDERS, READINGS, USERS)
    bucket.put("orders/1.csv", "order_id,amount\nA,1\nA,2\nB,3\n")
    bucket.put("sensors/x/1.csv", "sensor,celsius\nt,1\n")
    bucket.user("1.csv")
    report = run(ORDERS, READINGS, USERS)
    assert report.step_rows["swap"] == 2  # readings and users; the orders have two rows of a key
    assert ask("SELECT order_id FROM orders ORDER BY 1") == [("A",), ("B",)]
    assert ask("SELECT order_id FROM orders_shadowed") == [("A",)]
    assert ask("SELECT count(*) FROM orders_retired") == [(0,)]
    assert ask('SELECT sensor FROM "Readings"') == [("t",)]
    assert ask("SELECT user_id FROM users") == [("1",)]


def test_privileges_survive_the_swap_of_a_first_load(
    run: Callable[..., RunReport], ask: Ask, bucket: TestBucket, engine: Engine, reader: str
):
    run(ORDERS, USERS)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"GRANT UPDATE ON orders TO {reader} WITH GRANT OPTION")
        before = connection.scalar(text(OID)), sorted(str(connection.scalar(text(ACL))).split(","))
    bucket.put("orders/1.csv", "order_id\nA\nB\n")
    assert run(ORDERS, USERS).step_rows["swap"] == 2
    assert ask("SELECT count(*) FROM orders") == [(2,)]
    with engine.begin() as connection:
        assert connection.scalar(text(OID)) != before[0]
        after = sorted(str(connection.scalar(text(ACL))).split(","))
    assert [one.strip("{}") for one in after] == [one.strip("{}") for one in before[1]]


def test_privileges_on_the_state_do_not_spread_to_the_data(
    run: Callable[..., RunReport], bucket: TestBucket, engine: Engine, reader: str
):
    """The successor is made in the schema of the state, whose default privileges may be others."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA bucketline GRANT DELETE ON TABLES TO {reader}"
        )
    run(ORDERS, USERS)
    bucket.put("orders/1.csv", "order_id\nA\nB\n")
    assert run(ORDERS, USERS).step_rows["swap"] == 2
    with engine.begin() as connection:
        found = text("SELECT has_table_privilege(:role, 'orders', 'DELETE')")
        assert connection.scalar(found, {"role": reader}) is False


FEWER = tuple(one for one in ORDERS.fields if one.name not in {"amount", "rank"})
REBUILT = {
    "in place": replace(ORDERS, fields=(*FEWER, Field(name="note")), indexes=()),
    "emptied and filled": replace(
        ORDERS, fields=(*FEWER, Field(name="amount"), Field(name="rank")), indexes=()
    ),
    "renamed": replace(ORDERS, table="sales"),
    "without shadowed rows": replace(ORDERS, primary_key=(), prefer=None),
}


@pytest.mark.parametrize("has_rows", [True, False], ids=["rows", "no rows"])
@pytest.mark.parametrize("name", REBUILT)
def test_privileges_survive_a_rebuild(  # noqa: PLR0913 - fixtures
    run: Callable[..., RunReport],
    ask: Ask,
    bucket: TestBucket,
    engine: Engine,
    settings: Settings,
    *,
    reader: str,
    name: str,
    has_rows: bool,
):
    """As they are, not as tables get them by default, and again for tables that are created."""
    changed = REBUILT[name]
    run(ORDERS, USERS)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"GRANT UPDATE ON orders TO {reader} WITH GRANT OPTION")
        connection.exec_driver_sql(f"GRANT DELETE ON orders_retired TO {reader}")
        connection.exec_driver_sql("GRANT SELECT (updated) ON orders TO PUBLIC")
        connection.exec_driver_sql(f"REVOKE SELECT ON orders_retired FROM {reader}")
    tables = ("orders", "orders_retired")
    before = [privileges(engine, one) for one in tables]
    if has_rows:
        bucket.put("orders/1.csv", "order_id,amount,rank,updated\nA,1,1,1\nA,2,2,2\nB,3,3,3\n")
        run(ORDERS, USERS)
        DataManager(settings, datasets=(changed, USERS)).rebuild("orders")
    else:
        run(changed, USERS)
    new = changed.table
    assert [privileges(engine, one.replace("orders", new)) for one in tables] == before
    assert len(ask(f"SELECT order_id FROM {new}")) == has_rows * (2 if changed.primary_key else 3)
    if changed.primary_key:
        assert ask(f"SELECT order_id FROM {new}_shadowed") == [("A",)] * has_rows
    else:
        DataManager(settings, datasets=(ORDERS, USERS)).rebuild("orders")
        assert ask("SELECT order_id FROM orders_shadowed") == [("A",)] * has_rows


def privileges(engine: Engine, table: str) -> list[tuple[Any, ...]]:
    """Those of the table and its columns, of other roles than its owner."""
    question = text(
        "SELECT NULL AS attname, item.* FROM pg_class, aclexplode(relacl) AS item"
        " WHERE oid = CAST(:table AS regclass) AND grantee <> relowner UNION ALL"
        " SELECT CAST(attname AS text), item.* FROM pg_attribute, aclexplode(attacl) AS item"
        " WHERE attrelid = CAST(:table AS regclass) ORDER BY 1, 2, 3, 4, 5"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(question, {"table": table})]


def test_privileges_survive_a_table_that_takes_the_place_of_another(
    run: Callable[..., RunReport],
    bucket: TestBucket,
    engine: Engine,
    settings: Settings,
    reader: str,
):
    """One that was revoked does not come back by default."""
    bucket.put("orders/1.csv", "order_id\nA\n")
    run(ORDERS, USERS)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"REVOKE SELECT ON orders FROM {reader}")
        connection.exec_driver_sql(f"GRANT UPDATE ON orders TO {reader} WITH GRANT OPTION")
        oid = connection.scalar(text(OID))
        for number in range(1_590):
            connection.exec_driver_sql(f"ALTER TABLE orders ADD COLUMN c{number} int")
            connection.exec_driver_sql(f"ALTER TABLE orders DROP COLUMN c{number}")
    before = privileges(engine, "orders")
    notes = [Field(name=f"note{number}") for number in range(9)]
    changed = replace(ORDERS, fields=(*ORDERS.fields, *notes))
    DataManager(settings, datasets=(changed, USERS)).rebuild("orders")
    with engine.connect() as connection:
        assert connection.scalar(text(OID)) != oid
    assert privileges(engine, "orders") == before


def test_columns_that_are_added_later_are_readable(
    run: Callable[..., RunReport], ask: Ask, bucket: TestBucket
):
    run(ORDERS, USERS)
    bucket.put("orders/1.csv", "order_id,note\nA,x\n")
    run(ORDERS, USERS)
    run(replace(ORDERS, fields=(*ORDERS.fields, Field(name="note"))), USERS)
    assert ask("SELECT note FROM orders") == [("x",)]
