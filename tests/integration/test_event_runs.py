"""Event runs: they check the keys that events name, and handle each event once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Engine, text

from etl.db import events
from etl.db.engine import connect_unpooled
from etl.db.locks import run_lock
from etl.model.dataset import USERS
from etl.model.errors import (
    DatasetsFailed,
    ObjectStoreUnavailable,
    RunAlreadyActive,
    UnreadableObject,
)
from etl.model.values import RunReport, RunState, SourceFile, SourceObject, Trigger
from etl.services.scheduler import Retries
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.listing import ListingPage
from etl.sync import find
from etl.sync.manager import DataManager
from etl.sync.probe import stat_keys
from etl.verify import Difference, verify
from tests.conftest import TestBucket, wait_until
from tests.integration.test_schedule import ask, runs, scheduling
from tests.sample_datasets import ORDERS
from tests.stores import KEEPS_BACKSLASHES

Notify = Callable[..., int]


@pytest.fixture
def notify(settings: Settings, engine: Engine) -> Notify:
    """Send a new event for each key of the source bucket, as a store does."""
    count = iter(range(10**9))

    def send(*keys: str, mark: str | None = None, **other: object) -> int:
        records = [
            {
                "eventName": "s3:ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": settings.source_bucket},
                    "object": {"key": key, "sequencer": mark or str(next(count))} | other,
                },
            }
            for key in keys
        ]
        with engine.begin() as connection:
            made = events.parse(json.dumps({"Records": records}).encode())
            return events.store(connection, made, source_bucket=settings.source_bucket)

    return send


def handled(engine: Engine) -> list[int | None]:
    with engine.connect() as connection:
        query = "SELECT handled_by_run FROM bucket_event ORDER BY id"
        return list(connection.execute(text(query)).scalars())


def refusals(engine: Engine) -> int:
    with engine.connect() as connection:
        query = "SELECT count(*) FROM problem WHERE code = 'access-refused'"
        return int(connection.scalar(text(query)) or 0)


def users(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        query = "SELECT user_id, first_name FROM users"
        return {row.user_id: row.first_name for row in connection.execute(text(query))}


def faults(settings: Settings, engine: Engine) -> list[Difference]:
    """The differences that verify finds in the tables; output.csv is published later."""
    return [one for one in verify(settings, engine) if not one.what.startswith("output-")]


def made(report: RunReport | None) -> RunReport:
    assert report is not None
    assert report.state is RunState.SUCCEEDED
    assert report.trigger is Trigger.EVENT
    return report


def test_an_event_brings_its_object_in(
    bucket: TestBucket, manager: DataManager, engine: Engine, notify: Notify
):
    bucket.user("1.csv", "Ann")
    bucket.user("2.csv", "Bob")
    notify("1.csv")
    report = made(manager.run_events())
    assert users(engine) == {"1": "Ann"}
    assert handled(engine) == [report.id]
    assert (report.counts.objects_listed, report.counts.objects_added) == (1, 1)
    assert manager.run_events() is None


def test_a_dataset_that_cannot_be_synced_leaves_events_of_others_their_runs(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    """Otherwise each event would request a full run, and none would end the wait."""
    bucket.user("1.csv", "Ann")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.orders (a int)"))  # of another client
    manager = DataManager(settings, datasets=(ORDERS, USERS))
    for _ in range(2):  # the second run tries to install it again
        with pytest.raises(DatasetsFailed):
            manager.run(Trigger.CLI)
    bucket.user("1.csv", "Bob")
    notify("1.csv")
    made(manager.run_events())
    assert users(engine) == {"1": "Bob"}


def test_added_modified_and_removed_in_one_run(
    bucket: TestBucket, manager: DataManager, engine: Engine, notify: Notify
):
    for key in ("1.csv", "2.csv", "3.csv"):
        bucket.user(key, "Old")
    manager.run(Trigger.CLI)
    bucket.user("2.csv", "New")
    bucket.remove("3.csv")
    bucket.user("4.csv", "New")
    bucket.put("4.png", b"no picture")
    notify("1.csv", "2.csv", "3.csv", "4.csv", "4.png", "never-was.csv", "._4.csv", "folder/")
    counts = made(manager.run_events()).counts
    assert users(engine) == {"1": "Old", "2": "New", "4": "New"}
    assert (counts.objects_added, counts.objects_modified, counts.objects_removed) == (2, 1, 1)
    assert (counts.objects_listed, counts.objects_unchanged) == (4, 1)


def test_events_of_ignored_files_are_counted_as_ignored(
    bucket: TestBucket, manager: DataManager, notify: Notify
):
    bucket.put("._1.csv", b"ignored")
    bucket.put("__MACOSX/1.csv", b"ignored")
    bucket.user("1.csv")
    notify("._1.csv", "__MACOSX/1.csv", "1.csv")
    counts = made(manager.run_events()).counts
    assert (counts.objects_listed, counts.objects_ignored, counts.objects_added) == (3, 2, 1)


NO_KEYS = [
    *("../../etc/passwd", "..", ".", "./1.csv", "a/../1.csv", "/", "//x", "/1.csv", "a//b"),
    *("no such key", "1.csv/x", "1.csv/", "%", "'; --", "\\", "\n", "\x01", "k" * 1024),
]


@pytest.mark.parametrize(
    "forged",
    [
        {"eTag": "0" * 32, "size": 7},
        {"eTag": "", "size": 10**12, "versionId": "x"},
    ],
)
def test_forged_event_changes_nothing_and_starts_no_run(
    bucket: TestBucket, manager: DataManager, engine: Engine, notify: Notify, forged: dict[str, Any]
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    before = users(engine), runs(engine)
    notify("1.csv", *NO_KEYS, **forged)
    assert manager.run_events() is None
    assert (users(engine), runs(engine)) == before
    assert set(handled(engine)) == {events.NO_RUN}


def test_forged_removal_event_retires_no_user(
    bucket: TestBucket, manager: DataManager, engine: Engine, notify: Notify
):
    bucket.user("1.csv", "Ann")
    notify("1.csv")
    made(manager.run_events())
    with engine.begin() as connection:
        record = {
            "eventName": "s3:ObjectRemoved:Delete",
            "s3": {"bucket": {"name": bucket.name}, "object": {"key": "1.csv", "sequencer": "9"}},
        }
        events.store(connection, events.parse({"Records": [record]}), source_bucket=bucket.name)
    assert manager.run_events() is None
    assert users(engine) == {"1": "Ann"}


@pytest.mark.store(KEEPS_BACKSLASHES)
def test_events_of_every_kind_of_key_are_checked(
    bucket: TestBucket, manager: DataManager, settings: Settings, engine: Engine, notify: Notify
):
    names = [
        "a b",
        "ä",
        "😀",
        "a+b",
        "a%20b",
        "x/y/z",
        "q?",
        "h#",
        "a'b",
        'a"b',
        "back\\slash",
        "é",
    ]
    for name in names:
        bucket.user(f"{name}.csv", "Ann")
    notify(*(f"{name}.csv".replace("%", "%25").replace("+", "%2B") for name in names))
    counts = made(manager.run_events()).counts
    assert counts.objects_added == len(names)
    assert faults(settings, engine) == []


def test_redelivery_makes_no_run(
    bucket: TestBucket, manager: DataManager, engine: Engine, notify: Notify
):
    keys = [f"{number}.csv" for number in range(1000)]
    for key in keys[:20]:
        bucket.user(key)
    notify(*keys, mark="7")
    made(manager.run_events())
    for _ in range(9):
        assert notify(*keys[::-1], mark="7") == 0
        assert manager.run_events() is None
    assert len(handled(engine)) == 1000
    assert runs(engine) == 1


def test_old_event_does_not_change_newer_objects(
    bucket: TestBucket, manager: DataManager, engine: Engine, notify: Notify
):
    bucket.user("1.csv", "Old")
    bucket.user("1.csv", "New")
    manager.run(Trigger.CLI)
    notify("1.csv", eTag="of the old one")
    assert manager.run_events() is None
    assert users(engine) == {"1": "New"}


def test_events_over_the_limit_of_a_run_go_to_the_next(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    manager = DataManager(settings, events_per_run=4)
    for number in range(10):
        bucket.user(f"{number}.csv")
    notify(*("absent.csv" for _ in range(6)), *(f"{number}.csv" for number in range(10)))
    reports = []
    while None in handled(engine):
        reports.append(manager.run_events())
    reports = [report for report in reports if report is not None]
    assert sum(report.counts.objects_added for report in reports) == 10
    assert len(users(engine)) == 10
    assert len(reports) == 3
    assert None not in handled(engine)


def test_an_image_is_joined_and_left_by_events(
    bucket: TestBucket, manager: DataManager, settings: Settings, engine: Engine, notify: Notify
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    bucket.put("1.png", b"no picture")
    notify("1.png")
    assert made(manager.run_events()).counts.users_with_image == 1
    bucket.remove("1.png")
    notify("1.png")
    assert made(manager.run_events()).counts.users_with_image == 0
    assert faults(settings, engine) == []


def test_an_outage_of_the_store_leaves_the_events_waiting(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    class Down(ObjectStore):
        def stat(self, bucket: str, key: str) -> SourceObject | None:
            raise ObjectStoreUnavailable(f"Cannot read {bucket}/{key}.")

    bucket.user("1.csv")
    notify("1.csv")
    with pytest.raises(ObjectStoreUnavailable):
        DataManager(settings, store=Down(settings)).run_events()
    assert handled(engine) == [None]
    made(DataManager(settings).run_events())
    assert users(engine) == {"1": "Ann"}


def test_another_run_is_not_disturbed(manager: DataManager, settings: Settings, notify: Notify):
    notify("1.csv")
    with run_lock(connect_unpooled(settings)), pytest.raises(RunAlreadyActive):
        manager.run_events()


def test_events_of_the_former_source_bucket_are_handled(manager: DataManager, engine: Engine):
    with engine.begin() as connection:
        record = {
            "eventName": "s3:ObjectCreated:Put",
            "s3": {"bucket": {"name": "before"}, "object": {"key": "1.csv", "sequencer": "1"}},
        }
        events.store(connection, events.parse({"Records": [record]}), source_bucket="before")
    assert manager.run_events() is None
    assert handled(engine) == [events.NO_RUN]


def call_before_each_check(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    def call_and_stat(
        store: ObjectStore, bucket: str, keys: list[str], *, objects_known: int
    ) -> list[SourceObject]:
        action()
        return stat_keys(store, bucket, keys, objects_known=objects_known)

    monkeypatch.setattr(find, "stat_keys", call_and_stat)


def test_continuous_events_hold_the_run_lock_for_one_check(
    bucket: TestBucket,
    manager: DataManager,
    engine: Engine,
    notify: Notify,
    monkeypatch: pytest.MonkeyPatch,
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    remaining = iter([True] * 3)
    call_before_each_check(monkeypatch, lambda: next(remaining, False) and notify("1.csv"))
    notify("1.csv")
    assert manager.run_events() is None
    assert handled(engine) == [events.NO_RUN, None]


class RefusesOnce(ObjectStore):
    """Refuses the first fetch."""

    refused = False

    def fetch(self, bucket: str, source: SourceObject) -> SourceFile | None:
        if not self.refused:
            self.refused = True
            raise UnreadableObject(f"{bucket}/{source.key} is not handed out.")
        return super().fetch(bucket, source)


class RefusesLocked(ObjectStore):
    """Refuses every fetch of keys that start with `locked`."""

    def fetch(self, bucket: str, source: SourceObject) -> SourceFile | None:
        if source.key.startswith("locked"):
            raise UnreadableObject(f"{bucket}/{source.key} is not handed out.")
        return super().fetch(bucket, source)


def test_the_event_of_an_object_that_the_store_refuses_waits_on(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    bucket.put("2.png", b"no picture")
    bucket.user("1.csv")
    notify("1.csv", "2.png")
    manager = DataManager(settings, store=RefusesOnce(settings))
    first = made(manager.run_events())
    assert first.counts.objects_unreadable == 1
    assert handled(engine) == [None, first.id]
    second = made(manager.run_events())
    assert users(engine) == {"1": "Ann"}
    assert handled(engine) == [second.id, first.id]
    assert manager.run(Trigger.INTERVAL).counts.found_by_reconcile == 0


def test_refused_object_keeps_its_event_under_another_spelling(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    bucket.user("/locked//1.csv")
    notify("/locked//1.csv")
    made(DataManager(settings, store=RefusesLocked(settings)).run_events())
    assert handled(engine) == [None]


def test_event_with_another_spelling_of_its_key_is_not_missed(
    bucket: TestBucket, manager: DataManager, notify: Notify
):
    manager.run(Trigger.CLI)
    bucket.user("/a//1.csv")
    bucket.user("2.csv")
    notify("/a//1.csv")
    assert manager.run(Trigger.CLI).counts.found_by_reconcile == 1


def test_refused_key_cannot_inject_sql(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    """The key would end an SQL comment and a statement."""
    key = "locked\n; DELETE FROM bucket_event; -- .csv"
    bucket.user(key)
    notify(quote(key))
    made(DataManager(settings, store=RefusesLocked(settings)).run_events())
    assert handled(engine) == [None]
    assert refusals(engine) == 1


# -- retiring


def test_emptying_a_bucket_by_events_is_held(
    bucket: TestBucket, manager: DataManager, engine: Engine, notify: Notify
):
    lines = "".join(f"u{number},Ann,Lee,0\n" for number in range(100))
    for file in range(4):
        rows = lines.replace("u", f"u{file}-")
        bucket.put(f"{file}.csv", f"user_id,first_name,last_name,birthts\n{rows}")
    manager.run(Trigger.CLI)
    for key in ("0.csv", "1.csv"):
        bucket.remove(key)
        notify(key)
        assert made(manager.run_events()).counts.users_retired == 100
    bucket.remove("2.csv")
    notify("2.csv")
    report = made(manager.run_events())
    assert (report.counts.objects_held, report.counts.users_retired) == (1, 0)
    assert handled(engine)[-1] == report.id
    bucket.remove("3.csv")
    notify("3.csv")
    assert made(manager.run_events()).counts.objects_held == 1
    assert manager.run(Trigger.INTERVAL).counts.objects_held == 2
    assert len(users(engine)) == 200
    manager.run(Trigger.CLI, allowed_retirements={"users": 200})
    assert len(users(engine)) == 0


@pytest.fixture
def half_emptied(bucket: TestBucket, manager: DataManager, notify: Notify) -> TestBucket:
    """Four objects of 100 users each, two of which event runs retired."""
    for file in range(4):
        rows = "".join(f"u{file}-{number},Ann,Lee,0\n" for number in range(100))
        bucket.put(f"{file}.csv", f"user_id,first_name,last_name,birthts\n{rows}")
    manager.run(Trigger.CLI)
    for key in ("0.csv", "1.csv"):
        bucket.remove(key)
        notify(key)
        made(manager.run_events())
    return bucket


def test_full_run_counts_retirements_of_event_runs(
    half_emptied: TestBucket, manager: DataManager, engine: Engine
):
    half_emptied.remove("2.csv")
    counts = manager.run(Trigger.INTERVAL).counts
    assert (counts.objects_held, counts.retirements_held, counts.found_by_reconcile) == (1, 100, 1)
    assert len(users(engine)) == 200
    assert manager.run(Trigger.INTERVAL).counts.found_by_reconcile == 0  # held, not missed
    manager.run(Trigger.CLI, allowed_retirements={"users": None})
    assert len(users(engine)) == 100


def test_full_run_that_retires_no_user_holds_nothing(
    half_emptied: TestBucket, manager: DataManager, engine: Engine, notify: Notify
):
    half_emptied.put("2.csv", half_emptied.get("2.csv") + b"new,Bob,Lee,0\n")
    with engine.begin() as connection:  # as if more than half were gone
        connection.execute(
            text(
                "UPDATE run SET dataset_counts = jsonb_set(dataset_counts,"
                " '{users,retired}', '300')"
                " WHERE id = (SELECT max(id) FROM run)"
            )
        )
    assert manager.run(Trigger.INTERVAL).counts.users_inserted == 1
    half_emptied.remove("3.csv")
    notify("3.csv")
    assert made(manager.run_events()).counts.users_retired == 100


# -- the reconcile


def test_full_run_handles_events_received_before_its_listing(
    bucket: TestBucket, manager: DataManager, engine: Engine, notify: Notify
):
    bucket.user("1.csv")
    notify("1.csv", "absent.csv")
    report = manager.run(Trigger.INTERVAL)
    assert handled(engine) == [report.id, report.id]
    assert manager.run_events() is None


def test_events_during_a_full_listing_wait_for_an_event_run(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    class NotifiesMeanwhile(ObjectStore):
        def list_pages(
            self, bucket: str, split_points: Iterable[str] = (), *more: Callable[[str], bool]
        ) -> Iterator[ListingPage]:
            yield from list(super().list_pages(bucket, split_points, *more))
            notify("1.csv")

    bucket.user("1.csv")
    DataManager(settings, store=NotifiesMeanwhile(settings)).run(Trigger.INTERVAL)
    assert handled(engine) == [None]
    assert DataManager(settings).run_events() is None
    assert handled(engine) == [events.NO_RUN]


def test_full_run_counts_changes_without_an_event(
    bucket: TestBucket, manager: DataManager, settings: Settings, engine: Engine, notify: Notify
):
    for number in range(5):
        bucket.user(f"{number}.csv", "Old")
    notify("0.csv")
    assert manager.run(Trigger.INTERVAL).counts.found_by_reconcile == 0  # the first full run
    bucket.user("1.csv", "New")
    bucket.remove("2.csv")
    bucket.user("9.csv", "New")
    bucket.user("3.csv", "New")
    notify("3.csv", "4.csv")
    counts = manager.run(Trigger.INTERVAL).counts
    assert counts.found_by_reconcile == 3
    assert counts.objects_changed == 4
    assert manager.run(Trigger.INTERVAL).counts.found_by_reconcile == 0
    assert verify(settings, engine) == []


def test_found_by_reconcile_is_zero_if_events_are_not_used(
    bucket: TestBucket, manager: DataManager
):
    bucket.user("1.csv")
    manager.run(Trigger.INTERVAL)
    bucket.user("2.csv")
    assert manager.run(Trigger.INTERVAL).counts.found_by_reconcile == 0


def test_object_reread_for_its_date_is_not_a_missed_change(
    bucket: TestBucket, settings: Settings, manager: DataManager, notify: Notify
):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    bucket.user("1.csv", birthts=int(tomorrow.timestamp() * 1000))
    notify("1.csv")
    manager.run(Trigger.INTERVAL)
    later = DataManager(settings, clock=lambda: tomorrow + timedelta(days=1))
    counts = later.run(Trigger.INTERVAL).counts
    assert (counts.objects_modified, counts.found_by_reconcile) == (1, 0)


# -- the scheduler


def test_the_scheduler_runs_for_an_event(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    with scheduling(settings):
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 1)
        bucket.user("1.csv")
        notify("1.csv")
        wait_until(lambda: users(engine) == {"1": "Ann"}, seconds=4)  # not by a full run
    assert runs(engine, "trigger = 'event'") == 1


def test_a_burst_is_one_run(bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify):
    slow_debounce = settings.model_copy(update={"event_gather": timedelta(seconds=2)})
    for number in range(50):
        bucket.user(f"{number}.csv")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO run (trigger, state) VALUES ('cli', 'succeeded')"))
    with scheduling(slow_debounce) as _:
        wait_until(lambda: runs(engine, "trigger = 'interval' AND state = 'succeeded'") == 1)
        bucket.user("50.csv")
        for number in range(51):
            notify(f"{number}.csv")
        wait_until(lambda: None not in handled(engine))
    assert runs(engine, "trigger = 'event'") == 1


def test_concurrent_senders_lose_no_event(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    def send(sender: int) -> None:
        for number in range(10):
            bucket.user(f"{sender}-{number}.csv")
            notify(f"{sender}-{number}.csv")

    with scheduling(settings):
        threads = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: None not in handled(engine))
    assert len(users(engine)) == 40
    assert runs(engine, "state = 'failed'") == 0


def test_a_failed_event_run_is_not_tried_again_at_once(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE users ADD CHECK (first_name <> 'Bad')"))
    bucket.user("1.csv")
    with scheduling(settings):
        wait_until(lambda: len(users(engine)) == 1)
        bucket.user("1.csv", "Bad")
        notify("1.csv")
        wait_until(lambda: runs(engine, "state = 'failed'") == 1)
        bucket.user("2.csv")
        notify("2.csv")
        wait_until(lambda: "2" in users(engine))
    assert runs(engine, "state = 'failed'") == 1
    assert users(engine)["1"] == "Ann"


def test_an_object_that_the_store_refuses_is_tried_again_later(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    manager = DataManager(settings, store=RefusesOnce(settings))
    with scheduling(settings, manager, Retries(0.2)):
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 1)
        bucket.user("1.csv")
        notify("1.csv")
        wait_until(lambda: users(engine) == {"1": "Ann"})
    assert runs(engine, "trigger = 'event'") == 2


def test_an_object_that_the_store_refuses_holds_up_no_other(
    bucket: TestBucket, settings: Settings, engine: Engine, notify: Notify
):
    """Events of other objects do not trigger an early retry of the refused one."""
    manager = DataManager(settings, store=RefusesLocked(settings))
    with scheduling(settings, manager, Retries(60)):
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 1)
        bucket.user("locked.csv")
        notify("locked.csv")
        wait_until(lambda: runs(engine, "trigger = 'event' AND state = 'succeeded'") == 1)
        for user_id in ("1", "2"):
            bucket.user(f"{user_id}.csv")
            notify(f"{user_id}.csv")
            wait_until(lambda user_id=user_id: user_id in users(engine))
        bucket.user("locked.csv", "Fixed")
        notify("locked.csv")  # a new event makes it due at once
        wait_until(lambda: runs(engine, "trigger = 'event' AND state = 'succeeded'") == 4)
    assert handled(engine)[0] is handled(engine)[3] is None
    assert refusals(engine) == 2


def test_continuous_events_without_changes_delay_no_run(
    bucket: TestBucket,
    settings: Settings,
    engine: Engine,
    notify: Notify,
    monkeypatch: pytest.MonkeyPatch,
):
    calm = threading.Event()
    bucket.user("1.csv")
    with scheduling(settings) as scheduler:
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 1)
        call_before_each_check(monkeypatch, lambda: calm.is_set() or notify("1.csv"))
        notify("1.csv")
        try:
            wait_until(lambda: len(handled(engine)) > 2)
            requested = ask(engine)
            wait_until(
                lambda: runs(engine, f"id = {requested} AND state = 'succeeded'"), seconds=10
            )
            scheduler.stop()
        finally:
            calm.set()
