"""Invalid Kafka messages become dead letters with a reason, and block no others."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from sqlalchemy import Engine, text

from etl.db.dead_letters import MAX_MESSAGE_BYTES
from etl.settings import Settings
from tests.brokers import TOPIC, Brokers, Start, notification
from tests.conftest import wait_until

TOO_LARGE = b'{"Records": [], "filler": "' + b"x" * (5 * 1024 * 1024) + b'"}'
# Three valid texts that together exceed an entry of PostgreSQL's index.
UNSTORABLE = json.dumps(
    {
        "Records": [
            {
                "eventName": "s3:ObjectCreated:Put",
                "eventTime": "2026-01-02T03:04:05Z",
                "s3": {
                    "bucket": {"name": "".join(chr(0x1F300 + n) for n in range(256))},
                    "object": {
                        "key": "".join(chr(0x20000 + 7 * n) for n in range(256)),
                        "sequencer": "".join(chr(0x12000 + 3 * n) for n in range(256)),
                    },
                },
            }
        ]
    }
).encode()
POISON: dict[str, bytes | None] = {
    "no JSON": b"%PDF-1.7",
    "no UTF-8": b"\xff\xfe\x00",
    "wrong shape": b"[1, 2]",
    "no records": b"{}",
    "record of nothing": b'{"Records": [{}]}',
    "NUL": notification("a\0b.csv"),
    "nested": b"[" * 100_000,
    "unstorable": UNSTORABLE,
    "empty": b"",
    "tombstone": None,
}


class Found(NamedTuple):
    """A row of the table."""

    topic: str
    partition: int
    offset: int
    reason: str
    message: bytes | None


def letters(engine: Engine) -> list[Found]:
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                'SELECT topic, partition, "offset", reason, message FROM dead_letter ORDER BY 2, 3'
            )
        )
        return [Found(*row[:4], None if row[4] is None else bytes(row[4])) for row in rows]


def stored(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT key FROM bucket_event ORDER BY key")))


def test_without_a_topic_dead_letters_go_to_the_table_once(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    settings = brokers.settings(settings)
    brokers.send(TOPIC, [notification("1.csv"), *POISON.values(), notification("2.csv")])
    consumer = consuming(settings)
    wait_until(lambda: stored(engine) == ["1.csv", "2.csv"])
    wait_until(lambda: len(letters(engine)) == len(POISON))
    assert consumer.end() == 0
    found = letters(engine)
    assert {row.message for row in found} == set(POISON.values())
    assert all(row.topic == TOPIC and row.reason.strip() for row in found)
    assert len({(row.partition, row.offset) for row in found}) == len(POISON)
    assert len(brokers.below_committed(TOPIC, settings.kafka_group)) == len(POISON) + 2

    # Another group reads all messages again; each still has one dead letter.
    again = consuming(settings.model_copy(update={"kafka_group": "another"}))
    brokers.send(TOPIC, [notification("3.csv")])
    wait_until(lambda: len(stored(engine)) == 3)
    assert again.end() == 0
    assert letters(engine) == found


def test_dead_letters_go_to_the_topic_with_reason_and_position(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    settings = brokers.settings(settings, kafka_dead_letter_topic="dead-letters")
    brokers.send(TOPIC, [None, notification("1.csv")], partition=2)
    brokers.send(TOPIC, [b"nonsense"], key=b"src-data/a.csv", headers=[("trace", b"7")])
    consumer = consuming(settings)
    wait_until(lambda: stored(engine) == ["1.csv"])
    nonsense, tombstone = sorted(
        brokers.read("dead-letters", 2), key=lambda message: message.value() is None
    )
    assert consumer.end() == 0
    assert (nonsense.key(), nonsense.value()) == (b"src-data/a.csv", b"nonsense")
    headers = dict(nonsense.headers() or [])
    assert headers["trace"] == b"7"
    assert b"not valid JSON" in headers["dead-letter-reason"]
    assert headers["dead-letter-topic"] == TOPIC.encode()
    assert dict(tombstone.headers() or [])["dead-letter-partition"] == b"2"
    assert dict(tombstone.headers() or [])["dead-letter-offset"] == b"0"
    assert letters(engine) == []


def test_oversized_dead_letter_is_truncated(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    large = {"message.max.bytes": "9000000", "fetch.message.max.bytes": "9000000"}
    settings = brokers.settings(settings, kafka_dead_letter_topic="dead-letters")
    brokers.send_large(TOPIC, TOO_LARGE, partition=1)
    consumer = consuming(settings.model_copy(update={"kafka_options": large}))
    brokers.send(TOPIC, [notification("1.csv")], partition=2)
    wait_until(lambda: stored(engine) == ["1.csv"])
    (letter,) = brokers.read("dead-letters", 1)
    assert consumer.end() == 0
    assert letter.value() == TOO_LARGE[:MAX_MESSAGE_BYTES]
    assert b"bytes" in dict(letter.headers() or [])["dead-letter-reason"]


def test_offset_is_committed_after_the_dead_letter_is_sent(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    """A dead letter over the size limit simulates a topic that rejects messages."""
    settings = brokers.settings(
        settings,
        kafka_dead_letter_topic="dead-letters",
        kafka_options={"message.max.bytes": "1000"},
    )
    nonsense = b"nonsense" * 1000
    brokers.send(TOPIC, [notification("1.csv"), nonsense], partition=1)
    consumer = consuming(settings)
    wait_until(lambda: "storing events failed" in consumer.log())
    assert stored(engine) == ["1.csv"]
    # The event may have been in a separate batch, which is then committed.
    assert nonsense not in brokers.below_committed(TOPIC, settings.kafka_group)
    assert consumer.process.poll() is None


@pytest.mark.parametrize("option", ["no.such.option", "session.timeout.ms"])
def test_an_option_the_client_refuses_is_named(
    option: str, brokers: Brokers, consuming: Start, settings: Settings
):
    wrong = brokers.settings(settings, kafka_options={option: "many"})
    consumer = consuming(wrong)
    assert consumer.process.wait(30) == 2
    assert option in consumer.log()
    assert "KAFKA_OPTIONS" in consumer.log()


def test_missing_brokers_are_reported_with_their_setting(consuming: Start, settings: Settings):
    consumer = consuming(settings)
    assert consumer.process.wait(30) == 2
    assert "KAFKA_BOOTSTRAP_SERVERS" in consumer.log()
