"""The event setup of `up`, and its report, with and without notifications."""

from __future__ import annotations

from contextlib import closing

import pytest
from pydantic import SecretStr

from etl.cli.arrivals import Arrivals, set_up_events
from etl.model.errors import ConfigurationError
from etl.services.listener import Listener
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.notifications import event_lines, open_events, subscribe, wanted
from tests.conftest import TestBucket
from tests.forwarding import recording
from tests.notification_proxy import NOTIFICATION_REPLIES, without_notifications
from tests.stores import NOTIFIES

ARN = "arn:minio:sqs::1:webhook"
URL = "http://127.0.0.1:5000"
HOOK = f"{URL}/minio-event receives them"
TOKEN = "sixteen letters or more"  # noqa: S105 - of servers of the tests' own

pytestmark = [pytest.mark.usefixtures("bucket"), pytest.mark.storage]


def arranged(settings: Settings, *, is_ours: bool = False, **update: object) -> Arrivals:
    changed = settings.model_copy(update={"event_listen": False, **update})
    return set_up_events(changed, ObjectStore(changed), is_ours=is_ours)


def sentence(settings: Settings, found: Arrivals) -> str:
    return found.sentence(settings, URL)


@pytest.mark.parametrize("way", NOTIFICATION_REPLIES)
def test_store_without_notifications_is_named(settings: Settings, way: str):
    with without_notifications(settings, way) as without:
        store = ObjectStore(without)
        with pytest.raises(
            ConfigurationError, match="does not support bucket notifications"
        ) as refusal:
            subscribe(store, without.source_bucket, wanted([ARN]), timeout_seconds=0)
    assert "EVENT_ARNS" in refusal.value.hint


@pytest.mark.parametrize("way", NOTIFICATION_REPLIES)
def test_store_that_cannot_be_listened_to_ends_the_listener(settings: Settings, way: str):
    with (
        without_notifications(settings, way) as without,
        pytest.raises(ConfigurationError, match="does not support listening"),
    ):
        Listener(without, without.source_bucket).run_forever()


@pytest.mark.parametrize("way", NOTIFICATION_REPLIES)
def test_up_reports_missing_notifications_and_the_alternative(settings: Settings, way: str):
    with without_notifications(settings, way) as without:
        found = arranged(without, event_arns=ARN, event_listen=True)
    assert [line.partition(". ")[0] for line in found.warnings] == [
        f"The object store does not support bucket notifications for {settings.source_bucket}",
        f"The object store does not support listening to the events of {settings.source_bucket}",
    ]
    assert not any("S3_ENDPOINT" in line or "MINIO" in line for line in found.warnings)
    assert sentence(settings, found) == (
        f"Changes in {settings.source_bucket} are found by the full run every 25m."
    )


def test_event_support_is_not_claimed_for_a_store_without_it(settings: Settings):
    with without_notifications(settings, "refuses") as without:
        found = arranged(without)
    assert found.warnings == []
    assert "does not support listening" in sentence(settings, found)
    assert "EVENT_LISTEN=1" not in sentence(settings, found)


@pytest.mark.store(NOTIFIES)
def test_event_support_of_a_store_is_offered(settings: Settings):
    found = arranged(settings)
    assert sentence(settings, found).endswith("To use events, set EVENT_LISTEN=1 or EVENT_ARNS.")


@pytest.mark.store(NOTIFIES)
@pytest.mark.parametrize("is_ours", [True, False])
def test_listening_is_reported(settings: Settings, *, is_ours: bool):
    found = arranged(settings, is_ours=is_ours, event_listen=True)
    assert found.warnings == []
    assert "as events (the scheduler listens to the store) and" in sentence(settings, found)


def test_webhook_is_reported_only_with_a_token(settings: Settings):
    found = arranged(settings)
    assert HOOK not in sentence(settings, found)
    with_token = settings.model_copy(update={"webhook_token": SecretStr(TOKEN)})
    assert f"as events ({HOOK}) and" in sentence(with_token, found)


def test_unavailable_store_is_warned_of_and_still_listened_to(settings: Settings):
    found = arranged(settings, s3_endpoint="http://127.0.0.1:9", event_listen=True)
    (warning,) = found.warnings
    assert "Connection refused" in warning
    assert "Max retries" not in warning
    assert "listens" in sentence(settings, found)


@pytest.mark.store(NOTIFIES)
def test_target_the_store_does_not_have_is_named(settings: Settings, store: ObjectStore):
    target = wanted(["arn:minio:sqs::nine:webhook"])
    with pytest.raises(ConfigurationError, match="rejects the target arn:minio:sqs::nine"):
        subscribe(store, settings.source_bucket, target, timeout_seconds=0)


@pytest.mark.store(NOTIFIES)
def test_events_arrive_one_by_one_through_a_proxy(settings: Settings, bucket: TestBucket):
    """A proxy may send them without the chunks by which a client knows where one ends."""
    with recording(settings) as proxy:
        client = ObjectStore(proxy.settings).client
        with closing(open_events(client, bucket.name)) as answer:
            lines = event_lines(answer)
            for key in ("1.csv", "2.csv"):
                bucket.put(key, b"x")
                assert any(key.encode() in line for line in lines)


@pytest.mark.store(NOTIFIES)
def test_events_of_a_real_store_can_be_opened(store: ObjectStore, bucket: TestBucket):
    with closing(open_events(store.probing_client(), bucket.name)) as answer:
        assert answer.status == 200
