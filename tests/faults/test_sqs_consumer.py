"""The SQS consumer, killed, stopped and disconnected: no event is lost or stored twice."""

from __future__ import annotations

import random
import time

import pytest
from sqlalchemy import Engine, make_url, text

from etl.settings import Settings
from tests.brokers import Relay, relayed
from tests.conftest import wait_until
from tests.envelopes import FORMS, TEST_MESSAGE, s3_notification
from tests.queues import VISIBILITY_SECONDS, Emulator, StartReceiving, TestQueue

PATIENCE_SECONDS = 120
BURST = 60  # messages: more than one request receives
# Long enough that SQS would deliver hidden messages again.
OUTAGE_SECONDS = VISIBILITY_SECONDS + 1


def keys(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT key FROM bucket_event ORDER BY id")))


def count(engine: Engine) -> int:
    return len(keys(engine))


@pytest.mark.parametrize(
    ("rounds", "seed"), [(3, 1), pytest.param(25, 2, marks=pytest.mark.long)], ids=["3", "25"]
)
def test_consumer_killed_at_random_loses_and_repeats_no_event(  # noqa: PLR0913, PLR0917
    rounds: int,
    seed: int,
    queue: TestQueue,
    receiving: StartReceiving,
    settings: Settings,
    engine: Engine,
):
    settings = queue.settings(settings)
    rng = random.Random(seed)  # noqa: S311 - no secret hangs on it
    sent_keys: list[str] = []
    for number in range(rounds):
        new = [f"{number}-{each}.csv" for each in range(BURST)]
        sent_keys += new
        part = [s3_notification(key) for key in new]
        queue.send([*part, *part[:5]])  # some twice
        before = count(engine)
        consumer = receiving(settings)
        wait_until(lambda: count(engine) > before, seconds=PATIENCE_SECONDS, pause=0.005)  # noqa: B023
        time.sleep(rng.uniform(0, 0.2))  # it is to be killed at any instant
        consumer.kill()
    receiving(settings)
    wait_until(lambda: count(engine) >= len(sent_keys), seconds=PATIENCE_SECONDS)
    wait_until(queue.is_empty, seconds=PATIENCE_SECONDS, pause=0.2)
    assert sorted(keys(engine)) == sorted(sent_keys)


def test_database_outage_keeps_messages_hidden_until_they_are_stored(
    queue: TestQueue, receiving: StartReceiving, settings: Settings, engine: Engine
):
    settings = queue.settings(settings)
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql")
    with relayed((url.host or "", url.port or 0)) as relay:
        through = url.set(port=relay.port).render_as_string(hide_password=False)
        consumer = receiving(settings.model_copy(update={"database_url": through}))
        queue.send([s3_notification("before.csv")])
        wait_until(queue.is_empty, seconds=PATIENCE_SECONDS, pause=0.1)
        relay.cut()
        queue.send([s3_notification(f"{number}.csv") for number in range(8)])
        wait_until(lambda: "storing events failed" in consumer.log())
        time.sleep(OUTAGE_SECONDS)
        wait_until(lambda: queue.counts()[1] > 0)  # those that it received
        assert sum(queue.counts()) == 8
        relay.restore()
        wait_until(queue.is_empty, seconds=PATIENCE_SECONDS, pause=0.2)
    assert count(engine) == 9
    assert len(consumer.log().splitlines()) < 6


def test_consumer_stopped_during_a_database_outage_returns_its_messages(
    queue: TestQueue, receiving: StartReceiving, settings: Settings, engine: Engine
):
    slow = queue.settings(settings, sqs_visibility_timeout="10m")
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql")
    with relayed((url.host or "", url.port or 0)) as relay:
        through = url.set(port=relay.port).render_as_string(hide_password=False)
        consumer = receiving(slow.model_copy(update={"database_url": through}))
        queue.send([s3_notification("before.csv")])
        wait_until(queue.is_empty, seconds=PATIENCE_SECONDS, pause=0.1)
        relay.cut()
        queue.send([s3_notification("1.csv"), s3_notification("2.csv")])
        wait_until(lambda: "storing events failed" in consumer.log())
        assert consumer.end() == 0
    assert queue.counts() == (2, 0)
    other = receiving(slow)
    wait_until(queue.is_empty, seconds=PATIENCE_SECONDS, pause=0.1)
    assert sorted(keys(engine)) == ["1.csv", "2.csv", "before.csv"]
    assert other.end() == 0


def test_queue_outage_is_waited_for_with_few_log_lines(
    emulator: Emulator,
    queue: TestQueue,
    receiving: StartReceiving,
    settings: Settings,
    engine: Engine,
):
    relay = Relay(("127.0.0.1", emulator.port))
    settings = queue.settings(settings)
    through = queue.url.replace(str(emulator.port), str(relay.port))
    consumer = receiving(settings.model_copy(update={"sqs_queue_url": through}))
    wait_until(lambda: "receiving messages failed" in consumer.log())
    relay.restore()
    queue.send([s3_notification("1.csv")])
    wait_until(queue.is_empty, seconds=PATIENCE_SECONDS, pause=0.2)
    relay.cut()
    queue.send([s3_notification("2.csv")])
    relay.restore()
    wait_until(lambda: keys(engine) == ["1.csv", "2.csv"], seconds=PATIENCE_SECONDS)
    assert len(consumer.log().splitlines()) < 6
    assert consumer.end() == 0
    relay.cut()


def test_idle_consumer_stops_before_its_long_poll_ends(
    queue: TestQueue, receiving: StartReceiving, settings: Settings
):
    consumer = receiving(queue.settings(settings))
    wait_until(consumer.is_started)
    started = time.monotonic()
    assert consumer.end() == 0
    assert time.monotonic() - started < 15  # the poll takes 20 s


def test_every_form_of_aws_is_stored_and_deleted(
    emulator: Emulator,
    queue: TestQueue,
    receiving: StartReceiving,
    settings: Settings,
    engine: Engine,
):
    """SNS itself wraps one message of each form, and sends one raw."""
    receiving(queue.settings(settings))
    for is_raw in (False, True):
        topic = emulator.topic()
        queue.subscribe(topic, is_raw=is_raw)
        for form in ("S3", "EventBridge"):
            emulator.sns(
                "Publish", TopicArn=topic, Message=FORMS[form](f"{form} {is_raw}+%.csv").decode()
            )
    queue.send([TEST_MESSAGE, *(form(f"{name}.csv") for name, form in FORMS.items())])
    expected = [f"{name}.csv" for name in FORMS]
    expected += [f"{form} {raw}+%.csv" for form in ("S3", "EventBridge") for raw in (False, True)]
    wait_until(lambda: count(engine) == len(expected))
    assert sorted(keys(engine)) == sorted(expected)
    wait_until(queue.is_empty, seconds=PATIENCE_SECONDS, pause=0.1)


def test_invalid_messages_become_dead_letters_and_delay_no_others(
    queue: TestQueue, receiving: StartReceiving, settings: Settings, engine: Engine
):
    poison = [b"%PDF-1.7", b"[1, 2]", b"{}", b'{"Records": [{}]}', s3_notification("a\0b.csv")]
    queue.send([s3_notification("1.csv"), *poison, s3_notification("2.csv")])
    consumer = receiving(queue.settings(settings))
    wait_until(queue.is_empty, seconds=PATIENCE_SECONDS, pause=0.1)
    assert sorted(keys(engine)) == ["1.csv", "2.csv"]
    with engine.connect() as connection:
        found = connection.execute(text("SELECT topic, reason, message FROM dead_letter")).all()
    assert {bytes(row.message) for row in found} == set(poison)
    assert {row.topic for row in found} == {queue.url}
    assert all(row.reason.startswith("Message ") for row in found)
    assert "rejected messages" in consumer.log()
    queue.send([poison[0], s3_notification("3.csv")])
    wait_until(lambda: count(engine) == 3)
    wait_until(queue.is_empty, seconds=PATIENCE_SECONDS, pause=0.1)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM dead_letter")) == len(poison) + 1


def test_missing_url_is_reported_with_its_setting(receiving: StartReceiving, settings: Settings):
    consumer = receiving(settings)
    assert consumer.process.wait(30) == 2
    assert "SQS_QUEUE_URL" in consumer.log()


def test_missing_queue_is_reported_with_what_sqs_says(
    queue: TestQueue, receiving: StartReceiving, settings: Settings
):
    consumer = receiving(queue.settings(settings, sqs_queue_url=f"{queue.url}-of-others"))
    assert consumer.process.wait(30) == 2
    assert "SQS answered 400" in consumer.log()
    assert "SQS_QUEUE_URL" in consumer.log()
