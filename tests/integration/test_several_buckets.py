"""Datasets in several source buckets: the same key in two of them is two objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from etl.db import events, retention
from etl.db.events import BucketEvent
from etl.db.problems import count_open_problems, open_problems
from etl.db.round_trips import ask
from etl.images.indexer import ThumbnailIndexer
from etl.images.waiting import count_pending
from etl.model.errors import ConfigurationError
from etl.settings import Settings
from etl.storage.client import ObjectStore
from tests.conftest import TestBucket
from tests.sample_images import plain


def run_in(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def declare(engine: Engine, name: str, bucket: str) -> None:
    run_in(
        engine,
        "INSERT INTO dataset (name, declaration, reading_hash, installed_at) VALUES"
        " (:name, jsonb_build_object('table', :name, 'bucket', CAST(:bucket AS text)), '', now())",
        name=name,
        bucket=bucket,
    )


def manifest(engine: Engine, store: ObjectStore, bucket: str, dataset: str) -> None:
    """Enter the images of the bucket into the manifest, as a run does."""
    for source in store.list_objects(bucket):
        run_in(
            engine,
            "INSERT INTO source_object (bucket, key, kind, dataset, attachment, attachment_id,"
            " etag, size, last_modified, state, rows_read, rows_rejected, run_id) VALUES (:bucket,"
            " :key, 'image', :dataset, 'photo', 'a', :etag, :size, now(), 'loaded', 0, 0, :run)",
            bucket=bucket,
            key=source.key,
            dataset=dataset,
            etag=source.etag,
            size=source.size,
            run=a_run(engine),
        )


def a_run(engine: Engine, finished: str = "now()") -> int:
    with engine.begin() as connection:
        statement = text(
            "INSERT INTO run (trigger, state, finished_at, counts)"
            f" VALUES ('cli', 'succeeded', {finished}, '{{\"problems\": 0}}') RETURNING id"
        )
        return int(connection.execute(statement).scalar_one())


@pytest.fixture
def other(settings: Settings, engine: Engine, store: ObjectStore) -> TestBucket:
    """The bucket of a second dataset, `goods`."""
    name = settings.source_bucket.replace("src-", "shop-")
    store.ensure_bucket(name)
    declare(engine, "users", "")
    declare(engine, "goods", name)
    return TestBucket(settings.model_copy(update={"source_bucket": name}))


def images(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT bucket, key, state, width FROM image ORDER BY 1"))
        return [tuple(row) for row in found]


def test_images_with_the_same_key_are_processed_apart(
    settings: Settings, engine: Engine, store: ObjectStore, bucket: TestBucket, other: TestBucket
):
    bucket.put("a.png", plain(40, 30))
    other.put("a.png", b"no image")
    for name, dataset in ((bucket.name, "users"), (other.name, "goods")):
        manifest(engine, store, name, dataset)
    report = ThumbnailIndexer(settings).run()
    assert (report.ready, report.unsupported) == (1, 1)
    assert images(engine) == [
        (other.name, "a.png", "unsupported", None),
        (bucket.name, "a.png", "ready", 40),
    ]
    with engine.connect() as connection:
        (problem,) = open_problems(connection)
        assert count_pending(connection, settings) == 0
    assert (problem["bucket"], problem["dataset"]) == (other.name, "goods")
    assert problem["code"] == "unsupported-image"

    run_in(engine, "DELETE FROM source_object WHERE bucket = :bucket", bucket=bucket.name)
    assert ThumbnailIndexer(settings).run().forgotten == 1
    assert images(engine) == [(other.name, "a.png", "unsupported", None)]


def test_correcting_an_image_closes_the_problem_of_its_bucket_only(
    settings: Settings, engine: Engine, store: ObjectStore, bucket: TestBucket, other: TestBucket
):
    for each, dataset in ((bucket, "users"), (other, "goods")):
        each.put("a.png", b"no image")
        manifest(engine, store, each.name, dataset)
    ThumbnailIndexer(settings).run()
    other.put("a.png", plain(4, 3))
    run_in(
        engine,
        "UPDATE source_object SET etag = :etag WHERE bucket = :bucket",
        etag=store.etag(other.name, "a.png"),
        bucket=other.name,
    )
    assert ThumbnailIndexer(settings).run().ready == 1
    with engine.connect() as connection:
        assert [one["bucket"] for one in open_problems(connection)] == [bucket.name]
        assert count_open_problems(connection) == 1


def test_missing_bucket_does_not_delay_the_images_of_others(
    settings: Settings, engine: Engine, store: ObjectStore, bucket: TestBucket
):
    gone = settings.source_bucket.replace("src-", "gone-")
    declare(engine, "goods", gone)
    bucket.put("a.png", plain(4, 3))
    manifest(engine, store, bucket.name, "users")
    run_in(
        engine,
        "INSERT INTO source_object (bucket, key, kind, etag, size, last_modified, state, rows_read,"
        " rows_rejected, run_id) SELECT :gone, key, kind, etag, size, last_modified, state,"
        " rows_read, rows_rejected, run_id FROM source_object",
        gone=gone,
    )
    assert gone < bucket.name  # so it is processed first
    with pytest.raises(ConfigurationError, match=gone):
        ThumbnailIndexer(settings).run()
    assert images(engine) == [(bucket.name, "a.png", "ready", 4)]


def add_problem(engine: Engine, bucket: str, dataset: str, run_id: int) -> None:
    run_in(
        engine,
        "INSERT INTO problem (run_id, bucket, key, dataset, etag, code, severity, note)"
        " VALUES (:run, :bucket, 'a.csv', :dataset, '1', 'missing-cell', 'error', '')",
        run=run_id,
        bucket=bucket,
        dataset=dataset,
    )


def add_object(engine: Engine, bucket: str, dataset: str, run_id: int) -> None:
    run_in(
        engine,
        "INSERT INTO source_object (bucket, key, kind, dataset, etag, size, last_modified, state,"
        " rows_read, rows_rejected, run_id) VALUES (:bucket, 'a.csv', 'data', :dataset, '1', 9,"
        " now(), 'loaded', 1, 1, :run)",
        bucket=bucket,
        dataset=dataset,
        run=run_id,
    )


def test_problems_of_the_same_key_are_open_apart(engine: Engine):
    """One run found a fault in both objects; a later one read only one of them again."""
    first, second = a_run(engine, "now() - interval '9 days'"), a_run(engine)
    for bucket, dataset in (("shop", "goods"), ("src", "users")):
        add_problem(engine, bucket, dataset, first)
        add_object(engine, bucket, dataset, second if bucket == "shop" else first)
    with engine.connect() as connection:
        assert [one["dataset"] for one in open_problems(connection)] == ["users"]
        assert list(open_problems(connection, datasets=("goods",))) == []
        assert list(open_problems(connection, bucket="shop", key="a.csv")) == []
    with engine.begin() as connection:
        assert retention.remove_problems(connection, 0, age=timedelta(days=1)).removed == 1
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT bucket FROM problem")).all() == ["src"]


def event(bucket: str, mark: str) -> BucketEvent:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return BucketEvent(
        bucket, "a.csv", mark, "s3:ObjectCreated:Put", mark, when, "1", 9, None, {"mark": mark}
    )


def test_events_of_every_declared_bucket_are_pending(
    settings: Settings, engine: Engine, other: TestBucket
):
    own = settings.source_bucket
    received = [event(own, "1"), event(other.name, "2"), event("foreign", "3")]
    with engine.begin() as connection:
        assert events.store(connection, received, source_bucket=own) == 3
        assert events.count_pending(connection) == 2
    oldest = {"oldest": events.oldest_pending(own, limit=10, include_refused=True)}
    with engine.begin() as connection:
        events.pass_over_former(connection)
        found = ask(connection, oldest)["oldest"]
        assert {(one["bucket"], one["key"]) for one in found} == {
            (name, "a.csv") for name in (own, other.name)
        }
        assert len(found) == events.count_pending(connection) == 2
    run_in(engine, "DELETE FROM dataset")
    with engine.begin() as connection:
        events.pass_over_former(connection)
        assert [one["bucket"] for one in ask(connection, oldest)["oldest"]] == [own]
        assert events.count_pending(connection) == 1


def test_last_event_of_every_source_bucket_is_kept(
    settings: Settings, engine: Engine, other: TestBucket
):
    names = (settings.source_bucket, other.name, "foreign")
    received = [event(name, f"{n}") for name in names for n in range(3)]
    with engine.begin() as connection:
        events.store(connection, received, source_bucket=settings.source_bucket)
        connection.execute(text("UPDATE bucket_event SET handled_by_run = 1"))
        connection.execute(text("UPDATE bucket_event SET received_at = now() - interval '9 days'"))
        removed = retention.remove_events(
            connection, 0, age=timedelta(days=1), bucket=settings.source_bucket
        ).removed
        kept = connection.scalars(text("SELECT bucket FROM bucket_event ORDER BY 1")).all()
    assert (removed, kept) == (7, sorted([other.name, settings.source_bucket]))


def test_missed_changes_are_counted_per_bucket(
    settings: Settings, engine: Engine, other: TestBucket
):
    """Only buckets whose store has sent an event can miss one."""
    a_run(engine)
    for bucket in (settings.source_bucket, other.name, "silent"):
        run_in(
            engine,
            "INSERT INTO staging_object (change, bucket, key, kind, etag, size, last_modified,"
            " state, rows_read, rows_rejected) VALUES"
            " ('added', :bucket, 'a.csv', 'data', '1', 9, now(), 'loaded', 1, 0),"
            " ('added', :bucket, 'b.csv', 'data', '1', 9, now(), 'loaded', 1, 0)",
            bucket=bucket,
        )
    received = [event(settings.source_bucket, "1")]
    with engine.begin() as connection:
        events.store(connection, received, source_bucket=settings.source_bucket)
        assert events.missed_by_events(connection) == 1
        events.store(connection, [event(other.name, "2")], source_bucket=settings.source_bucket)
        assert events.missed_by_events(connection) == 2


def test_runs_that_rows_of_any_dataset_refer_to_are_kept(settings: Settings, engine: Engine):
    declare(engine, "goods", "shop")
    run_in(engine, "CREATE TABLE public.goods (sku text, _run_id bigint)")
    run_in(engine, "CREATE TABLE public.goods_retired (sku text, _run_id bigint)")
    run_in(engine, "CREATE TABLE public.other (sku text, _run_id bigint)")
    run_in(engine, "INSERT INTO public.goods VALUES ('a', 3)")
    run_in(engine, "INSERT INTO public.goods_retired VALUES ('a', 2)")
    run_in(engine, "INSERT INTO public.other VALUES ('a', 1)")
    with engine.begin() as connection:
        assert retention.used_runs(connection, settings.database_schema) == {2, 3}
