"""Processes that follow their datasets file: the scheduler, the listeners and /health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, Engine, insert, text

from api import create_app
from etl.cli.arrivals import set_up_events
from etl.db import datasets_file, events
from etl.db.tables import hold
from etl.model.errors import ConfigurationError, DatasetsFailed
from etl.model.values import Trigger
from etl.services.datasets_file import DatasetsFile
from etl.services.listener import listening
from etl.services.scheduler import Scheduler, schedule
from etl.services.sources import source_buckets
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from tests.api_client import get, put_run
from tests.conftest import TestBucket, minio_client, wait_until
from tests.integration.test_schedule import runs, scheduling_with
from tests.stores import NOTIFIES
from tests.user_rows import NOW

if TYPE_CHECKING:
    from pathlib import Path

USERS = 'version = 1\n[datasets.users]\npreset = "users"\n'
GOODS = """
[datasets.goods]
include = ["goods/**/*.csv"]
BUCKET
[datasets.goods.schema]
primaryKey = ["sku"]
fields = [{ name = "sku", type = "string" }]
"""


def goods(bucket: str = "") -> str:
    return GOODS.replace("BUCKET", f'bucket = "{bucket}"' if bucket else "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "datasets.toml"


@pytest.fixture
def filed(settings: Settings, path: Path) -> Settings:
    """Settings with a datasets file that declares users."""
    path.write_text(USERS)
    return settings.model_copy(update={"datasets_file": path})


@pytest.fixture
def other(settings: Settings, store: ObjectStore) -> TestBucket:
    name = settings.source_bucket.replace("src-", "shop-")
    store.ensure_bucket(name)
    return TestBucket(settings.model_copy(update={"source_bucket": name}))


def scheduler(settings: Settings, *, poll_seconds: float = 0.1) -> Scheduler:
    file = DatasetsFile(settings)
    manager = DataManager(settings, datasets=file.datasets)
    return Scheduler(settings, manager, datasets_file=file, poll_seconds=poll_seconds)


def names(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT name FROM dataset ORDER BY name")))


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0


def fault(engine: Engine) -> dict[str, Any] | None:
    with engine.connect() as connection:
        return datasets_file.fault(connection)


def pending(engine: Engine) -> dict[str, bool]:
    """Whether each stored event was pending, by bucket."""
    with engine.connect() as connection:
        statement = "SELECT bucket, handled_by_run IS NULL OR handled_by_run > 0 FROM bucket_event"
        return {row[0]: row[1] for row in connection.execute(text(statement))}


def put_event(connection: Connection, source_bucket: str, bucket: str, key: str) -> None:
    record = {
        "eventName": "s3:ObjectCreated:Put",
        "eventTime": "2026-01-01T00:00:00Z",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key}},
    }
    parsed = events.parse({"Records": [record]})
    events.store(connection, parsed, source_bucket=source_bucket)


def test_changed_file_is_installed_by_a_run_at_once(
    filed: Settings, path: Path, engine: Engine, bucket: TestBucket
):
    bucket.put("goods/1.csv", "sku\na\n")
    with scheduling_with(scheduler(filed)):
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 1)
        assert names(engine) == ["users"]
        path.write_text(USERS + goods())
        wait_until(lambda: names(engine) == ["goods", "users"])
        wait_until(lambda: count(engine, "goods") == 1)


def test_draft_of_a_declaration_is_edited_while_the_scheduler_runs(
    filed: Settings, path: Path, engine: Engine, bucket: TestBucket
):
    bucket.put("goods/1.csv", "sku,price\na,1 EUR\n")
    field = '{ name = "price", type = "TYPE", constraints = { required = true } }'
    draft = USERS + goods().replace("[{", f"[{field}, {{")
    path.write_text(draft.replace("TYPE", "number"))
    with scheduling_with(scheduler(filed)):
        wait_until(lambda: count(engine, "problem") == 1)
        path.write_text(draft.replace("TYPE", "string"))
        wait_until(lambda: count(engine, "goods") == 1)
        assert runs(engine, "state = 'failed'") == 0


def test_faulty_version_keeps_the_datasets_and_is_shown(
    filed: Settings, path: Path, engine: Engine
):
    client = create_app(filed).test_client()
    with scheduling_with(scheduler(filed)):
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 1)
        path.write_text(USERS + goods().replace("string", "text").replace("include", "includes"))
        wait_until(lambda: fault(engine) is not None)
        body = get(client, "/health")
        assert body["status"] == "ok"
        (item,) = body["attention"]
        assert (item["kind"], item["dataset"]) == ("datasets-file", None)
        assert "includes" in item["message"]
        assert "text" in item["message"]
        assert names(engine) == ["users"]
        path.write_text(USERS + goods())
        wait_until(lambda: fault(engine) is None)
        assert get(client, "/health")["attention"] == []
        wait_until(lambda: names(engine) == ["goods", "users"])


def test_faulty_file_prevents_the_start(filed: Settings, path: Path, engine: Engine):
    path.write_text(USERS + goods().replace("string", "text").replace("include", "includes"))
    with pytest.raises(ConfigurationError) as refusal:
        schedule(filed)
    assert "includes" in refusal.value.message
    assert "text" in refusal.value.message
    assert runs(engine) == 0


def test_processes_with_different_files_do_not_install_them_in_turn(
    settings: Settings, engine: Engine, bucket: TestBucket, tmp_path: Path
):
    bucket.put("goods/1.csv", "sku\na\n")
    bucket.user("1.csv")
    managers = []
    for name, content in (("one", USERS), ("two", USERS + goods())):
        file = tmp_path / f"{name}.toml"
        file.write_text(content)
        followed = DatasetsFile(settings.model_copy(update={"datasets_file": file}))
        managers.append(DataManager(settings, datasets=followed.datasets))
    managers.append(DataManager(settings, datasets=None))
    first, second, third = managers
    first.run(Trigger.CLI)
    assert names(engine) == ["users"]
    second.run(Trigger.CLI)
    assert names(engine) == ["goods", "users"]
    for manager in (first, third, second, first):
        report = manager.run(Trigger.CLI)
        assert report.counts.rows_read == 0
        assert names(engine) == ["goods", "users"]


def test_process_without_a_file_declares_users_first(
    settings: Settings, engine: Engine, bucket: TestBucket
):
    bucket.user("1.csv")
    DataManager(settings, datasets=None).run(Trigger.CLI)
    assert names(engine) == ["users"]
    assert count(engine, "users") == 1


@pytest.mark.store(NOTIFIES)
def test_events_of_every_source_bucket_are_listened_to(
    filed: Settings, path: Path, engine: Engine, bucket: TestBucket, other: TestBucket
):
    with (
        listening(filed.model_copy(update={"event_listen": True})),
        scheduling_with(scheduler(filed)),
    ):
        wait_until(lambda: runs(engine, "state = 'succeeded'") >= 1)
        path.write_text(USERS + goods(other.name))
        wait_until(lambda: names(engine) == ["goods", "users"])
        bucket.user("1.csv")
        wait_until(lambda: pending(engine).get(bucket.name) is True)
        made = iter(range(1_000))

        def has_arrived() -> bool:  # the listener of the new bucket starts within seconds
            other.put(f"goods/{next(made)}.csv", f"sku\n{next(made)}\n")
            return pending(engine).get(other.name) is True

        wait_until(has_arrived)
        wait_until(lambda: count(engine, "goods") > 0)


def test_missing_bucket_fails_its_datasets_only_and_is_not_created(
    filed: Settings, path: Path, engine: Engine, bucket: TestBucket, store: ObjectStore
):
    path.write_text(USERS + goods("no-such-bucket"))
    bucket.user("1.csv")
    manager = DataManager(filed, datasets=DatasetsFile(filed).datasets)
    with pytest.raises(DatasetsFailed, match=r"no-such-bucket.*goods"):
        manager.run(Trigger.CLI)
    assert count(engine, "users") == 1
    assert not store.has_bucket("no-such-bucket")
    client = create_app(filed).test_client()
    body = get(client, "/health")
    (item,) = body["attention"]
    assert (item["kind"], item["dataset"]) == ("dataset-failed", "goods")
    assert "no-such-bucket" in item["message"]
    body = get(client, "/storage/health")
    assert body["status"] == "ok"
    assert body["buckets"]["no-such-bucket"]["exists"] is False
    (item,) = body["attention"]
    assert (item["kind"], item["dataset"]) == ("bucket-failed", None)
    assert "'no-such-bucket'. Create it in the object store, or" in item["message"]


def test_events_of_a_missing_bucket_delay_no_others(
    filed: Settings, path: Path, engine: Engine, bucket: TestBucket, other: TestBucket
):
    path.write_text(USERS + goods(other.name))
    manager = DataManager(filed, datasets=DatasetsFile(filed).datasets)
    manager.run(Trigger.CLI)
    minio_client(filed).remove_bucket(other.name)
    bucket.user("1.csv")
    with engine.begin() as connection:
        put_event(connection, bucket.name, other.name, "goods/1.csv")
        put_event(connection, bucket.name, bucket.name, "1.csv")
    assert manager.run_events() is not None
    assert count(engine, "users") == 1
    with pytest.raises(ConfigurationError):  # the scheduler retries with back-off
        manager.run_events()


def test_missing_bucket_of_all_datasets_is_named(filed: Settings, path: Path):
    path.write_text(f"version = 1\n{goods('no-such-bucket')}")
    manager = DataManager(filed, datasets=DatasetsFile(filed).datasets)
    with pytest.raises(ConfigurationError, match=r"no-such-bucket.*goods"):
        manager.run(Trigger.CLI)


def test_events_of_a_source_bucket_that_no_dataset_reads_are_not_pending(
    filed: Settings, path: Path, engine: Engine, bucket: TestBucket, other: TestBucket
):
    path.write_text(f"version = 1\n{goods(other.name)}")
    DataManager(filed, datasets=DatasetsFile(filed).datasets).run(Trigger.CLI)
    with engine.begin() as connection:
        assert events.source_buckets(connection, bucket.name) == [other.name]
        for name in (bucket.name, other.name):
            put_event(connection, bucket.name, name, "goods/1.csv")
        assert events.count_pending(connection) == 1
    assert pending(engine) == {bucket.name: False, other.name: True}


def test_subscriptions_are_set_on_every_source_bucket(
    filed: Settings, path: Path, other: TestBucket
):
    path.write_text(USERS + goods(other.name))
    assert source_buckets(filed) == sorted([filed.source_bucket, other.name])
    asked = filed.model_copy(update={"event_arns": "arn:minio:sqs::none:webhook"})
    found = set_up_events(asked, _NoTargets(asked), is_ours=True)
    assert len(found.warnings) == 2
    assert other.name in found.sentence(asked, "http://127.0.0.1:5000")


class _NoTargets(ObjectStore):
    """A store that rejects every target at once."""

    @property
    def client(self) -> Any:  # noqa: ANN401
        raise ConfigurationError("no such target")


def test_objects_of_all_source_buckets_are_served(filed: Settings, path: Path, other: TestBucket):
    path.write_text(USERS + goods(other.name))
    DataManager(filed, datasets=DatasetsFile(filed).datasets).run(Trigger.CLI)
    client = create_app(filed).test_client()
    rights = {one["name"]: one["rights"] for one in get(client, "/objects")["buckets"]}
    assert rights[filed.source_bucket] == rights[other.name] == "rw"
    assert client.put(f"/objects/{other.name}/goods/a.csv", data=b"sku\na\n").status_code == 200
    assert other.get("goods/a.csv") == b"sku\na\n"
    health = get(client, "/storage/health")["buckets"]
    assert health[other.name] == {"exists": True, "writable": None, "reason": None}

    only = filed.model_copy(update={"object_buckets": "reports:r"})
    client = create_app(only).test_client()
    assert client.get(f"/objects/{other.name}").status_code == 404


def test_open_holds_are_shown_with_the_command_that_allows_them(settings: Settings, engine: Engine):
    put_run(engine)
    with engine.begin() as connection:
        held = {"dataset": "orders", "run_id": 1, "opened_at": NOW, "rows": 120, "live": 200}
        connection.execute(insert(hold).values(held))
    body = get(create_app(settings).test_client(), "/health")
    assert body["status"] == "ok"
    (item,) = body["attention"]
    assert (item["kind"], item["dataset"], item["rows"]) == ("hold", "orders", 120)
    assert "run --allow-mass-retirement orders" in item["hint"]
