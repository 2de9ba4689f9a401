"""Old rows are removed; open, recent, referenced and pending ones are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from etl.db import retention, runs
from etl.db.committed import last_committed
from etl.db.engine import connect
from etl.db.problems import open_problems
from etl.db.retention import Retention, remove_problems, remove_runs
from etl.model.dataset import USERS
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.conftest import TestBucket, wait_until
from tests.integration.test_schedule import scheduling
from tests.sample_datasets import ORDERS

UNDATED = "first_name,last_name,birthts\nAnn,Lee,soon\n"
ALL = dict.fromkeys(
    ("problem_retention", "run_retention", "event_retention", "retired_retention"), None
)
HOUR = timedelta(hours=1)


@pytest.fixture
def keep_all(settings: Settings) -> Settings:
    """Settings that keep everything; each test sets what is removed."""
    return settings.model_copy(update=ALL)


def execute(engine: Engine, statement: str, **parameters: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), parameters)


def count(engine: Engine, what: str) -> int:
    with engine.connect() as connection:
        return connection.scalar(text(f"SELECT count(*) FROM {what}")) or 0


def make_old(engine: Engine) -> None:
    execute(engine, "UPDATE run SET finished_at = finished_at - interval '5 hours'")


def remove(settings: Settings, **ages: timedelta) -> None:
    """Make one complete pass."""
    work = Retention(settings.model_copy(update=ages))
    while work.work():
        pass


def add_runs(engine: Engine, number: int, trigger: str = "interval") -> None:
    """Insert runs that are two hours old and found nothing."""
    execute(
        engine,
        "INSERT INTO run (trigger, state, started_at, finished_at, counts)"
        " SELECT :trigger, 'succeeded', now() - interval '2 hours',"
        " now() - interval '2 hours' + n * interval '1 ms', '{}'"
        " FROM generate_series(1, :number) AS n",
        trigger=trigger,
        number=number,
    )


# -- problems


def test_closed_problems_of_old_runs_are_removed(
    keep_all: Settings, bucket: TestBucket, manager: DataManager, engine: Engine
):
    bucket.put("a.csv", UNDATED)
    bucket.put("b.csv", UNDATED)
    manager.run(Trigger.CLI)
    bucket.put("a.csv", f"{UNDATED}Bo,Li,later\n")
    manager.run(Trigger.CLI)
    make_old(engine)
    assert count(engine, "problem") == 4
    remove(keep_all, problem_retention=6 * HOUR)
    assert count(engine, "problem") == 4
    remove(keep_all, problem_retention=HOUR)
    with engine.connect() as connection:
        assert sorted(row["key"] for row in open_problems(connection)) == ["a.csv"] * 2 + ["b.csv"]
    assert count(engine, "problem") == 3


def test_many_problems_are_removed_in_pages(
    keep_all: Settings,
    bucket: TestBucket,
    manager: DataManager,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
):
    """Only the latest problems of an object that was uploaded many times remain."""
    monkeypatch.setattr(retention, "PAGE", 1_000)
    for seconds in range(3):
        bucket.put("a.csv", f"{UNDATED}Bo,Li,{seconds}th\n")
        report = manager.run(Trigger.CLI)
        execute(
            engine,
            "INSERT INTO problem (run_id, bucket, key, etag, line, code, severity, note)"
            " SELECT :run, :bucket, 'a.csv', 'e', n, 'short-row', 'error', ''"
            " FROM generate_series(1, 9999) AS n",
            run=report.id,
            bucket=keep_all.source_bucket,
        )
    make_old(engine)
    last = count(engine, f"problem WHERE run_id = {report.id}")
    remove(keep_all, problem_retention=HOUR)
    assert count(engine, "problem") == last > 9_999


# -- retired rows


def test_old_retired_rows_of_every_dataset_are_removed(
    keep_all: Settings, bucket: TestBucket, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    """In pages; those of a dataset that is not declared stay."""
    monkeypatch.setattr(retention, "PAGE_BLOCKS", 1)
    gone = replace(ORDERS, name="gone", table="gone", include=("gone/*.csv",), publish=())
    datasets = (ORDERS, gone, USERS)
    rows = "".join(f"o{number:03}\n" for number in range(300))
    for name in ("orders", "gone"):
        bucket.put(f"{name}/1.csv", f"order_id\n{rows}")
    bucket.user("1.csv")
    DataManager(keep_all, datasets=datasets).run(Trigger.CLI)
    for key in ("orders/1.csv", "gone/1.csv", "1.csv"):
        bucket.remove(key)
    allowed = {"orders": None, "gone": None}
    DataManager(keep_all, datasets=datasets).run(Trigger.CLI, allowed_retirements=allowed)
    DataManager(keep_all, datasets=(ORDERS, USERS)).run(Trigger.CLI)
    for name in ("orders", "gone", "users"):
        execute(engine, f"UPDATE {name}_retired SET _retired_at = _retired_at - interval '2 hours'")
    execute(engine, "UPDATE orders_retired SET _retired_at = now() WHERE order_id = 'o007'")
    remove(keep_all, retired_retention=3 * HOUR)
    assert count(engine, "orders_retired") == 300
    before = count_revision(engine, "dataset:orders")
    remove(keep_all, retired_retention=HOUR)
    assert count(engine, "orders_retired") == 1
    assert (count(engine, "users_retired"), count(engine, "gone_retired")) == (0, 300)
    assert count_revision(engine, "dataset:orders") > before
    bucket.put("orders/1.csv", "order_id\no007\no008\n")
    found = DataManager(keep_all, datasets=(ORDERS, USERS)).run(Trigger.CLI)
    assert found.dataset_counts["orders"].restored == 1
    assert found.dataset_counts["orders"].inserted == 1


def count_revision(engine: Engine, noun: str) -> int:
    with engine.connect() as connection:
        query = text("SELECT number FROM revision WHERE noun = :noun")
        return int(connection.scalar(query, {"noun": noun}) or 0)


# -- runs


def test_old_runs_are_removed_except_the_last_hundred(
    keep_all: Settings, manager: DataManager, engine: Engine
):
    add_runs(engine, 130)
    remove(keep_all, run_retention=3 * HOUR)
    assert count(engine, "run") == 130
    remove(keep_all, run_retention=HOUR)
    assert count(engine, "run") == 100
    assert count(engine, "run WHERE id > 30") == 100
    assert manager.run(Trigger.CLI).state == "succeeded"


def test_runs_referenced_by_rows_are_kept(
    keep_all: Settings, bucket: TestBucket, manager: DataManager, engine: Engine
):
    bucket.user("1.csv")
    first = manager.run(Trigger.CLI).id  # the user's, and output.csv's
    bucket.put("1.csv", "last_name,first_name,birthts\nLee,Ann,0\n")
    second = manager.run(Trigger.CLI).id  # the object's, whose user is as before
    bucket.put("twice.csv", "user_id,first_name,last_name,birthts\n2,A,B,0\n2,A,B,0\n")
    third = manager.run(Trigger.CLI).id  # the shadowed row's
    bucket.put("bad.csv", UNDATED)
    fourth = manager.run(Trigger.CLI).id  # the open problem's
    useless = manager.run(Trigger.CLI).id
    make_old(engine)
    add_runs(engine, 150)
    remove(keep_all, run_retention=HOUR, problem_retention=HOUR)
    with engine.connect() as connection:
        stayed = set(connection.scalars(text(f"SELECT id FROM run WHERE id <= {useless}")))
    assert stayed == {first, second, third, fourth}


def test_runs_needed_by_the_next_run_are_kept(
    keep_all: Settings, bucket: TestBucket, manager: DataManager, engine: Engine
):
    """After a full run, event runs are kept regardless of their number and age."""
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    execute(engine, "UPDATE users SET _run_id = 0")
    execute(engine, "UPDATE source_object SET run_id = 0")
    add_runs(engine, 150, "event")
    users = '{"users": {"retired": 2, "restored": 0}}'
    execute(
        engine,
        "UPDATE run SET counts = '{\"users_live\": 7}', dataset_counts = CAST(:users AS jsonb)"
        " WHERE trigger = 'event'",
        users=users,
    )
    execute(engine, "UPDATE run SET finished_at = finished_at - interval '9 hours' WHERE id = 1")
    remove(keep_all, run_retention=HOUR)
    assert count(engine, "run") == 151
    with engine.connect() as connection:
        assert runs.retired_by_events(connection, "users") == 300
        assert last_committed(connection).counts.users_live == 7


def test_a_run_still_to_be_published_stays(keep_all: Settings, engine: Engine):
    add_runs(engine, 120)
    execute(engine, "UPDATE run SET publish_pending = true WHERE id = 3")
    remove(keep_all, run_retention=HOUR)
    assert count(engine, "run WHERE id <= 20") == count(engine, "run WHERE id = 3") == 1


@pytest.mark.planner
def test_a_page_scans_no_table_whatever_the_statistics_say(keep_all: Settings, engine: Engine):
    """PostgreSQL analyzed the problem table when it was large and had few runs."""
    add_runs(engine, 300)
    execute(
        engine,
        "INSERT INTO problem (run_id, bucket, key, etag, code, severity, note)"
        " SELECT 1 + n % 3, 'src', 'a.csv', 'e', 'short-row', 'error', ''"
        " FROM generate_series(1, 9999) AS n",
    )
    execute(engine, "ANALYZE problem, run")
    execute(engine, "DELETE FROM problem")
    scans = text(
        "SELECT sum(seq_scan) FROM pg_stat_xact_user_tables"
        " WHERE relname IN ('problem', 'source_object')"
    )
    with connect(keep_all).connect() as connection:
        assert remove_problems(connection, 0, age=HOUR).removed == 0
        assert remove_runs(connection, 0, age=HOUR, used=set()).removed == 200
        assert connection.scalar(scans) == 0


# -- events


def add_events(engine: Engine, bucket: str, handled_by: int | None, number: int) -> None:
    execute(
        engine,
        "INSERT INTO bucket_event"
        " (bucket, key, mark, event_name, record, handled_by_run, received_at)"
        " SELECT :bucket, 'k', coalesce(:run, -1) || ' ' || n, 'e', '{}', :run,"
        " now() - interval '2 hours' FROM generate_series(1, :number) AS n",
        bucket=bucket,
        run=handled_by,
        number=number,
    )


def test_handled_events_are_removed_and_pending_ones_kept(keep_all: Settings, engine: Engine):
    add_events(engine, keep_all.source_bucket, None, 3)
    add_events(engine, keep_all.source_bucket, 7, 4)
    add_events(engine, "another", 0, 5)
    remove(keep_all, event_retention=3 * HOUR)
    assert count(engine, "bucket_event") == 12
    remove(keep_all, event_retention=HOUR)
    assert count(engine, "bucket_event WHERE handled_by_run IS NULL") == 3
    # The source bucket's last event is kept as proof that its store sends events.
    assert count(engine, "bucket_event WHERE handled_by_run IS NOT NULL") == 1
    assert count(engine, "bucket_event WHERE bucket = 'another'") == 0


# -- when


def test_sent_alerts_are_removed_and_pending_ones_kept(keep_all: Settings, engine: Engine):
    execute(
        engine,
        "INSERT INTO alert (event, incidents, created_at, sent_at, given_up_at)"
        " SELECT 'late', '[]', now() - hours * interval '1 hour', sent_at, given_up_at"
        " FROM (VALUES (2, now(), NULL), (2, NULL, now()), (2, NULL, NULL), (0, now(), NULL))"
        " AS made (hours, sent_at, given_up_at)",
    )
    remove(keep_all, run_retention=HOUR)
    assert count(engine, "alert") == 2
    assert count(engine, "alert WHERE created_at < now() - interval '1 hour'") == 1


def test_forever_removes_nothing(keep_all: Settings, engine: Engine):
    add_runs(engine, 130)
    add_events(engine, keep_all.source_bucket, 7, 4)
    remove(keep_all)
    assert (count(engine, "run"), count(engine, "bucket_event")) == (130, 4)


def test_scheduler_removes_old_rows(keep_all: Settings, engine: Engine):
    add_runs(engine, 300)
    with scheduling(keep_all.model_copy(update={"run_retention": HOUR})):
        wait_until(lambda: count(engine, "run") <= 101)


def test_a_pass_is_made_once_an_hour(keep_all: Settings, engine: Engine):
    aged = keep_all.model_copy(update={"run_retention": HOUR})
    work = Retention(aged)
    add_runs(engine, 130)
    while work.work():
        pass
    add_runs(engine, 30)
    assert not work.work()
    assert count(engine, "run") == 130


def test_rows_not_removed_in_time_wait_for_the_next_pass(
    keep_all: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "STATEMENT_TIMEOUT_SECONDS", 0.2)
    add_runs(engine, 130)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE run IN ACCESS EXCLUSIVE MODE"))
        remove(keep_all, run_retention=HOUR)
    assert count(engine, "run") == 130


def test_runs_continue_while_old_rows_are_removed(
    keep_all: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    """A requested run is made between two slices, even if the slices never end."""
    monkeypatch.setattr(retention, "SLICE_SECONDS", 0)
    monkeypatch.setattr(Retention, "work", lambda _self: True)
    with scheduling(keep_all):
        wait_until(lambda: count(engine, "run WHERE state = 'succeeded'") == 1)
        with engine.begin() as connection:
            requested = runs.request_run(connection, Trigger.REQUEST)
        wait_until(
            lambda: count(engine, f"run WHERE id = {requested} AND state = 'succeeded'") == 1
        )
