"""From a message in Kafka to a user in the table, with the consumer at work."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from etl.settings import Settings
from etl.verify import verify
from tests.awkward_keys import check_awkward_keys
from tests.brokers import TOPIC, Brokers, Start, notification
from tests.conftest import TestBucket, wait_until
from tests.integration.test_schedule import runs, scheduling
from tests.stores import KEEPS_BACKSLASHES


def test_object_announced_by_kafka_is_loaded_before_the_interval(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine, bucket: TestBucket
):
    def names() -> dict[str, str]:
        with engine.connect() as connection:
            query = "SELECT user_id, first_name FROM users"
            return {row.user_id: row.first_name for row in connection.execute(text(query))}

    settings = brokers.settings(settings).model_copy(update={"etl_interval": timedelta(days=1)})
    consuming(settings)
    with scheduling(settings):
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 1)
        bucket.user("a/ü 1.csv", "Ann")
        bucket.user("2.csv", "Bob")
        # The third object never existed, and one event is sent twice. Neither changes the result.
        keys = ["a/ü 1.csv", "2.csv", "3.csv", "2.csv"]
        brokers.send(TOPIC, [notification(key, settings.source_bucket) for key in keys])
        wait_until(lambda: names() == {"ü 1": "Ann", "2": "Bob"}, seconds=60)
    assert runs(engine, "trigger = 'event' AND state = 'succeeded'") >= 1
    assert runs(engine, "trigger = 'interval'") == 1
    assert not [one for one in verify(settings, engine) if not one.what.startswith("output-")]


@pytest.mark.store(KEEPS_BACKSLASHES)
def test_events_from_kafka_name_awkward_keys(
    brokers: Brokers, consuming: Start, settings: Settings, engine: Engine
):
    def notify(event_name: str, key: str) -> None:
        brokers.send(TOPIC, [notification(key, settings.source_bucket, event_name)])

    consuming(brokers.settings(settings))
    check_awkward_keys(settings, engine, notify)
