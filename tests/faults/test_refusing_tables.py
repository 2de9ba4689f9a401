"""What other clients put on the table of one dataset fails that dataset only, by name.

The others commit, the table and the manifest of the dataset stay as they were, and the run after
the cause is gone completes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, make_url, text

from api import create_app
from etl.cli.status import status
from etl.db import locks
from etl.model.dataset import USERS, Dataset, Field
from etl.model.errors import DatasetsFailed, ObjectStoreUnavailable
from etl.model.values import RunReport, RunState, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from etl.sync.merge import Thresholds
from etl.verify import verify
from tests.api_client import get
from tests.conftest import TestBucket
from tests.integration.test_several_datasets import orders, readings
from tests.sample_datasets import ORDERS, READINGS, REQUIRED
from tests.tallies import wrong_tallies

DATASETS = (ORDERS, READINGS, USERS)

RAISE = (
    "RAISE EXCEPTION 'secret value %', CASE WHEN TG_OP = 'DELETE' THEN OLD.rank ELSE NEW.rank END"
)


def trigger(when: str, body: str, *, of: str = "orders") -> tuple[str, str]:
    """The statements that create a trigger and drop it."""
    function = (
        "CREATE FUNCTION public.guard() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {body}; RETURN NEW; END $$"
    )
    made = f"CREATE TRIGGER guarded {when} ON {of} FOR EACH ROW EXECUTE FUNCTION guard()"
    return f"{function}; {made}", f"DROP TRIGGER guarded ON {of}; DROP FUNCTION guard()"


def constraint(definition: str) -> tuple[str, str]:
    return (
        f"ALTER TABLE orders ADD CONSTRAINT theirs {definition}",
        "ALTER TABLE orders DROP CONSTRAINT theirs",
    )


def required_column() -> tuple[str, str]:
    made = "ALTER TABLE orders ADD theirs int DEFAULT 0 NOT NULL"
    without = "ALTER TABLE orders ALTER theirs DROP DEFAULT"
    return f"{made}; {without}", "ALTER TABLE orders DROP theirs"


CONSTRAINT_TRIGGER = (
    trigger("AFTER INSERT", RAISE)[0]
    .replace("CREATE TRIGGER", "CREATE CONSTRAINT TRIGGER")
    .replace("ON orders", "ON orders DEFERRABLE INITIALLY DEFERRED"),
    trigger("", "")[1],
)
SILENT = r"[12] rows of dataset 'orders' .* table orders .* rules: guarded"
# What refuses the new order B and the changed order A; then the message about it.
CAUSES: dict[str, tuple[tuple[str, str], str]] = {
    "check": (constraint("CHECK (rank < 10)"), r"constraint theirs of table orders \(check\)"),
    "unique": (constraint("UNIQUE (rank)"), r"constraint theirs of table orders \(unique\)"),
    "unique index": (
        ("CREATE UNIQUE INDEX theirs ON orders (rank)", "DROP INDEX theirs"),
        r"constraint theirs of table orders \(unique\)",
    ),
    "deferred unique": (
        constraint("UNIQUE (rank) DEFERRABLE INITIALLY DEFERRED"),
        r"constraint theirs of table orders \(unique\)",
    ),
    "exclusion": (
        constraint("EXCLUDE USING gist (int8range(rank, rank, '[]') WITH &&)"),
        r"constraint theirs of table orders \(exclusion\)",
    ),
    "deferred exclusion": (
        constraint("EXCLUDE USING gist (int8range(rank, rank, '[]') WITH &&) INITIALLY DEFERRED"),
        r"constraint theirs of table orders \(exclusion\)",
    ),
    "not null": (
        (
            "ALTER TABLE orders ALTER amount SET NOT NULL",
            "ALTER TABLE orders ALTER amount DROP NOT NULL",
        ),
        "NOT NULL of column amount of table orders",
    ),
    "their own required column": (
        required_column(),
        "NOT NULL of column theirs of table orders",
    ),
    "before insert": (trigger("BEFORE INSERT", RAISE), r"trigger function guard\(\)"),
    "after insert": (trigger("AFTER INSERT", RAISE), r"trigger function guard\(\)"),
    "before update": (trigger("BEFORE UPDATE", RAISE), r"trigger function guard\(\)"),
    "after update": (trigger("AFTER UPDATE", RAISE), r"trigger function guard\(\)"),
    "deferred trigger": (CONSTRAINT_TRIGGER, r"trigger function guard\(\)"),
    "skips new rows": (trigger("BEFORE INSERT", "RETURN NULL"), SILENT),
    "skips changes": (trigger("BEFORE UPDATE", "RETURN NULL"), SILENT),
    "changes new rows": (
        trigger("BEFORE INSERT", "NEW.amount := 0"),
        SILENT,
    ),
    "changes changes": (
        trigger("BEFORE UPDATE", "NEW.amount := 0"),
        SILENT,
    ),
    "rule": (
        (
            "CREATE RULE theirs AS ON INSERT TO orders DO INSTEAD NOTHING",
            "DROP RULE theirs ON orders",
        ),
        "2 rows of dataset 'orders' .* table orders .* rules: theirs",
    ),
    "renamed column": (
        (
            "ALTER TABLE orders RENAME amount TO price",
            "ALTER TABLE orders RENAME price TO amount",
        ),
        r"amount.* does not exist",
    ),
    "renamed table": (
        ("ALTER TABLE orders RENAME TO kept", "ALTER TABLE kept RENAME TO orders"),
        r"relation \"public.orders\" does not exist",
    ),
    "renamed retired table": (
        (
            "ALTER TABLE orders_retired RENAME TO kept",
            "ALTER TABLE kept RENAME TO orders_retired",
        ),
        r"relation \"public.orders_retired\" does not exist",
    ),
}


@dataclass(frozen=True)
class Database:
    """The test's database, through the eyes of its other clients and its operator."""

    settings: Settings
    engine: Engine

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement.replace(":=", r"\:=")))
            return [tuple(row) for row in result] if result.returns_rows else []

    def check_shown(self, failed: DatasetsFailed) -> None:
        """/health and `status` show the failure."""
        (item,) = get(create_app(self.settings).test_client(), "/health")["attention"]
        assert (item["kind"], item["dataset"]) == ("dataset-failed", "orders")
        assert (item["message"], item["hint"]) == (failed.message, failed.hint)
        with self.engine.connect() as connection:
            last = status(connection, self.settings)["runs"][0]
        assert (last["state"], last["error"]["facts"]["failed"]) == ("failed", "orders")

    def check_end(self, manager: DataManager) -> RunReport:
        """The next run completes, and the tables equal the bucket."""
        report = manager.run(Trigger.CLI)
        assert report.state is RunState.SUCCEEDED
        assert verify(self.settings, self.engine, datasets=DATASETS) == []
        assert wrong_tallies(self.engine) == {}
        return report


@pytest.fixture
def database(settings: Settings, engine: Engine) -> Database:
    return Database(settings, engine)


def fail(manager: DataManager, message: str) -> DatasetsFailed:
    """A run that fails for orders only, with such a message."""
    with pytest.raises(DatasetsFailed, match=message) as failed:
        manager.run(Trigger.CLI)
    assert failed.value.facts["failed"] == "orders"
    assert failed.value.message.endswith("Committed: readings, users.")
    assert failed.value.hint
    return failed.value


@pytest.fixture
def several(settings: Settings, bucket: TestBucket) -> DataManager:
    """Orders, readings and users, of which a first run loaded some."""
    bucket.put("orders/1.csv", orders("A,1.50,1,1", "C,1.50,3,1"))
    bucket.put("orders/9.csv", orders("Z,1.50,9,1"))
    bucket.put("sensors/a/1.csv", readings("t1,1"))
    bucket.user("1.csv")
    manager = DataManager(settings, datasets=DATASETS)
    manager.run(Trigger.CLI)
    return manager


def change(bucket: TestBucket) -> None:
    """A new order, a changed one and a removed object; also a reading and a user."""
    bucket.put("orders/1.csv", orders("A,2.50,1,1", "C,1.50,3,1"))
    bucket.put("orders/2.csv", orders("B,,50,1", "D,1,50,1"))
    bucket.put("sensors/b/1.csv", readings("t2,2"))
    bucket.user("2.csv")


def check_others(database: Database) -> None:
    assert database.ask("SELECT user_id FROM users ORDER BY 1") == [("1",), ("2",)]
    assert database.ask('SELECT count(*) FROM "Readings"') == [(2,)]


STORED = "SELECT order_id, amount::text, rank FROM orders ORDER BY 1"
MANIFEST = "SELECT key, etag, rows_read, run_id FROM source_object WHERE dataset = 'orders'"


SHOWN = ("check", "skips new rows", "renamed table")
PLANS = [(cause, 500) for cause in CAUSES] + [
    (cause, 0) for cause in ("unique", "deferred trigger", "rule", "changes changes")
]


@pytest.mark.parametrize(("cause", "small"), PLANS)
def test_refused_dataset_keeps_its_state_and_is_named(
    cause: str, small: int, several: DataManager, bucket: TestBucket, database: Database
):
    (make, drop), message = CAUSES[cause]
    before, manifest = database.ask(STORED), database.ask(MANIFEST)
    database.ask(make)
    change(bucket)
    several = DataManager(database.settings, datasets=DATASETS, thresholds=Thresholds(small=small))
    failed = fail(several, message)
    assert "secret" not in failed.message
    check_others(database)
    if cause in SHOWN:
        database.check_shown(failed)
    database.ask(drop)
    assert (database.ask(STORED), database.ask(MANIFEST)) == (before, manifest)
    database.check_end(several)
    assert database.ask(STORED) != before


def test_first_load_that_a_trigger_thins_out_is_refused(
    bucket: TestBucket, settings: Settings, database: Database
):
    manager = DataManager(settings, datasets=DATASETS, thresholds=Thresholds(small=0, many=1))
    manager.run(Trigger.CLI)
    make, drop = trigger("BEFORE INSERT", "IF NEW.rank = 1 THEN RETURN NULL; END IF")
    database.ask(make)
    change(bucket)
    fail(manager, "1 rows of dataset 'orders' .*: guarded")
    assert database.ask(STORED) == []
    database.ask(drop)
    assert database.check_end(manager).dataset_counts["orders"].live == 4


def test_triggers_that_let_all_rows_through_are_allowed(
    several: DataManager, bucket: TestBucket, database: Database
):
    database.ask("ALTER TABLE orders ADD theirs text")
    database.ask(trigger("BEFORE INSERT OR UPDATE", "NEW.theirs := 'x'")[0])
    change(bucket)
    assert database.check_end(several).dataset_counts["orders"].live == 5


@pytest.mark.parametrize("table", ["orders_retired", "orders_shadowed"])
def test_trigger_that_skips_rows_of_a_neighbor_is_refused(
    table: str, several: DataManager, bucket: TestBucket, database: Database
):
    make, drop = trigger("BEFORE INSERT", "RETURN NULL", of=table)
    database.ask(make)
    bucket.remove("orders/9.csv")
    bucket.put("orders/2.csv", orders("A,1,1,0"))
    fail(several, f"1 rows of dataset 'orders' .* table {table} .*: guarded")
    database.ask(drop)
    database.check_end(several)
    assert database.ask("SELECT order_id FROM orders_retired") == [("Z",)]
    assert database.ask("SELECT order_id FROM orders_shadowed") == [("A",)]


# -- rows that cannot be removed


INVOICES = (
    "CREATE TABLE invoices (order_id text COLLATE \"C\" {}); INSERT INTO invoices VALUES ('A')"
)
BLOCKERS = {
    "restrict": (
        INVOICES.format("CONSTRAINT theirs REFERENCES orders ON DELETE RESTRICT"),
        "theirs",
    ),
    "set null of a required column": (
        INVOICES.format("NOT NULL REFERENCES orders ON DELETE SET NULL"),
        "order_id",
    ),
    "set default without its row": (
        INVOICES.format("DEFAULT 'none' CONSTRAINT theirs REFERENCES orders ON DELETE SET DEFAULT"),
        "theirs",
    ),
    "cascade to a referenced row": (
        INVOICES.format("PRIMARY KEY REFERENCES orders ON DELETE CASCADE")
        + "; CREATE TABLE payments (LIKE invoices, CONSTRAINT theirs FOREIGN KEY (order_id)"
        " REFERENCES invoices); INSERT INTO payments VALUES ('A')",
        "theirs",
    ),
    "deferred": (
        INVOICES.format("CONSTRAINT theirs REFERENCES orders DEFERRABLE INITIALLY DEFERRED"),
        "theirs",
    ),
    "trigger": (
        trigger("BEFORE DELETE", f"IF OLD.order_id = 'A' THEN {RAISE}; END IF; RETURN OLD")[0],
        "guard()",
    ),
    "deferred trigger": (
        CONSTRAINT_TRIGGER[0]
        .replace("INSERT", "DELETE")
        .replace(RAISE, f"IF OLD.order_id = 'A' THEN {RAISE}; END IF"),
        "guard()",
    ),
}


@pytest.mark.parametrize("blocker", BLOCKERS)
def test_only_the_row_that_something_keeps_is_held(
    blocker: str, several: DataManager, bucket: TestBucket, database: Database
):
    make, name = BLOCKERS[blocker]
    database.ask(f"SET search_path = public, bucketline; {make}")
    bucket.remove("orders/1.csv")
    bucket.remove("orders/9.csv")
    bucket.user("2.csv")
    for _ in range(2):
        report = several.run(Trigger.CLI)
        assert report.state is RunState.SUCCEEDED
        assert report.dataset_counts["orders"].live == 1
        assert database.ask(STORED) == [("A", "1.50", 1)]
        assert database.ask(BLOCKED) == [(name, "orders/1.csv")]
        assert database.ask("SELECT count(*) FROM users") == [(2,)]
    database.ask(
        "DROP TABLE IF EXISTS payments, invoices; DROP TRIGGER IF EXISTS guarded ON orders"
    )
    database.check_end(several)
    assert database.ask(STORED) == database.ask(BLOCKED) == []


BLOCKED = (
    "SELECT value, key FROM problem JOIN source_object USING (bucket, key, run_id)"
    " WHERE code = 'retirement-blocked'"
)


def test_foreign_key_that_sets_null_lets_rows_go(
    several: DataManager, bucket: TestBucket, database: Database
):
    database.ask(INVOICES.format("REFERENCES orders ON DELETE SET NULL"))
    bucket.remove("orders/1.csv")
    assert database.check_end(several).dataset_counts["orders"].retired == 2
    assert database.ask("SELECT order_id FROM invoices") == [(None,)]


def test_trigger_that_silently_keeps_a_row_is_refused(
    several: DataManager, bucket: TestBucket, database: Database
):
    make, drop = trigger("BEFORE DELETE", "RETURN NULL")
    database.ask(make)
    bucket.remove("orders/9.csv")
    fail(several, "1 rows of dataset 'orders' .*: guarded")
    database.ask(drop)
    assert database.check_end(several).dataset_counts["orders"].retired == 1


# -- between datasets


BILLS = Dataset(
    name="bills",
    table="bills",
    include=("bills/*.csv",),
    primary_key=("bill",),
    fields=(Field(name="bill", constraints=REQUIRED), Field(name="order_id")),
)


@pytest.mark.parametrize("deferred", ["", " DEFERRABLE INITIALLY DEFERRED"])
@pytest.mark.parametrize("failing", [None, "readings"])
def test_foreign_key_between_datasets_needs_no_order_of_them(
    deferred: str, failing: str | None, settings: Settings, bucket: TestBucket, database: Database
):
    """Bills come first, but refer to orders; both come and go in the same run."""
    manager = DataManager(settings, datasets=(BILLS, *DATASETS))
    manager.run(Trigger.CLI)
    database.ask(
        'ALTER TABLE bills ALTER order_id TYPE text COLLATE "C",'
        f" ADD FOREIGN KEY (order_id) REFERENCES orders{deferred}"
    )
    bucket.put("bills/1.csv", "bill,order_id\n1,A\n")
    bucket.put("orders/1.csv", orders("A,1,1,1"))
    if failing:
        database.ask(
            CONSTRAINT_TRIGGER[0].replace("ON orders", 'ON "Readings"').replace("rank", "site")
        )
        bucket.put("sensors/a/1.csv", readings("t1,1"))
        with pytest.raises(DatasetsFailed, match=r"'readings': .*guard\(\).* bills, orders, users"):
            manager.run(Trigger.CLI)
        database.ask('DROP TRIGGER guarded ON "Readings"')
    else:
        manager.run(Trigger.CLI)
    assert database.ask("SELECT bill, order_id FROM bills JOIN orders USING (order_id)") == [
        ("1", "A")
    ]
    bucket.remove("bills/1.csv")
    bucket.remove("orders/1.csv")
    report = manager.run(Trigger.CLI)
    assert database.ask(STORED) == database.ask(BLOCKED) == []
    assert report.state is RunState.SUCCEEDED


def test_row_without_its_parent_fails_its_dataset(
    several: DataManager, bucket: TestBucket, database: Database
):
    database.ask(constraint("FOREIGN KEY (order_id) REFERENCES users NOT VALID")[0])
    change(bucket)
    failed = fail(several, r"constraint theirs of table orders \(foreign key\)")
    check_others(database)
    database.check_shown(failed)
    for user in ("A", "B", "C", "D"):
        bucket.user(f"{user}.csv")
    database.check_end(several)


# -- row-level security and locks


def test_row_level_security_is_named(
    settings: Settings, bucket: TestBucket, database: Database, several: DataManager
):
    """Not for the owner, who sees all rows unless it is forced."""
    role = settings.source_bucket.replace("-", "_")
    database.ask(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        database.ask(
            f"GRANT ALL ON ALL TABLES IN SCHEMA public, bucketline TO {role};"
            f" GRANT ALL ON SCHEMA public, bucketline TO {role};"
            f" GRANT ALL ON ALL SEQUENCES IN SCHEMA bucketline TO {role}"
        )
        database.ask("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
        change(bucket)
        url = make_url(settings.sqlalchemy_url).set(
            username=role, password="x", drivername="postgresql"
        )
        limited = settings.model_copy(
            update={"database_url": SecretStr(url.render_as_string(hide_password=False))}
        )
        before = database.ask(STORED)
        with pytest.raises(DatasetsFailed, match="Row-level security of table orders hides rows"):
            DataManager(limited, datasets=None).run(Trigger.CLI)
        check_others(database)
        assert database.ask(STORED) == before
        database.check_end(several)
    finally:
        database.ask(f"DROP OWNED BY {role}; DROP ROLE {role}")


@contextmanager
def locking(engine: Engine, mode: str = "ACCESS EXCLUSIVE") -> Iterator[int]:
    """Lock orders in a session of another client; its process id."""
    with engine.connect() as connection:
        connection.execute(text("SET application_name = 'their report'"))
        connection.execute(text(f"LOCK TABLE orders IN {mode} MODE"))
        yield int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE"])
def test_locked_table_is_named_with_the_process_that_locks_it(
    mode: str,
    several: DataManager,
    bucket: TestBucket,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(locks, "LOCK_TIMEOUT_SECONDS", 0.1)
    change(bucket)
    with locking(database.engine, mode) as process:
        failed = fail(several, rf"Table orders .* by process {process} \(their report\)")
    check_others(database)
    database.check_shown(failed)
    database.check_end(several)


@pytest.mark.usefixtures("several")
def test_locked_table_delays_no_output_of_others(
    bucket: TestBucket, database: Database, monkeypatch: pytest.MonkeyPatch
):
    class GoesDown(ObjectStore):
        def put_stream(self, *_: object) -> None:
            raise ObjectStoreUnavailable("The store went down.")

    monkeypatch.setattr(locks, "LOCK_TIMEOUT_SECONDS", 0.1)
    change(bucket)
    settings = database.settings.model_copy(update={"publish_interval": timedelta(0)})
    DataManager(settings, store=GoesDown(settings), datasets=DATASETS).run(Trigger.CLI)
    with locking(database.engine) as process:
        assert not DataManager(settings).publish_if_due()
    error = database.ask("SELECT error->>'message' FROM run WHERE publish_pending")
    assert error == [
        (f"Table orders of dataset 'orders' stayed locked by process {process} (their report).",)
    ]
    assert b"\n2," in published(settings, "output.csv")
    assert b"\nD," not in published(settings, "orders.csv")
    assert DataManager(settings).publish_if_due()
    assert b"\nD," in published(settings, "orders.csv")


def published(settings: Settings, name: str) -> bytes:
    bucket = TestBucket(settings)
    bucket.name = settings.processed_bucket
    return bucket.get(name)
