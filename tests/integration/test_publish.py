"""Publishing: output.parquet next to output.csv, and the interval after event runs."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet
from sqlalchemy import Engine, text

from etl.cli import render
from etl.cli.main import commands
from etl.db.engine import connect_unpooled
from etl.db.locks import run_lock
from etl.model.dataset import USERS
from etl.model.errors import RunAlreadyActive
from etl.model.values import Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket, minio_client


@pytest.fixture
def with_parquet(settings: Settings) -> Settings:
    return settings.model_copy(update={"output_parquet": True})


def users_in_parquet(settings: Settings) -> list[dict[str, object]]:
    response = minio_client(settings).get_object(settings.processed_bucket, "output.parquet")
    try:
        return parquet.read_table(io.BytesIO(response.read())).to_pylist()
    finally:
        response.close()
        response.release_conn()


def etags(settings: Settings, store: ObjectStore) -> list[str | None]:
    return [
        store.etag(settings.processed_bucket, name) for name in ("output.csv", "output.parquet")
    ]


def make_last_publication_old(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE publication SET published_at = now() - interval '61s'"))


# -- output.parquet


def test_parquet_holds_the_users_with_the_columns_of_the_csv(
    with_parquet: Settings, bucket: TestBucket, engine: Engine
):
    bucket.user("2.csv", "Bob", birthts=-5)
    bucket.user("10.csv", "Zoë")
    bucket.put("10.png", "x")
    DataManager(with_parquet).run(Trigger.CLI)
    assert users_in_parquet(with_parquet) == [
        {
            "user_id": "10",
            "first_name": "Zoë",
            "last_name": "Lee",
            "birthts": 0,
            "img_path": f"{bucket.name}/10.png",
        },
        {
            "user_id": "2",
            "first_name": "Bob",
            "last_name": "Lee",
            "birthts": -5,
            "img_path": None,
        },
    ]
    assert verify(with_parquet, engine) == []


def test_parquet_is_not_published_by_default(
    settings: Settings, manager: DataManager, bucket: TestBucket, store: ObjectStore
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    assert etags(settings, store)[1] is None


def test_only_the_lost_output_is_published_again(with_parquet: Settings, bucket: TestBucket):
    bucket.user("1.csv")
    manager = DataManager(with_parquet)
    manager.run(Trigger.CLI)
    put = minio_client(with_parquet).stat_object(with_parquet.processed_bucket, "output.csv")
    minio_client(with_parquet).remove_object(with_parquet.processed_bucket, "output.parquet")
    manager.run(Trigger.CLI)
    again = minio_client(with_parquet).stat_object(with_parquet.processed_bucket, "output.csv")
    assert put.last_modified == again.last_modified
    assert [user["user_id"] for user in users_in_parquet(with_parquet)] == ["1"]


def test_parquet_is_published_once_enabled(
    settings: Settings, with_parquet: Settings, manager: DataManager, bucket: TestBucket
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    DataManager(with_parquet).run(Trigger.CLI)
    assert [user["user_id"] for user in users_in_parquet(settings)] == ["1"]


def test_verify_finds_faults_of_the_parquet(
    with_parquet: Settings, bucket: TestBucket, engine: Engine
):
    bucket.user("1.csv")
    DataManager(with_parquet).run(Trigger.CLI)
    name, client = with_parquet.processed_bucket, minio_client(with_parquet)
    good = io.BytesIO()
    parquet.write_table(
        parquet.read_table(io.BytesIO(client.get_object(name, "output.parquet").read())).slice(
            0, 0
        ),
        good,
    )
    for content, what in [(b"PAR1", "output-unreadable"), (good.getvalue(), "output-missing")]:
        client.put_object(name, "output.parquet", io.BytesIO(content), len(content))
        assert [found.what for found in verify(with_parquet, engine)] == [what]
    client.remove_object(name, "output.parquet")
    assert [found.what for found in verify(with_parquet, engine)] == ["output-missing"]


def test_parquet_is_removed_once_disabled(
    settings: Settings, with_parquet: Settings, bucket: TestBucket, engine: Engine
):
    bucket.user("1.csv")
    DataManager(with_parquet).run(Trigger.CLI)
    (found,) = verify(settings, engine)
    assert (found.what, found.name) == (
        "output-surplus",
        f"{settings.processed_bucket}/output.parquet",
    )
    DataManager(settings).run(Trigger.CLI)
    assert etags(settings, ObjectStore(settings))[1] is None
    assert verify(settings, engine) == []
    DataManager(with_parquet).run(Trigger.CLI)
    assert [user["user_id"] for user in users_in_parquet(settings)] == ["1"]


@pytest.mark.parametrize(
    ("declared", "is_parquet_set", "expected"),
    [
        (("output.csv",), False, {"output.csv"}),
        (("output.csv",), True, {"output.csv", "output.parquet"}),
        (("output.parquet",), False, {"output.parquet"}),
        (("output.parquet", "output.csv"), True, {"output.csv", "output.parquet"}),
        ((), True, {"output.parquet"}),
        ((), False, set()),
    ],
)
def test_declared_outputs_are_published_and_the_parquet_also_by_its_setting(  # noqa: PLR0913, PLR0917
    settings: Settings,
    manager: DataManager,
    bucket: TestBucket,
    engine: Engine,
    declared: tuple[str, ...],
    is_parquet_set: bool,  # noqa: FBT001
    expected: set[str],
):
    """What is no longer published is deleted, and missed by no one."""
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    users = replace(USERS, publish=declared)
    own = settings.model_copy(update={"output_parquet": is_parquet_set})
    DataManager(own, datasets=(users,)).run(Trigger.CLI)
    published = minio_client(settings).list_objects(settings.processed_bucket)
    assert {one.object_name for one in published} == expected
    assert verify(own, engine, datasets=(users,)) == []


def test_parquet_of_another_client_is_not_removed(
    settings: Settings, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.user("1.csv")
    minio_client(settings).put_object(
        settings.processed_bucket, "output.parquet", io.BytesIO(b"theirs"), 6
    )
    manager.run(Trigger.CLI)
    assert minio_client(settings).stat_object(settings.processed_bucket, "output.parquet").size == 6
    assert verify(settings, engine) == []


# -- debounced after event runs


def test_event_runs_are_published_together_after_the_interval(
    settings: Settings,
    manager: DataManager,
    bucket: TestBucket,
    store: ObjectStore,
    engine: Engine,
):
    """After a publication, the changes of several event runs are published once, later."""
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    before = etags(settings, store)
    reports = []
    for key in ("2.csv", "3.csv"):
        bucket.user(key)
        reports.append(manager.run(Trigger.EVENT))
    assert [report.published_at for report in reports] == [None, None]
    assert not manager.publish_if_due()
    assert etags(settings, store) == before
    make_last_publication_old(engine)
    assert manager.publish_if_due()
    assert etags(settings, store) != before
    assert not manager.publish_if_due()
    with engine.connect() as connection:
        waiting = connection.scalar(text("SELECT count(*) FROM run WHERE published_at IS NULL"))
    assert waiting == 0
    assert verify(settings, engine) == []


def test_requested_run_publishes_pending_runs(
    settings: Settings, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    bucket.user("2.csv")
    manager.run(Trigger.EVENT)
    manager.run(Trigger.INTERVAL)
    assert verify(settings, engine) == []


def test_an_event_run_publishes_when_the_last_time_is_long_ago(
    settings: Settings, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.user("1.csv")
    assert manager.run(Trigger.EVENT).published_at is not None  # the first one ever
    make_last_publication_old(engine)
    bucket.user("2.csv")
    assert manager.run(Trigger.EVENT).published_at is not None
    assert verify(settings, engine) == []


def test_nothing_is_published_while_a_run_is_active(settings: Settings, manager: DataManager):
    with run_lock(connect_unpooled(settings)), pytest.raises(RunAlreadyActive):
        manager.publish_if_due()


def test_publishing_is_retried_after_a_store_outage(
    settings: Settings, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    bucket.user("2.csv")
    manager.run(Trigger.EVENT)
    make_last_publication_old(engine)
    elsewhere = settings.model_copy(
        update={"s3_endpoint": "http://127.0.0.1:9", "publish_interval": timedelta(0)}
    )
    assert not DataManager(elsewhere).publish_if_due()
    assert len(publish_errors(engine)) == 1
    assert [found.what for found in verify(settings, engine)] == ["output-missing"]  # overdue
    assert manager.publish_if_due()
    assert publish_errors(engine) == []


def publish_errors(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT error FROM run WHERE error IS NOT NULL")))


def test_verify_skips_an_output_pending_publication(
    settings: Settings, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    bucket.user("2.csv")
    manager.run(Trigger.EVENT)
    notices: list[str] = []
    assert verify(settings, engine, notice=notices.append) == []
    assert notices == ["output.csv was not compared, because its publication is pending."]
    bucket.user("3.csv")
    assert {found.what for found in verify(settings, engine)} == {
        "user-missing",
        "manifest-missing",
    }
    manager.run(Trigger.CLI)
    notices.clear()
    assert verify(settings, engine, notice=notices.append) == []
    assert notices == []


def test_the_command_claims_no_more_than_was_compared(
    settings: Settings, manager: DataManager, bucket: TestBucket
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    assert "output files are in sync" in verified(settings).stdout
    bucket.user("2.csv")
    manager.run(Trigger.EVENT)
    found = verified(settings)
    assert "the tables are in sync with the bucket" in found.stdout
    assert "output files were not compared" in found.stdout
    assert "its publication is pending" in found.stderr


def verified(settings: Settings) -> Result:
    """The differences that `verify` finds."""
    buckets = ("source_bucket", "processed_bucket", "thumbnail_bucket", "document_bucket")
    environment = render.environment(settings, None) | {
        name.upper(): getattr(settings, name) for name in buckets
    }
    found = CliRunner().invoke(commands, ["verify"], env=environment)
    assert found.exit_code == 0, found.output
    return found
