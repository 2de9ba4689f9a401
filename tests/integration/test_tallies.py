"""After each commit, of any process, the tallies equal counts of the tables; see tests.tallies."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, event, text

from etl.db import events, runs, statistics, tallies
from etl.db.engine import connect, migrate
from etl.db.retention import Retention
from etl.images.indexer import ThumbnailIndexer
from etl.model.dataset import USERS
from etl.model.errors import ObjectStoreUnavailable
from etl.model.values import RunOutcome, Trigger
from etl.settings import Settings
from etl.sync import apply
from etl.sync.manager import DataManager
from tests.conftest import TestBucket
from tests.integration.conftest import Query
from tests.sample_datasets import ORDERS, READINGS
from tests.sample_images import plain
from tests.tallies import wrong_tallies

STATEMENTS_OF_AN_EVENT_RUN = 27
FAULTY = "order_id,amount,rank,updated\nA,x,1,1\nB,1,y,1\nC,1,1,1\n"
GOOD = "order_id,amount,rank,updated\nA,1,1,1\nB,1,1,1\nC,1,1,1\n"


@pytest.fixture
def several(settings: Settings) -> DataManager:
    return DataManager(settings, datasets=(ORDERS, READINGS, USERS))


def announce(engine: Engine, settings: Settings, *keys: str) -> None:
    with engine.begin() as connection:
        for key in keys:
            record = {
                "eventName": "s3:ObjectCreated:Put",
                "eventTime": "2026-01-02T03:04:05.678Z",
                "s3": {"bucket": {"name": settings.source_bucket}, "object": {"key": key}},
            }
            made = events.parse(json.dumps({"Records": [record]}).encode())
            events.store(connection, made, source_bucket=settings.source_bucket)


# -- problems


def test_problems_are_counted_when_they_are_found_and_when_they_are_solved(
    bucket: TestBucket, several: DataManager, engine: Engine, query: Query
):
    bucket.put("orders/1.csv", FAULTY)
    several.run(Trigger.CLI)
    found = "SELECT dataset, problems, errors, faulty_objects FROM dataset_tally WHERE problems > 0"
    assert query(found) == [("orders", 2, 2, 1)]
    assert query("SELECT key, errors FROM faulty_object") == [("orders/1.csv", 2)]
    assert wrong_tallies(engine) == {}
    bucket.put("orders/1.csv", GOOD)
    several.run(Trigger.CLI)
    assert query("SELECT sum(problems) FROM problem_tally") == [(0,)]
    assert query("SELECT count(*) FROM problem_tally WHERE closed_at IS NULL") == [(0,)]
    assert query("SELECT sum(opened), sum(closed) FROM problem_hour") == [(2, 2)]
    assert wrong_tallies(engine) == {}


def test_an_object_with_the_same_problems_as_before_opens_none(
    bucket: TestBucket, several: DataManager, engine: Engine, query: Query
):
    bucket.put("orders/1.csv", FAULTY)
    several.run(Trigger.CLI)
    since = query("SELECT first_seen_at FROM faulty_object")
    bucket.put("orders/1.csv", FAULTY + "D,1,1,1\n")
    several.run(Trigger.CLI)
    assert query("SELECT sum(opened), sum(closed) FROM problem_hour") == [(2, 0)]
    assert query("SELECT first_seen_at FROM faulty_object") == since
    assert wrong_tallies(engine) == {}


def index(settings: Settings) -> None:
    ThumbnailIndexer(settings).run()


def test_problems_of_images_are_counted_by_the_worker(
    bucket: TestBucket, manager: DataManager, settings: Settings, engine: Engine, query: Query
):
    bucket.user("1.csv")
    bucket.put("1.png", "no image")
    manager.run(Trigger.CLI)
    index(settings)
    assert query("SELECT code, problems FROM problem_tally") == [("unsupported-image", 1)]
    assert wrong_tallies(engine) == {}
    bucket.put("1.png", plain())
    manager.run(Trigger.CLI)
    index(settings)
    assert query("SELECT problems FROM problem_tally") == [(0,)]
    assert wrong_tallies(engine) == {}


def test_a_run_and_the_image_worker_see_what_the_other_has_counted(
    bucket: TestBucket,
    manager: DataManager,
    settings: Settings,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
):
    """The worker counts an object that a run has read again and not yet committed."""
    bucket.user("1.csv")
    bucket.put("1.png", "no image")
    manager.run(Trigger.CLI)
    bucket.put("1.png", "another")
    begun, done = threading.Event(), threading.Event()
    lock = tallies.lock

    def late(connection: Connection) -> None:
        if threading.current_thread() is run:
            begun.set()
            done.wait(10)
        lock(connection)

    monkeypatch.setattr(tallies, "lock", late)
    run = threading.Thread(target=manager.run, args=(Trigger.CLI,))
    run.start()
    assert begun.wait(10)  # the manifest has the new version, uncommitted
    index(settings)
    done.set()
    run.join()
    assert wrong_tallies(engine) == {}
    index(settings)
    assert wrong_tallies(engine) == {}


# -- runs


def test_a_failed_run_counts_as_failed_and_changes_nothing_else(
    bucket: TestBucket,
    several: DataManager,
    engine: Engine,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
):
    bucket.put("orders/1.csv", FAULTY)
    several.run(Trigger.CLI)
    before = query("SELECT * FROM dataset_tally ORDER BY 1")
    bucket.put("orders/1.csv", GOOD)

    def fail(*_args: object, **_named: object) -> None:
        raise ObjectStoreUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(runs, "complete_run", fail)
        with pytest.raises(ObjectStoreUnavailable):
            several.run(Trigger.CLI)
    assert query("SELECT * FROM dataset_tally ORDER BY 1") == before
    assert query("SELECT error, runs FROM run_total WHERE outcome = 'failed'") == [
        ("ObjectStoreUnavailable", 1)
    ]
    assert wrong_tallies(engine) == {}


def test_an_interrupted_run_is_counted_once(manager: DataManager, engine: Engine, query: Query):
    with engine.connect() as connection:
        runs.begin_run(connection, Trigger.INTERVAL)
    for _ in range(2):
        manager.run(Trigger.CLI)
    assert query("SELECT trigger, outcome, runs FROM run_total ORDER BY 2") == [
        ("interval", "interrupted", 1),
        ("cli", "succeeded", 2),
    ]
    assert wrong_tallies(engine) == {}


def test_event_runs_without_a_problem_are_uneventful(
    bucket: TestBucket, several: DataManager, engine: Engine, settings: Settings, query: Query
):
    several.run(Trigger.CLI)
    for number, content in enumerate([GOOD, FAULTY]):
        bucket.put(f"orders/{number}.csv", content)
        announce(engine, settings, f"orders/{number}.csv")
        assert several.run_events() is not None
    found = query("SELECT trigger, uneventful, outcome FROM run ORDER BY id")
    assert found == [
        ("cli", False, RunOutcome.SUCCEEDED),
        ("event", True, RunOutcome.SUCCEEDED),
        ("event", False, RunOutcome.SUCCEEDED),
    ]


# -- others


def test_removal_of_old_retired_rows_is_counted(
    bucket: TestBucket, several: DataManager, settings: Settings, engine: Engine, query: Query
):
    bucket.put("orders/1.csv", GOOD)
    several.run(Trigger.CLI)
    bucket.remove("orders/1.csv")
    several.run(Trigger.CLI)
    assert query("SELECT retired FROM dataset_tally WHERE dataset = 'orders'") == [(3,)]
    with engine.begin() as connection:
        connection.execute(text("UPDATE orders_retired SET _retired_at = now() - interval '1 day'"))
        connection.execute(text("UPDATE dataset_hour SET hour = hour - interval '91 days'"))
        connection.execute(
            text("UPDATE run_half_hour SET half_hour = half_hour - interval '91 days'")
        )
    work = Retention(settings.model_copy(update={"retired_retention": timedelta(hours=1)}))
    while work.work():
        pass
    assert query("SELECT retired FROM dataset_tally WHERE dataset = 'orders'") == [(0,)]
    assert query("SELECT count(*) FROM dataset_hour") == [(0,)]
    assert query("SELECT count(*) FROM run_half_hour") == [(0,)]


def test_a_dropped_dataset_has_no_tallies(
    bucket: TestBucket, several: DataManager, settings: Settings, engine: Engine, query: Query
):
    bucket.put("orders/1.csv", FAULTY)
    several.run(Trigger.CLI)
    apply.drop(settings, "orders", (USERS,))
    for table in ("dataset_tally", "problem_tally", "faulty_object", "dataset_hour"):
        assert query(f"SELECT count(*) FROM {table} WHERE dataset = 'orders'") == [(0,)]
    assert wrong_tallies(engine) == {}


def test_a_dataset_that_is_declared_again_is_counted_again(
    bucket: TestBucket, settings: Settings, engine: Engine
):
    bucket.put("orders/1.csv", FAULTY)
    bucket.put("orders/2.csv", GOOD)
    manager = DataManager(settings, datasets=(ORDERS, USERS))
    manager.run(Trigger.CLI)
    for datasets in ((USERS,), (ORDERS, USERS), (replace(ORDERS, exclude=("**/2.csv",)), USERS)):
        manager.declare(datasets)
        apply.apply(settings, datasets)
        assert wrong_tallies(engine) == {}
        manager.run(Trigger.CLI)
        assert wrong_tallies(engine) == {}


def test_statistics_name_the_run_that_they_are_of(
    bucket: TestBucket, several: DataManager, engine: Engine, client: FlaskClient
):
    bucket.put("orders/1.csv", GOOD)
    last = several.run(Trigger.CLI)
    several.run(Trigger.CLI)
    assert client.get("/datasets/orders/stats").status_code == 200
    bucket.put("orders/1.csv", FAULTY)
    several.run(Trigger.CLI)
    with engine.connect() as connection:
        found = statistics.latest(connection, "orders")
    assert found is not None
    assert (found.rows, found.run_id) == (3, last.id)
    assert found.columns["order_id"]["distinct"] == 3


# -- the summary of a hold


def test_a_hold_has_a_summary_of_what_would_be_retired(
    bucket: TestBucket,
    settings: Settings,
    engine: Engine,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("etl.sync.hold_summary.MOST_FOLDERS", 2)
    manager = DataManager(settings, datasets=(ORDERS, USERS))
    for file in range(8):
        rows_of_file = "".join(f"{file}-{n},{n},1,1\n" for n in range(30 + file))
        bucket.put(f"orders/{file % 4}/{file}.csv", f"order_id,amount,rank,updated\n{rows_of_file}")
    manager.run(Trigger.CLI)
    for file in (0, 1, 2, 4, 5, 6):
        bucket.remove(f"orders/{file % 4}/{file}.csv")
    manager.run(Trigger.CLI)
    assert query("SELECT outcome, count(*) FROM run GROUP BY 1 ORDER BY 1") == [
        ("held", 1),
        ("succeeded", 1),
    ]
    ((summary, rows_held),) = query("SELECT summary, rows FROM hold")
    assert (summary["objects"], summary["rows"]) == (6, rows_held) == (6, 198)
    assert [one["folder"] for one in summary["folders"]] == ["orders/2/", "orders/1/"]
    assert [one["rows"] for one in summary["folders"]] == [68, 66]
    assert summary["rest"]["rows"] == 64
    assert summary["rest"]["folders"] == 2
    assert (summary["rest"]["objects_held"], summary["rest"]["objects_kept"]) == (2, 2)
    assert len(summary["sample"]) == 4
    assert summary["sample"][0].keys() >= {"order_id", "amount", "_source_key"}
    assert summary["newest"] is not None
    assert summary["events"]["count"] == 0
    bucket.remove("orders/3/3.csv")
    manager.run(Trigger.CLI)
    assert query("SELECT CAST(summary->>'objects' AS int) FROM hold") == [(7,)]
    assert wrong_tallies(engine) == {}


# -- cost


def test_a_run_without_problems_makes_no_more_round_trips_than_before_tallies(
    bucket: TestBucket, several: DataManager, engine: Engine, settings: Settings
):
    """The number is that of the version without tallies."""
    bucket.put("orders/1.csv", GOOD)
    several.run(Trigger.CLI)
    bucket.put("orders/1.csv", GOOD + "D,1,1,1\n")
    announce(engine, settings, "orders/1.csv")
    executed: list[str] = []
    event.listen(
        several.run_engine, "before_cursor_execute", lambda *found: executed.append(found[2])
    )
    assert several.run_events() is not None
    assert len(executed) <= STATEMENTS_OF_AN_EVENT_RUN


# -- migration

_TABLES = ("dataset_tally", "problem_tally", "faulty_object", "dataset_hour", "run_total")
_EARLIER = (
    f"DROP TABLE {', '.join(_TABLES)}, problem_hour, run_half_hour, step_total, incident, alert",
    "DROP INDEX run_eventful_idx, run_uneventful_idx, problem_key_idx",
    "ALTER TABLE run DROP COLUMN uneventful",
    "ALTER TABLE run DROP COLUMN outcome, DROP COLUMN progress, DROP COLUMN step_spans",
    "ALTER TABLE run DROP COLUMN cancel_requested_at",
    "ALTER TABLE hold DROP COLUMN summary",
    "ALTER TABLE statistics DROP COLUMN run_id",
    "CREATE INDEX problem_key_idx ON problem (key)",
    "UPDATE alembic_version SET version_num = '0010'",
)


def test_the_migration_counts_what_is_stored(
    bucket: TestBucket, several: DataManager, settings: Settings, engine: Engine, query: Query
):
    bucket.put("orders/1.csv", FAULTY)
    bucket.put("orders/2.csv", "order_id,amount,rank,updated\nA,7,0,0\nZ,1,1,1\n")
    bucket.put("sensors/Oslo/1.csv", "sensor,celsius\nt1,1\nt2,warm\n")
    bucket.user("1.csv")
    bucket.put("1.png", "no image")
    several.run(Trigger.CLI)
    index(settings)
    bucket.remove("orders/2.csv")
    several.run(Trigger.CLI)
    with engine.connect() as connection:
        runs.begin_run(connection, Trigger.INTERVAL)
    several.run(Trigger.CLI)
    left_out = ("first_seen_at", "last_seen_at", "closed_at", "seconds")

    def everything() -> dict[str, list[tuple[Any, ...]]]:
        without = "".join(f" - '{one}'" for one in left_out)
        return {
            table: query(f"SELECT to_jsonb(t){without} AS row FROM {table} t ORDER BY 1")
            for table in _TABLES
        }

    before = everything()
    with engine.begin() as connection:
        for statement in _EARLIER:
            connection.execute(text(statement))
    engine.dispose()
    again = connect(settings)
    migrate(again)
    again.dispose()
    assert wrong_tallies(engine) == {}
    assert everything() == before
