"""A first load writes its rows to the successor of the empty table where nothing forbids it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from etl.db import dataset_tables
from etl.db.dataset_sql import DatasetSql
from etl.db.engine import connect, connect_unpooled, migrate
from etl.model.dataset import USERS, Dataset, UnknownColumns
from etl.model.errors import DatasetsFailed, ObjectStoreUnavailable
from etl.model.values import RunReport, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync import batch, stream, successor
from etl.sync.manager import DataManager
from etl.sync.merge import Thresholds
from etl.verify import verify
from tests.conftest import TestBucket
from tests.sample_datasets import ORDERS, READINGS

ALWAYS = Thresholds(small=0, many=1)
DATASETS = (ORDERS, replace(READINGS, unknown_columns=UnknownColumns.ADD), USERS)
FEW = Thresholds(small=0)
LEFT_OVER = "SELECT relname FROM pg_class WHERE relname LIKE 'successor%'"
OIDS = "SELECT CAST(CAST('orders' AS regclass) AS oid)"


def users(*names: str) -> str:
    rows = (f"{name},Ann,Lee,{number}\n" for number, name in enumerate(names))
    return "user_id,first_name,last_name,birthts\n" + "".join(rows)


def orders(*rows: str) -> str:
    return "order_id,amount,rank,updated\n" + "".join(f"{row},1.5,1,1\n" for row in rows)


class FirstLoad:
    """A bucket, tables without rows, and a connection that commits each statement."""

    def __init__(self, settings: Settings, bucket: TestBucket, connection: Connection) -> None:
        self.settings = settings
        self.bucket = bucket
        self.connection = connection

    def run(self, during: Callable[[], object] = lambda: None) -> RunReport:
        """Run; call the function once, as soon as the rows of one batch are written.

        PostgreSQL may need a moment to release the lock of a failed run.
        """
        waiting = [during]

        def call(step: str, _done: int) -> None:
            if step == "read" and waiting:
                waiting.pop()()

        manager = DataManager(self.settings, thresholds=ALWAYS, datasets=DATASETS, progress=call)
        return manager.run(Trigger.CLI, wait_seconds=10)

    def swapped(self, during: Callable[[], object] = lambda: None) -> int:
        """Run; the number of rows in tables that took the place of empty ones."""
        return self.run(during).step_rows.get("swap", 0)

    def query(self, statement: str) -> list[Any]:
        """The rows, as single values if they have one column."""
        result = self.connection.execute(text(statement))
        rows = list(result) if result.returns_rows else []
        return [row[0] if len(row) == 1 else tuple(row) for row in rows]

    def differences(self) -> list[Any]:
        """What the independent reader says of the tables."""
        return verify(self.settings, self.connection.engine, datasets=DATASETS)


@pytest.fixture
def first(settings: Settings, bucket: TestBucket, engine: Engine) -> Iterator[FirstLoad]:
    """A first load of nothing, which has made the tables."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        found = FirstLoad(settings, bucket, connection)
        found.run()
        yield found


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each object is a batch of its own, or several."""
    monkeypatch.setattr(batch, "MAX_BYTES", 1)


# -- the successor takes the place of the table


def traits(connection: Connection, table: str) -> list[Any]:
    """The table as the catalogs show it."""
    columns = (
        "SELECT attname, format_type(atttypid, atttypmod), attcollation, attnotnull, atthasdef,"
        " attgenerated FROM pg_attribute WHERE attrelid = CAST(:name AS regclass)"
        " AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    constraints = (
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = CAST(:name AS regclass) ORDER BY conname"
    )
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = :table ORDER BY 1"
    others = (
        "SELECT relname, relnamespace, relowner, relpersistence, reloptions, relacl, relreplident"
        " FROM pg_class WHERE oid = CAST(:name AS regclass)"
    )
    questions = (columns, constraints, indexes, others)
    names = {"name": f'"{table}"', "table": table}
    return [list(connection.execute(text(one), names)) for one in questions]


@pytest.mark.parametrize(
    ("dataset", "key", "content", "rows"),
    [
        (USERS, "many.csv", users("1", "2", "3"), 3),
        (ORDERS, "orders/1.csv", orders("A", "B"), 2),
        (READINGS, "sensors/oslo/1.csv", "sensor,celsius\nt1,1\nt1,1\n", 2),
    ],
    ids=lambda one: one.name if isinstance(one, Dataset) else "",
)
def test_successor_is_as_the_table_it_replaces(
    dataset: Dataset, key: str, content: str, rows: int, first: FirstLoad
):
    before = traits(first.connection, dataset.table)
    first.bucket.put(key, content)
    assert first.swapped() == rows
    assert traits(first.connection, dataset.table) == before
    assert first.differences() == []
    assert first.query(LEFT_OVER) == []


def test_rows_of_a_successor_are_as_those_of_any_run(first: FirstLoad):
    first.bucket.put("many.csv", users("1", "2"))
    report = first.run()
    assert report.step_rows["swap"] == report.counts.users_inserted == 2
    assert (report.counts.rows_loaded, report.counts.rows_read) == (2, 2)
    assert first.query(
        "SELECT user_id, birthdate = DATE '1970-01-01', _source_key, _source_line, _run_id,"
        " _updated_at BETWEEN started_at AND finished_at"
        " FROM users JOIN run ON run.id = _run_id ORDER BY 1"
    ) == [("1", True, "many.csv", 2, report.id, True), ("2", True, "many.csv", 3, report.id, True)]


def test_all_tables_of_a_run_may_be_replaced_at_once(first: FirstLoad):
    first.bucket.put("orders/1.csv", orders("A", "B"))
    first.bucket.put("sensors/oslo/1.csv", "sensor,celsius\nt1,1\n")
    first.bucket.put("many.csv", users("1"))
    assert first.swapped() == 4
    assert first.differences() == []


def test_run_after_a_first_load_changes_the_new_table(first: FirstLoad):
    first.bucket.put("orders/1.csv", orders("A", "B"))
    first.run()
    first.bucket.put("orders/1.csv", orders("B", "C"))
    report = first.run()
    assert "swap" not in report.step_rows
    assert first.query("SELECT order_id FROM orders ORDER BY 1") == ["B", "C"]
    assert first.differences() == []


@pytest.mark.usefixtures("one_by_one")
def test_column_that_a_later_file_adds_reaches_the_successor(first: FirstLoad):
    first.bucket.put("sensors/oslo/1.csv", "sensor,celsius\nt1,1\n")
    first.bucket.put("sensors/oslo/2.csv", "sensor,celsius,note\nt2,1,x\n")
    assert first.swapped() == 2
    first.bucket.put("sensors/oslo/3.csv", "sensor,celsius,note\nt3,1,y\n")
    first.run()
    assert first.query('SELECT sensor, note FROM "Readings" ORDER BY 1') == [
        *(("t1", None), ("t2", "x"), ("t3", "y"))
    ]
    assert first.differences() == []


@pytest.mark.usefixtures("one_by_one")
def test_rows_of_a_small_batch_move_to_the_successor(first: FirstLoad):
    first.bucket.put("orders/1.csv", orders("A"))
    first.bucket.put("orders/2.csv", orders("B", "C", "D"))
    first.settings = first.settings.model_copy()
    manager = DataManager(first.settings, thresholds=Thresholds(small=0, many=3), datasets=DATASETS)
    assert manager.run(Trigger.CLI).step_rows["swap"] == 4
    assert first.differences() == []


def test_few_rows_are_inserted(first: FirstLoad):
    first.bucket.put("orders/1.csv", orders("A", "B"))
    before = first.query(OIDS)
    DataManager(first.settings, thresholds=FEW, datasets=DATASETS).run(Trigger.CLI)
    assert first.query(OIDS) == before


def test_other_schemas_and_long_names(
    empty_database: Settings, settings: Settings, bucket: TestBucket
):
    other = settings.model_copy(
        update={
            "database_url": empty_database.database_url,
            "database_schema": "Shop:1",
            "state_schema": "s" * 63,
        }
    )
    long = replace(ORDERS, name="o" * 48, table="O" * 48, publish=())
    bucket.put("orders/1.csv", orders("A", "B"))
    engine = connect(other)
    migrate(engine)
    report = DataManager(other, thresholds=ALWAYS, datasets=(long,)).run(Trigger.CLI)
    with engine.connect() as connection:
        rows = connection.scalar(text(f'SELECT count(*) FROM "Shop\\:1"."{long.table}"'))
    engine.dispose()
    assert rows == report.step_rows["swap"] == 2


def test_dry_run_makes_no_table(first: FirstLoad):
    first.bucket.put("orders/1.csv", orders("A", "B"))
    seen: list[Any] = []
    manager = DataManager(
        first.settings,
        thresholds=ALWAYS,
        datasets=DATASETS,
        progress=lambda _step, _done: seen.extend(first.query(LEFT_OVER)),
    )
    assert manager.preview().counts["orders"].inserted == 2
    assert seen == []


# -- rows that have to be merged or inserted


def test_images_of_rows_are_found(first: FirstLoad):
    first.bucket.put("many.csv", users("1", "2"))
    first.bucket.put("2.png", "x")
    report = first.run()
    assert "swap" not in report.step_rows
    assert report.counts.users_with_image == 1
    assert first.differences() == []


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize(
    "files",
    [[("A", "B"), ("B", "C")], [("B", "C"), ("A", "D")]],
    ids=["a key with two rows", "out of order"],
)
def test_later_files_may_need_a_merge(files: list[tuple[str, ...]], first: FirstLoad):
    for number, rows in enumerate(files):
        first.bucket.put(f"orders/{number}.csv", orders(*rows))
    assert first.swapped() == 0
    keys = sorted({key for rows in files for key in rows})
    assert first.query("SELECT order_id FROM orders ORDER BY ctid") == keys
    assert first.query("SELECT count(*) FROM orders_shadowed") == [4 - len(keys)]
    assert first.differences() == []
    assert first.query(LEFT_OVER) == []


def test_keys_that_postgresql_finds_equal_are_merged(settings: Settings, bucket: TestBucket):
    """char(n) ignores spaces at the end, which `trim = false` keeps; their bytes ascend."""
    fields = (replace(ORDERS.fields[0], sql="char(4)", trim=False), *ORDERS.fields[1:])
    padded = replace(ORDERS, fields=fields)
    bucket.put("orders/1.csv", orders("A", "A ", "B"))
    report = DataManager(settings, thresholds=ALWAYS, datasets=(padded,)).run(Trigger.CLI)
    assert "swap" not in report.step_rows
    assert (report.dataset_counts["orders"].live, report.counts.rows_shadowed) == (2, 1)


@pytest.mark.usefixtures("one_by_one")
def test_rows_of_a_refused_object_leave_the_successor(
    settings: Settings, first: FirstLoad, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream, "PART_BYTES", 40)
    strict = (replace(ORDERS, refuse_object_above=0.1), *DATASETS[1:])
    first.bucket.put("orders/1.csv", orders("A", "B"))
    first.bucket.put("orders/2.csv", orders("C", "D", "E") + "F,x,1,1\n")
    manager = DataManager(settings, thresholds=ALWAYS, datasets=strict)
    report = manager.run(Trigger.CLI)
    assert "swap" not in report.step_rows
    assert first.query("SELECT order_id FROM orders ORDER BY 1") == ["A", "B"]
    assert verify(settings, first.connection.engine, datasets=strict) == []


@pytest.mark.usefixtures("one_by_one")
def test_an_object_that_is_refused_at_its_beginning_leaves_the_successor_as_it_is(first: FirstLoad):
    first.bucket.put("orders/1.csv", orders("A", "B"))
    first.bucket.put("orders/2.csv", b"PAR1" + bytes(100))
    first.bucket.put("orders/3.csv", orders("C"))
    assert first.swapped() == 3
    assert first.differences() == []


def test_retired_rows_may_return(first: FirstLoad):
    first.bucket.put("orders/1.csv", orders("A"))
    first.run()
    first.bucket.remove("orders/1.csv")
    first.run()
    first.bucket.put("orders/1.csv", orders("A", "B"))
    report = first.run()
    assert "swap" not in report.step_rows
    assert report.dataset_counts["orders"].restored == 1


# -- what other clients do


OBSTACLES = {
    "a grant": "GRANT SELECT ON orders TO PUBLIC",
    "a grant on a column": "GRANT SELECT (rank) ON orders TO PUBLIC",
    "a default privilege": "ALTER DEFAULT PRIVILEGES IN SCHEMA bucketline GRANT SELECT ON TABLES"
    " TO PUBLIC",
    "a comment": "COMMENT ON TABLE orders IS 'x'",
    "a comment on a column": "COMMENT ON COLUMN orders.rank IS 'x'",
    "a view": "CREATE VIEW seen AS SELECT order_id FROM orders",
    "a trigger": "CREATE TRIGGER early BEFORE INSERT ON orders EXECUTE FUNCTION"
    " suppress_redundant_updates_trigger()",
    "an index": "CREATE INDEX own ON orders (rank)",
    "a unique constraint": "ALTER TABLE orders ADD UNIQUE (rank)",
    "an index in another order of storage": "CLUSTER orders USING orders_7bbba768_pkey",
    "a check": "ALTER TABLE orders ADD CHECK (rank < 10)",
    "a foreign key": 'CREATE TABLE other (x text COLLATE "C" REFERENCES orders)',
    "a foreign key of its own": "ALTER TABLE orders ADD FOREIGN KEY (order_id) REFERENCES users",
    "row level security": "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
    "a policy": "CREATE POLICY seen ON orders",
    "a storage parameter": "ALTER TABLE orders SET (fillfactor = 50)",
    "a parameter of long values": "ALTER TABLE orders SET (toast.autovacuum_enabled = false)",
    "a statistics target": "ALTER TABLE orders ALTER rank SET STATISTICS 10",
    "a column": "ALTER TABLE orders ADD mine text",
    "a default": "ALTER TABLE orders ALTER rank SET DEFAULT 1",
    "a missing constraint": "ALTER TABLE orders ALTER _run_id DROP NOT NULL",
    "a child": "CREATE TABLE child () INHERITS (orders)",
    "a parent": "CREATE TABLE parent (rank bigint); ALTER TABLE orders INHERIT parent",
    "statistics": "CREATE STATISTICS pair ON rank, amount FROM orders",
    "a rule": "CREATE RULE never AS ON DELETE TO orders DO INSTEAD NOTHING",
    "a publication": "CREATE PUBLICATION out FOR TABLE orders",
    "a sequence": "CREATE SEQUENCE public.numbers OWNED BY orders.rank",
    "a replica identity": "ALTER TABLE orders REPLICA IDENTITY FULL",
    "no log": "ALTER TABLE orders SET UNLOGGED",
    "another owner": "CREATE ROLE stranger; ALTER TABLE orders OWNER TO stranger",
    "a row": "INSERT INTO orders VALUES ('A', 1, 1, 1, NULL, 'k', 1, 1, now())",
}


def may_replace(connection: Connection, sql: DatasetSql) -> bool:
    connection.execute(text(dataset_tables.create_successor(sql)))
    connection.execute(text(sql.statements("successor")["complete"]), {"run_id": 1})
    found = successor.is_replaceable(connection, sql) and successor.is_alike(connection, sql)
    connection.execute(text(f"DROP TABLE {sql.successor}"))
    return found


def test_a_table_that_is_not_as_it_was_made_is_kept(first: FirstLoad):
    sql = DatasetSql(ORDERS, "public")
    replaceable = []
    with connect_unpooled(first.settings).connect() as connection:
        assert may_replace(connection, sql)
        for name, statement in OBSTACLES.items():
            savepoint = connection.begin_nested()
            connection.execute(text(statement))
            if may_replace(connection, sql):
                replaceable.append(name)
            savepoint.rollback()
        assert may_replace(connection, sql)
        connection.rollback()
    assert replaceable == []


def test_role_that_may_not_create_tables_keeps_it(first: FirstLoad):
    sql = DatasetSql(ORDERS, "public")
    with connect_unpooled(first.settings).connect() as connection:
        for statement in (
            "CREATE ROLE loader",
            "GRANT USAGE ON SCHEMA bucketline, public TO loader",
            "GRANT CREATE ON SCHEMA public TO loader",
            "ALTER TABLE orders OWNER TO loader",
            "ALTER TABLE orders_retired OWNER TO loader",
            "REVOKE CREATE ON SCHEMA public FROM loader, PUBLIC",
            "SET LOCAL ROLE loader",
        ):
            connection.execute(text(statement))
        asked = []
        for schemas in ("none", "public", "public, bucketline"):
            if schemas != "none":
                connection.execute(text("SET LOCAL ROLE NONE"))
                connection.execute(text(f"GRANT CREATE ON SCHEMA {schemas} TO loader"))
                connection.execute(text("SET LOCAL ROLE loader"))
            asked.append(successor.is_replaceable(connection, sql))
        connection.rollback()
    assert asked == [False, False, True]


def test_rows_of_a_table_with_a_grant_on_a_column_are_inserted(first: FirstLoad):
    first.query("GRANT SELECT (rank) ON orders TO PUBLIC")
    before = first.query(OIDS)
    first.bucket.put("orders/1.csv", orders("A", "B"))
    assert first.swapped() == 0
    assert first.query(OIDS) == before
    assert first.differences() == []


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT SELECT ON orders TO PUBLIC",
        "CREATE FUNCTION rank_of(orders) RETURNS bigint RETURN $1.rank",
        "CREATE TABLE public.successor_orders ()",
    ],
    ids=["a grant", "a function of its rows", "a table with the name of the successor"],
)
def test_what_others_make_during_a_run_is_kept(statement: str, first: FirstLoad):
    before = first.query(OIDS)
    first.bucket.put("orders/1.csv", orders("A", "B"))
    assert first.swapped(during=lambda: first.query(statement)) == 0
    assert first.query(OIDS) == before
    assert first.query("SELECT order_id FROM orders ORDER BY 1") == ["A", "B"]


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("ends", [True, False], ids=["that ends", "that remains open"])
def test_a_transaction_sees_all_rows_or_none(
    first: FirstLoad, engine: Engine, monkeypatch: pytest.MonkeyPatch, *, ends: bool
):
    """Its snapshot contains the first batch, but not the last one."""
    monkeypatch.setattr(successor, "WAIT_SECONDS", 0.1)
    for number in range(4):
        first.bucket.put(f"orders/{number}.csv", orders(f"{number}A", f"{number}B"))
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader:

        def begin() -> None:
            reader.execute(text("SELECT 1"))
            if ends:
                reader.rollback()

        assert first.swapped(during=begin) == (8 if ends else 0)
        assert reader.scalar(text("SELECT count(*) FROM orders")) == (8 if ends else 0)
    assert first.query("SELECT count(*) FROM orders") == [8]


def test_commit_that_is_tried_again_replaces_the_table_again(first: FirstLoad):
    """A deferred foreign key of orders fails the commit of both datasets; then only its own."""
    first.query("CREATE TABLE public.ranks (rank bigint PRIMARY KEY)")
    first.query(
        "ALTER TABLE orders ADD FOREIGN KEY (rank) REFERENCES ranks DEFERRABLE INITIALLY DEFERRED"
    )
    first.bucket.put("orders/1.csv", orders("A", "B"))
    first.bucket.put("many.csv", users("1", "2", "3"))
    with pytest.raises(DatasetsFailed, match="orders_rank_fkey"):
        first.run()
    assert first.query("SELECT step_rows->>'swap' FROM run ORDER BY id DESC LIMIT 1") == ["3"]
    assert first.query("SELECT count(*) FROM users") == [3]


# -- runs that end early


def test_successor_of_an_unreachable_bucket_is_dropped(
    first: FirstLoad, store: ObjectStore, settings: Settings
):
    def fail(step: str, _done: int) -> None:
        if step == "read" and "successor_orders" in first.query(LEFT_OVER):
            raise ObjectStoreUnavailable("The bucket did not respond.")

    name = settings.source_bucket.replace("src-", "plant-")
    store.ensure_bucket(name)
    second = TestBucket(settings.model_copy(update={"source_bucket": name}))
    second.put("orders/1.csv", orders("A"))
    first.bucket.put("many.csv", users("1", "2"))
    datasets = (replace(ORDERS, bucket=name), USERS)
    manager = DataManager(settings, thresholds=ALWAYS, datasets=datasets, progress=fail)
    with pytest.raises(DatasetsFailed, match="did not respond"):
        manager.run(Trigger.CLI)
    assert first.query("SELECT count(*) FROM users") == [2]
    assert first.query("SELECT count(*) FROM orders") == [0]
    assert first.query(LEFT_OVER) == []


def test_successor_of_a_failed_run_is_dropped_by_the_next(first: FirstLoad):
    def fail() -> None:
        assert first.query(LEFT_OVER) == ["successor_orders"]
        raise KeyboardInterrupt

    first.bucket.put("orders/1.csv", orders("A", "B"))
    with pytest.raises(KeyboardInterrupt):
        first.run(during=fail)
    assert first.query("SELECT count(*) FROM orders") == [0]
    first.bucket.remove("orders/1.csv")
    first.run()
    assert first.query(LEFT_OVER) == []
    assert first.differences() == []


def test_a_table_of_this_name_elsewhere_is_never_dropped(first: FirstLoad):
    first.query("CREATE TABLE public.successor_orders (mine text)")
    first.bucket.put("orders/1.csv", orders("A", "B"))
    first.run()
    first.run()
    assert first.query("SELECT count(*) FROM public.successor_orders") == [0]
