"""The table of bucket events: each is stored once and wakes the right scheduler."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from sqlalchemy import Engine, text

from etl.db import events
from etl.db.engine import driver
from etl.db.events import BucketEvent

SOURCE = "src-data"


def event(
    key: str = "1.csv", mark: str = "1", *, bucket: str = SOURCE, **other: object
) -> BucketEvent:
    thing = {"key": key, "sequencer": mark, "size": 60, "eTag": "e1", "versionId": "v1"}
    record = {
        "eventName": "s3:ObjectCreated:Put",
        "eventTime": "2026-01-02T03:04:05Z",
        "s3": {"bucket": {"name": bucket}, "object": thing},
    }
    (made,) = events.parse(json.dumps({"Records": [record | other]}).encode())
    return made


def store(engine: Engine, *sent: BucketEvent) -> int:
    with engine.begin() as connection:
        return events.store(connection, sent, source_bucket=SOURCE)


def rows(engine: Engine, condition: str = "true") -> list[dict[str, Any]]:
    with engine.connect() as connection:
        query = f"SELECT * FROM bucket_event WHERE {condition} ORDER BY id"
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def is_woken(engine: Engine, *sent: BucketEvent) -> bool:
    with engine.connect() as listener:
        listener.execution_options(isolation_level="AUTOCOMMIT")
        listener.execute(text(f"LISTEN {events.CHANNEL}"))
        store(engine, *sent)
        listener.execute(text("SELECT 1"))
        return bool(driver(listener).notifies)


def test_event_is_stored_as_received(engine: Engine):
    assert store(engine, event("a/1.csv")) == 1
    (row,) = rows(engine)
    assert (row["bucket"], row["key"], row["mark"], row["sequencer"]) == (
        SOURCE,
        "a/1.csv",
        "1",
        "1",
    )
    assert (row["etag"], row["size"], row["version_id"]) == ("e1", 60, "v1")
    assert row["event_time"].isoformat() == "2026-01-02T03:04:05+00:00"
    assert row["record"]["s3"]["object"]["key"] == "a/1.csv"
    assert row["handled_by_run"] is None


def test_repeated_events_are_stored_once(engine: Engine):
    sent = [event(f"{number}.csv") for number in range(1000)]
    new = [store(engine, *sent[::-1], *sent) for _ in range(5)]
    assert new == [1000, 0, 0, 0, 0]
    assert len(rows(engine)) == 1000


def test_two_events_of_a_key_are_two_rows(engine: Engine):
    assert store(engine, event(mark="1"), event(mark="2"), event(mark="1")) == 2


def test_storing_no_events_returns_zero(engine: Engine):
    assert store(engine) == 0


def test_something_new_in_the_source_bucket_wakes_the_scheduler(engine: Engine):
    assert is_woken(engine, event())
    assert not is_woken(engine, event())
    assert is_woken(engine, event(), event(mark="2"))


def test_events_of_other_buckets_wake_no_scheduler(engine: Engine):
    assert not is_woken(engine, event(bucket="thumbnails"), event(bucket="processed-data"))
    assert [row["handled_by_run"] for row in rows(engine)] == [events.NO_RUN] * 2


def test_read_events_are_stored_and_wake_no_scheduler(engine: Engine):
    assert not is_woken(engine, event(eventName="s3:ObjectAccessed:Get"))
    assert [row["handled_by_run"] for row in rows(engine)] == [events.NO_RUN]


@pytest.mark.parametrize("number", [2**63 - 1, 10**300, 1.5])
def test_unusual_numbers_in_a_record_are_stored(engine: Engine, number: float):
    store(engine, event(more={"number": number}))
    assert rows(engine)[0]["record"]["more"]["number"] == number


def test_senders_at_the_same_time_do_not_block_each_other(engine: Engine):
    sent = [event(f"{number}.csv") for number in range(300)]
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda order=order: counts.append(store(engine, *order)))
        for order in (sent, sent[::-1], sent, sent[::-1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 300
    assert len(rows(engine)) == 300
