"""The Kafka consumer, killed, duplicated and disconnected: no event is lost or stored twice."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote_plus

import pytest
from sqlalchemy import Engine, make_url, text

from etl.settings import Settings
from tests.brokers import SESSION_SECONDS, TOPIC, Brokers, Relay, Start, notification, relayed
from tests.conftest import wait_until

# Two consumers, their group and the database share the cores with other tests.
PATIENCE_SECONDS = 90
# Long enough that the group removes a member without polls and heartbeats.
OUTAGE_SECONDS = SESSION_SECONDS + 1
# Between two bursts of 100 messages.
PAUSE_SECONDS = 0.15
# Long enough for many connection attempts of the client.
MANY_TRIES_SECONDS = 3


def key_of(message: bytes) -> str:
    return unquote_plus(json.loads(message)["Records"][0]["s3"]["object"]["key"])


def keys(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT key FROM bucket_event ORDER BY id")))


def count(engine: Engine) -> int:
    return len(keys(engine))


def sleep_briefly(rng: random.Random) -> None:
    """Let a consumer run until a random instant, because it is to be killed at any of them."""
    time.sleep(rng.uniform(0, 0.4))


@contextmanager
def sending(brokers: Brokers) -> Iterator[list[str]]:
    """Send notifications for the duration of the block, some twice; yields the keys sent so far."""
    sent_keys: list[str] = []
    over = threading.Event()

    def send() -> None:
        while not over.wait(PAUSE_SECONDS):
            new = [f"{len(sent_keys) + number}.csv" for number in range(100)]
            sent_keys.extend(new)
            part = [notification(key) for key in new]
            brokers.send(TOPIC, [*part, *part[:5]])

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent_keys
    finally:
        over.set()
        thread.join()


def killed_in_work(start: Start, settings: Settings, engine: Engine, rng: random.Random) -> None:
    """Start a consumer, and kill it at a random moment after it has stored a new event."""
    before = count(engine)
    consumer = start(settings)
    wait_until(lambda: count(engine) > before, seconds=PATIENCE_SECONDS, pause=0.005)
    sleep_briefly(rng)
    consumer.kill()


def assert_committed_is_stored(brokers: Brokers, settings: Settings, engine: Engine) -> None:
    committed = brokers.below_committed(TOPIC, settings.kafka_group)
    assert {key_of(message) for message in committed} <= set(keys(engine))


@pytest.mark.parametrize(
    ("rounds", "seed"), [(2, 1), pytest.param(12, 2, marks=pytest.mark.long)], ids=["2", "12"]
)
def test_consumer_killed_at_random_loses_and_repeats_no_event(  # noqa: PLR0913, PLR0917
    rounds: int,
    seed: int,
    brokers: Brokers,
    consuming: Start,
    settings: Settings,
    engine: Engine,
):
    settings = brokers.settings(settings)
    rng = random.Random(seed)  # noqa: S311 - no secret hangs on it
    with sending(brokers) as sent_keys:
        for _ in range(rounds):
            killed_in_work(consuming, settings, engine, rng)
            assert_committed_is_stored(brokers, settings, engine)
    consuming(settings)
    wait_until(lambda: count(engine) >= len(sent_keys), seconds=PATIENCE_SECONDS)
    assert sorted(keys(engine)) == sorted(sent_keys)


def test_consumers_that_join_and_leave_lose_no_event(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    settings = brokers.settings(settings)
    with sending(brokers) as sent_keys:
        first = consuming(settings)
        wait_until(first.is_assigned, seconds=PATIENCE_SECONDS)
        second = consuming(settings)
        wait_until(
            lambda: second.is_assigned() and "revoked" in first.log(), seconds=PATIENCE_SECONDS
        )
        assert first.end() == 0
        third = consuming(settings)
        wait_until(third.is_assigned, seconds=PATIENCE_SECONDS)
        second.kill()
    wait_until(lambda: count(engine) >= len(sent_keys), seconds=PATIENCE_SECONDS)
    assert sorted(keys(engine)) == sorted(sent_keys)
    assert_committed_is_stored(brokers, settings, engine)


def test_stopped_consumer_commits_stored_events_and_leaves_group(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    settings = brokers.settings(settings)
    brokers.send(TOPIC, map(notification, ["1.csv", "2.csv", "3.csv"]))
    first = consuming(settings)
    wait_until(lambda: count(engine) == 3)
    assert first.end() == 0
    assert "partitions revoked" in first.log()
    assert "closing timed out" not in first.log()
    assert len(brokers.below_committed(TOPIC, settings.kafka_group)) == 3

    second = consuming(settings)
    brokers.send(TOPIC, [notification("4.csv")])
    wait_until(lambda: count(engine) == 4)
    assert second.end() == 0


def test_database_outage_loses_no_event(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    settings = brokers.settings(settings)
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql")
    sent_keys = [f"{number}.csv" for number in range(900)]
    with relayed((url.host or "", url.port or 0)) as relay:
        through = url.set(port=relay.port).render_as_string(hide_password=False)
        consumer = consuming(settings.model_copy(update={"database_url": through}))
        brokers.send(TOPIC, map(notification, sent_keys[:300]))
        wait_until(lambda: count(engine) == 300)

        relay.cut()
        brokers.send(TOPIC, map(notification, sent_keys[300:600]))
        wait_until(lambda: "storing events failed" in consumer.log())
        time.sleep(OUTAGE_SECONDS)
        assert_committed_is_stored(brokers, settings, engine)
        relay.restore()
        wait_until(lambda: count(engine) == 600)

        brokers.send(TOPIC, map(notification, sent_keys[600:]))
        wait_until(lambda: count(engine) == 900)
    assert sorted(keys(engine)) == sorted(sent_keys)
    assert consumer.log().count("partitions assigned") == 1
    assert len(consumer.log().splitlines()) < 10
    assert_committed_is_stored(brokers, settings, engine)


def test_consumer_removed_from_group_during_outage_stores_all(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    """A second consumer joins while the first holds a batch; both continue after the outage."""
    settings = brokers.settings(settings)
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql")
    sent_keys = [f"{number}.csv" for number in range(400)]
    with relayed((url.host or "", url.port or 0)) as relay:
        through = url.set(port=relay.port).render_as_string(hide_password=False)
        brokers.send(TOPIC, map(notification, sent_keys[:100]))
        cut_off = consuming(settings.model_copy(update={"database_url": through}))
        wait_until(lambda: count(engine) == 100, seconds=PATIENCE_SECONDS)
        relay.cut()
        brokers.send(TOPIC, map(notification, sent_keys[100:200]))
        wait_until(lambda: "storing events failed" in cut_off.log(), seconds=PATIENCE_SECONDS)
        other = consuming(settings)
        wait_until(other.is_assigned, seconds=PATIENCE_SECONDS)
        brokers.send(TOPIC, map(notification, sent_keys[200:]))
        wait_until(lambda: count(engine) > 100, seconds=PATIENCE_SECONDS)
        relay.restore()
        wait_until(lambda: count(engine) == 400, seconds=PATIENCE_SECONDS)
    assert sorted(keys(engine)) == sorted(sent_keys)
    assert_committed_is_stored(brokers, settings, engine)


def test_brokers_that_hang_are_waited_for(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    settings = brokers.settings(settings)
    brokers.send(TOPIC, [notification("1.csv")])
    consumer = consuming(settings)
    wait_until(lambda: count(engine) == 1)
    brokers.hang()
    time.sleep(OUTAGE_SECONDS)
    brokers.resume()
    brokers.send(TOPIC, [notification("2.csv")])
    wait_until(lambda: keys(engine) == ["1.csv", "2.csv"], seconds=PATIENCE_SECONDS)
    assert consumer.process.poll() is None


def test_consumer_without_brokers_stops_when_asked(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    brokers.send(TOPIC, [notification("1.csv")])
    consumer = consuming(brokers.settings(settings))
    wait_until(lambda: count(engine) == 1)
    brokers.end()
    wait_until(lambda: "Kafka client error" in consumer.log())
    assert consumer.end() == 0


def test_consumer_waits_for_missing_brokers_with_few_log_lines(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    host, port = brokers.addresses.split(",")[0].split(":")
    relay = Relay((host, int(port)))
    settings = brokers.settings(settings)
    consumer = consuming(
        settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{relay.port}"})
    )
    wait_until(lambda: "Kafka client error" in consumer.log())
    brokers.send(TOPIC, [notification("1.csv")])
    time.sleep(MANY_TRIES_SECONDS)
    assert len(consumer.log().splitlines()) < 6
    relay.restore()
    wait_until(lambda: keys(engine) == ["1.csv"])
    relay.cut()
