"""Announcements on the image topic: complete, in order, and repeated only if in doubt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from sqlalchemy import Engine, text

from etl.db import revisions
from etl.db.revisions import Resource
from etl.images.indexer import ThumbnailIndexer
from etl.model.errors import ConfigurationError, KafkaUnavailable
from etl.model.values import Trigger
from etl.services import kafka
from etl.services.kafka import client
from etl.services.kafka.announce import Announcer
from etl.services.kafka.messages import json_schema
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.brokers import Brokers
from tests.conftest import TestBucket, wait_until
from tests.sample_images import plain

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "image-topic.schema.json"
TOPIC = "images"
SHA = "ab" * 32


@pytest.fixture
def announced(brokers: Brokers, settings: Settings) -> Settings:
    return brokers.settings(settings, kafka_image_topic=TOPIC)


class Images:
    """Writes the tables as the image worker does."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._bucket = settings.source_bucket
        self._engine = engine

    def _write(self, statement: str, **values: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(statement), values)
            revisions.advance(connection, Resource.IMAGES)

    def put(
        self,
        key: str,
        *sizes: int,
        etag: str = "1",
        state: str = "ready",
        bucket: str | None = None,
    ) -> None:
        self._write(
            "INSERT INTO image (bucket, key, etag, state, format, mode, width, height, bytes,"
            " sha256, sizes, updated_at) VALUES (:bucket, :key, :etag, :state, 'PNG', 'RGB', 4, 3,"
            " 99, :sha, :sizes, clock_timestamp()) ON CONFLICT (bucket, key) DO UPDATE"
            " SET etag = excluded.etag, sizes = excluded.sizes, updated_at = excluded.updated_at",
            bucket=bucket or self._bucket,
            key=key,
            etag=etag,
            state=state,
            sha=SHA,
            sizes=list(sizes),
        )

    def thumbnail(self, size: int) -> None:
        self._write(
            "INSERT INTO thumbnail VALUES (:sha, :size, :sha || '@' || :size || '.webp', now())",
            sha=SHA,
            size=size,
        )

    def remove(self, key: str) -> None:
        self._write("DELETE FROM image WHERE key = :key", key=key)

    def list_as_attachment(self, bucket: str, key: str, dataset: str, attachment_id: str) -> None:
        self._write(
            "INSERT INTO source_object (bucket, key, kind, dataset, attachment, attachment_id,"
            " etag, size, last_modified, state, rows_read, rows_rejected, run_id) VALUES (:bucket,"
            " :key, 'image', :dataset, 'photo', :id, '1', 99, now(), 'loaded', 0, 0, 1)",
            bucket=bucket,
            key=key,
            dataset=dataset,
            id=attachment_id,
        )


@pytest.fixture
def images(settings: Settings, engine: Engine) -> Images:
    return Images(settings, engine)


def announce(settings: Settings, engine: Engine, **limits: int) -> int:
    with engine.connect() as connection:
        return Announcer(settings, TOPIC, **limits).announce(connection)


def heard(brokers: Brokers, count: int, *, seconds: float = 20) -> list[dict[str, Any]]:
    """The first messages of the topic, grouped by key in order; each matches the schema."""
    schema = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text("utf-8")))
    messages = brokers.read(TOPIC, count, seconds=seconds)
    values = [json.loads(message.value() or b"") for message in messages]
    for message, value in zip(messages, values, strict=True):
        schema.validate(value)
        assert message.key() == value["key"].encode()
    return values


def test_the_schema_in_the_docs_is_that_of_the_messages():
    assert SCHEMA.read_text("utf-8") == json_schema()
    jsonschema_rs.meta.validate(json.loads(json_schema()))


def test_image_thumbnails_and_removal_are_each_announced_once(
    brokers: Brokers, announced: Settings, engine: Engine, images: Images
):
    images.put("a/ü 1.png", 256, 64)
    images.thumbnail(64)
    images.thumbnail(256)
    assert announce(announced, engine) == 1
    assert announce(announced, engine) == 0
    images.remove("a/ü 1.png")
    assert announce(announced, engine) == 1
    assert announce(announced, engine) == 0

    indexed, ready, removed = heard(brokers, 3)
    image = {"bucket": announced.source_bucket, "key": "a/ü 1.png", "etag": "1"}
    facts = {"state": "ready", "width": 4, "height": 3, "bytes": 99, "sha256": SHA}
    assert indexed.items() >= {"type": "image.indexed", **image, **facts}.items()
    made = [
        {"size": size, "bucket": announced.thumbnail_bucket, "key": f"{SHA}@{size}.webp"}
        for size in (64, 256)
    ]
    assert ready == {
        "type": "thumbnail.ready",
        **image,
        "dataset": None,
        "attachment_id": None,
        "user_id": None,
        "sha256": SHA,
        "thumbnails": made,
    }
    assert removed == {"type": "image.removed", **image}


def test_thumbnails_are_announced_only_once_they_exist(
    brokers: Brokers, announced: Settings, engine: Engine, images: Images
):
    images.put("1.png", 64, 256)
    announce(announced, engine)
    images.thumbnail(64)
    announce(announced, engine)
    images.thumbnail(256)
    announce(announced, engine)
    assert announce(announced, engine) == 0
    types = [(one["type"], len(one.get("thumbnails", []))) for one in heard(brokers, 3)]
    assert types == [("image.indexed", 0), ("thumbnail.ready", 1), ("thumbnail.ready", 2)]


def test_replaced_and_corrupt_images_are_announced(
    brokers: Brokers, announced: Settings, engine: Engine, images: Images
):
    images.thumbnail(64)
    images.put("1.png", 64)
    announce(announced, engine)
    images.put("1.png", 64, etag="2")
    announce(announced, engine)
    images.put("2.png", state="corrupt")
    announce(announced, engine)
    assert sorted((one["key"], one["etag"], one["type"]) for one in heard(brokers, 5)) == [
        ("1.png", "1", "image.indexed"),
        ("1.png", "1", "thumbnail.ready"),
        ("1.png", "2", "image.indexed"),
        ("1.png", "2", "thumbnail.ready"),
        ("2.png", "1", "image.indexed"),
    ]


def test_many_images_are_announced_in_pages(brokers: Brokers, announced: Settings, engine: Engine):
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO image (bucket, key, etag, state, bytes, updated_at)"
                " SELECT 'bucket-' || n % 7, n || '.png', n, 'unsupported', n, now()"
                " FROM generate_series(1, 950) n"
            )
        )
    assert announce(announced, engine, page_rows=100) == 950
    assert {one["key"] for one in heard(brokers, 950)} == {f"{n}.png" for n in range(1, 951)}
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM image"))
    assert announce(announced, engine, page_rows=100) == 950


def test_images_of_the_same_key_in_two_buckets_are_announced_apart(
    brokers: Brokers, announced: Settings, engine: Engine, images: Images
):
    own = announced.source_bucket
    images.list_as_attachment(own, "1.png", "users", "1")
    images.list_as_attachment("shop", "1.png", "goods", "A-1")
    images.put("1.png")
    images.put("1.png", bucket="shop")
    assert announce(announced, engine) == 2
    assert announce(announced, engine) == 0
    images.remove("1.png")
    images.put("1.png", bucket="shop")
    assert announce(announced, engine) == 2

    names = ("type", "bucket", "dataset", "attachment_id", "user_id")
    sent = sorted([one.get(name) for name in names] for one in heard(brokers, 4))
    assert sent == [
        ["image.indexed", "shop", "goods", "A-1", None],
        ["image.indexed", "shop", "goods", "A-1", None],
        ["image.indexed", own, "users", "1", "1"],
        ["image.removed", own, None, None, None],
    ]


def test_unacknowledged_announcements_are_sent_later(
    brokers: Brokers,
    announced: Settings,
    engine: Engine,
    images: Images,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(client, "SEND_SECONDS", 3)
    images.put("1.png")
    announcer = Announcer(announced, TOPIC)
    brokers.hang()
    with pytest.raises(KafkaUnavailable), engine.connect() as connection:
        announcer.announce(connection)
    brokers.resume()
    with engine.connect() as connection:
        assert announcer.announce(connection) == 1
    assert heard(brokers, 1)[0]["key"] == "1.png"


def test_images_of_runs_and_of_the_image_worker_are_announced(
    brokers: Brokers, announced: Settings, engine: Engine, bucket: TestBucket, manager: DataManager
):
    bucket.put("1.png", plain())
    bucket.put("2.png", b"no picture")
    manager.run(Trigger.CLI)
    ThumbnailIndexer(announced).run()
    assert announce(announced, engine) == 2
    indexed, useless, ready = sorted(heard(brokers, 3), key=lambda one: (one["type"], one["key"]))
    assert (indexed["key"], indexed["state"], indexed["user_id"]) == ("1.png", "ready", "1")
    assert (useless["key"], useless["state"]) == ("2.png", "unsupported")
    assert useless["note"]
    assert [one["size"] for one in ready["thumbnails"]] == sorted(announced.thumbnail_sizes)
    bucket.remove("1.png")
    manager.run(Trigger.CLI)
    ThumbnailIndexer(announced).run()
    assert announce(announced, engine) == 1
    assert announce(announced, engine) == 0


@contextmanager
def announcing(settings: Settings) -> Iterator[None]:
    with kafka.announcing(settings):
        yield


def test_images_are_announced_as_they_change_by_one_of_many(
    brokers: Brokers, announced: Settings, engine: Engine, images: Images
):
    def noted() -> int:
        with engine.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM announced_image")) or 0

    images.put("1.png")
    with announcing(announced), announcing(announced):
        wait_until(lambda: noted() == 1)
        images.put("2.png")
        wait_until(lambda: noted() == 2)
    assert {one["key"] for one in heard(brokers, 2)} == {"1.png", "2.png"}
    assert len(heard(brokers, 3, seconds=4)) == 2


def test_without_a_topic_nothing_is_announced(settings: Settings):
    with announcing(settings):
        pass


def test_missing_kafka_client_is_reported_with_its_installation(
    announced: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kafka, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError) as caught, announcing(announced):
        pass
    assert "bucketline[kafka]" in caught.value.hint
