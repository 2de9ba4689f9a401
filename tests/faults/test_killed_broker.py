"""A real Kafka broker, killed and hung under load: no event and no announcement is lost.

What is sent are the notifications of the embedded store, received by a webhook, because the store
has no Kafka target.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from etl import local
from etl.cli.prepare import prepare
from etl.db.engine import connect
from etl.db.event_messages import parse
from etl.local.record import running_record
from etl.services.kafka.announce import Announcer
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.notifications import subscribe, wanted
from tests.awkward_keys import KEYS
from tests.brokers import TOPIC, Start
from tests.conditional_store import conditional_store
from tests.conftest import TestBucket, wait_until
from tests.faults.test_kafka_consumer import assert_committed_is_stored, count, keys
from tests.integration.test_kafka_announcements import Images
from tests.tansu import Tansu

PATIENCE_SECONDS = 120
ARN = "arn:minio:sqs::1:webhook"
IMAGE_TOPIC = "images"
BURST = 8  # messages
IMAGES = 60


class Webhook(ThreadingHTTPServer):
    """Keeps the bodies of what the store sends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.bodies: list[bytes] = []
        self.lock = threading.Lock()


class _Keep(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.bodies.append(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def own(webhook: Webhook) -> Iterator[Settings]:
    """Embedded servers of this module's own, with tables, buckets, and the webhook subscribed."""
    endpoint = f"http://127.0.0.1:{webhook.server_port}/"
    target = {"ENABLE": "on", "ENDPOINT": endpoint}
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(
            prefix="bucketline-broker-", ignore_cleanup_errors=True
        ) as made,
    ):
        for name, value in target.items():
            patch.setenv(f"MINIO_NOTIFY_WEBHOOK_{name}_1", value)
        directory = Path(made)
        directory.chmod(0o755)
        with local.running(Settings(_env_file=None, local_dir=directory / "local")) as settings:
            prepare(settings, make_tables=True, make_buckets=True)
            subscribe(ObjectStore(settings), settings.source_bucket, wanted([ARN]))
            yield settings
        wait_until(lambda: running_record(directory / "local") is None)


@pytest.fixture
def own_engine(own: Settings) -> Iterator[Engine]:
    engine = connect(own)
    yield engine
    engine.dispose()


@pytest.fixture
def tansu(own: Settings, tmp_path: Path) -> Iterator[Tansu]:
    bucket = f"tansu-{os.urandom(4).hex()}"
    ObjectStore(own).ensure_bucket(bucket)
    with conditional_store(own) as store:
        broker = Tansu(store.settings, bucket, tmp_path / "tansu.log")
        yield broker
        broker.kill()


def notifications(own: Settings, webhook: Webhook) -> list[bytes]:
    """What the store sends for new and removed objects, whatever their keys."""
    bucket = TestBucket(own)
    for key in KEYS:
        bucket.user(key)
    for key in KEYS:
        bucket.remove(key)
    wait_until(lambda: len(webhook.bodies) >= 2 * len(KEYS), seconds=PATIENCE_SECONDS)
    return list(webhook.bodies)


def bursts(bodies: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(bodies), BURST):
        yield bodies[at : at + BURST]


def test_broker_killed_under_load_loses_no_notification_of_the_store(
    own: Settings, own_engine: Engine, webhook: Webhook, tansu: Tansu, consuming: Start
):
    bodies = notifications(own, webhook)
    tansu.create_topic(TOPIC)
    settings = tansu.settings(own)
    consumer = consuming(settings)
    for number, burst in enumerate(bursts(bodies)):
        sending = threading.Thread(target=tansu.send, args=(TOPIC, burst))
        sending.start()
        if number % 2:  # while messages are sent and stored
            tansu.restart()
        sending.join()
    wait_until(lambda: count(own_engine) >= len(bodies), seconds=PATIENCE_SECONDS)
    expected = sorted(event.key for body in bodies for event in parse(body))
    assert sorted(keys(own_engine)) == expected
    assert len(expected) == 2 * len(set(expected)) == 2 * len(KEYS)
    assert_committed_is_stored(tansu, settings, own_engine)
    assert consumer.end() == 0
    assert "closing timed out" not in consumer.log()


def test_announcements_survive_kills_of_the_broker(own: Settings, own_engine: Engine, tansu: Tansu):
    tansu.create_topic(IMAGE_TOPIC)
    settings = tansu.settings(own, kafka_image_topic=IMAGE_TOPIC)
    images = Images(settings, own_engine)
    expected = [f"{number}.png" for number in range(IMAGES)]
    for key in expected:
        images.put(key)
    sent: list[int] = []

    def announce() -> None:
        with own_engine.connect() as connection:
            sent.append(Announcer(settings, IMAGE_TOPIC, page_rows=10).announce(connection))

    announcing = threading.Thread(target=announce)
    announcing.start()
    for _ in range(3):
        tansu.restart()
    announcing.join()
    assert sent == [IMAGES]
    heard: dict[str, Any] = {}
    for message in tansu.read(IMAGE_TOPIC, IMAGES, seconds=PATIENCE_SECONDS):
        heard[(message.key() or b"").decode()] = message.value()
    assert sorted(heard) == sorted(expected)
