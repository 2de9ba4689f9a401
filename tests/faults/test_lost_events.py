"""Events lost, doubled and late: kills of store and scheduler, an outage of the database.

A whole stack of its own for each, as processes; at the end verify is clean, always.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import urllib3
from minio.error import MinioException
from sqlalchemy import Engine, text

from etl import local
from etl.cli.prepare import prepare
from etl.db.engine import connect
from etl.local.ports import any_free_port
from etl.local.record import running_record
from etl.model.values import Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.notifications import subscribe, subscriptions, wanted
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.awkward_keys import check_awkward_keys
from tests.conftest import minio_client, wait_until

ROOT = Path(__file__).parents[2]
TOKEN = "sixteen letters or more"  # noqa: S105 - of servers of the tests' own
ARN = "arn:minio:sqs::1:webhook"
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def api_port() -> int:
    return any_free_port()


@pytest.fixture
def own(api_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Embedded servers of this test's own, with tables, buckets, and a webhook to subscribe."""
    endpoint = f"http://127.0.0.1:{api_port}/minio-event"
    monkeypatch.setenv("MINIO_NOTIFY_WEBHOOK_ENABLE_1", "on")
    monkeypatch.setenv("MINIO_NOTIFY_WEBHOOK_ENDPOINT_1", endpoint)
    monkeypatch.setenv("MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_1", TOKEN)
    with tempfile.TemporaryDirectory(prefix="bucketline-lost-", ignore_cleanup_errors=True) as made:
        directory = Path(made)
        directory.chmod(0o755)
        with local.running(Settings(_env_file=None, local_dir=directory / "local")) as settings:
            prepare(settings, make_tables=True, make_buckets=True)
            yield settings
        wait_until(lambda: running_record(directory / "local") is None)


@pytest.fixture
def start(own: Settings) -> Iterator[Start]:
    """A function that starts commands on that stack; they end with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*words: str, **extra: str) -> subprocess.Popen[bytes]:
        environment = {"PATH": os.environ["PATH"], "LOCAL_DIR": str(own.local_dir)} | extra
        process = subprocess.Popen(
            [sys.executable, "-m", "etl", *words],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture
def own_engine(own: Settings) -> Iterator[Engine]:
    engine = connect(own)
    yield engine
    engine.dispose()


def put(settings: Settings, key: str, first: str = "Ann") -> bool:
    """Put one user; return whether the store acknowledged it."""
    content = f"first_name,last_name,birthts\n{first},Lee,0\n".encode()
    client = minio_client(settings, urllib3.PoolManager(retries=False))  # fail at once
    try:
        client.put_object(settings.source_bucket, key, io.BytesIO(content), len(content))
    except (MinioException, urllib3.exceptions.HTTPError, OSError):
        return False
    return True


def scalar(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one() or 0)


def listens(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/minio-event")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def serve(start: Start, port: int) -> None:
    """The API, where the store's webhook sends events."""
    start("serve", API_PORT=str(port), WEBHOOK_TOKEN=TOKEN)
    wait_until(lambda: listens(port))


@contextmanager
def listener(engine: Engine, start: Start) -> Iterator[subprocess.Popen[bytes]]:
    """A listener for the store's events; it requests a run once it receives them."""
    process = start("events", "listen")
    requested = "SELECT count(*) FROM run WHERE state = 'requested'"
    wait_until(lambda: scalar(engine, requested) == 1)
    yield process


def reconciled(own: Settings, engine: Engine) -> int:
    """Make a full run, after which verify must be clean; return the number of missed changes."""
    report = DataManager(own).run(Trigger.INTERVAL, wait_seconds=30)
    assert verify(own, engine) == []
    return report.counts.found_by_reconcile


def test_the_store_killed_under_load_loses_no_user(own: Settings, start: Start, own_engine: Engine):
    with listener(own_engine, start):
        assert put(own, "first.csv")
        wait_until(lambda: scalar(own_engine, "SELECT count(*) FROM bucket_event"))
        DataManager(own).run(Trigger.INTERVAL)
        record = running_record(own.local_dir.resolve())
        assert record is not None
        with ThreadPoolExecutor(8) as pool:
            sent = [pool.submit(put, own, f"{number}.csv") for number in range(300)]
            wait_until(lambda: sum(one.done() for one in sent) > 100)
            os.kill(record.services["object_store"].pid, signal.SIGKILL)
            acknowledged = {f"{i}.csv" for i, one in enumerate(sent) if one.result()}
        assert 0 < len(acknowledged) < 300
        wait_until(lambda: put(own, "last.csv"), seconds=60)
        while DataManager(own).run_events(wait_seconds=30) is not None:
            pass
        by_events = scalar(own_engine, "SELECT count(*) FROM source_object")
        missed = reconciled(own, own_engine)
    held = scalar(own_engine, "SELECT count(*) FROM source_object")
    with own_engine.connect() as connection:
        keys = set(connection.execute(text("SELECT key FROM source_object")).scalars())
    assert acknowledged <= keys
    assert missed <= held - by_events


def test_the_scheduler_killed_between_an_event_and_its_run(
    own: Settings, start: Start, own_engine: Engine
):
    scheduler = start("schedule", EVENT_GATHER="30s")
    wait_until(lambda: scalar(own_engine, "SELECT count(*) FROM run WHERE state = 'succeeded'"))
    assert put(own, "1.csv")
    wait_until(lambda: scalar(own_engine, "SELECT count(*) FROM bucket_event"))
    scheduler.kill()
    scheduler.wait()
    assert scalar(own_engine, "SELECT count(*) FROM users") == 0
    assert reconciled(own, own_engine) == 0  # its event was stored and pending
    assert scalar(own_engine, "SELECT count(*) FROM users") == 1
    waiting = "SELECT count(*) FROM bucket_event WHERE handled_by_run IS NULL"
    assert scalar(own_engine, waiting) == 0


def test_full_run_counts_changes_the_listener_missed(
    own: Settings, start: Start, own_engine: Engine
):
    with listener(own_engine, start) as process:
        assert put(own, "told.csv")
        wait_until(lambda: scalar(own_engine, "SELECT count(*) FROM bucket_event"))
        DataManager(own).run(Trigger.INTERVAL)
        process.kill()
        process.wait()
    for number in range(20):
        assert put(own, f"{number}.csv")
    assert reconciled(own, own_engine) == 20
    assert reconciled(own, own_engine) == 0


def test_scheduler_loads_objects_uploaded_before_it_started(
    own: Settings, start: Start, own_engine: Engine
):
    assert put(own, "before.csv")
    start("schedule")
    wait_until(lambda: scalar(own_engine, "SELECT count(*) FROM users") == 1)
    assert put(own, "since.csv")
    wait_until(lambda: scalar(own_engine, "SELECT count(*) FROM users") == 2)
    assert scalar(own_engine, "SELECT count(*) FROM run WHERE trigger = 'interval'") == 1
    assert scalar(own_engine, "SELECT count(*) FROM run WHERE trigger = 'event'") == 1


def test_events_during_a_database_outage_are_not_lost(
    own: Settings, start: Start, own_engine: Engine
):
    """If the listener reconnects, it requests a full run instead of storing the event."""
    record = running_record(own.local_dir.resolve())
    assert record is not None
    with listener(own_engine, start):
        pid = record.services["postgres"].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            assert put(own, "1.csv")
        finally:
            os.kill(pid, signal.SIGCONT)
        count = "SELECT count(*) FROM bucket_event WHERE key = '1.csv'"
        asked = "SELECT count(*) - 1 FROM run WHERE state = 'requested'"
        wait_until(lambda: scalar(own_engine, count) + scalar(own_engine, asked), seconds=60)


def test_sender_gets_an_error_during_a_database_outage(own: Settings, start: Start, api_port: int):
    record = running_record(own.local_dir.resolve())
    assert record is not None
    serve(start, api_port)
    pid = record.services["postgres"].pid
    stopped = [pid]
    os.kill(pid, signal.SIGSTOP)  # first, because it starts the others
    try:
        # A connection that is already open has a process of its own, which would still answer.
        backends = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in map(int, backends):
            os.kill(one, signal.SIGSTOP)
            stopped.append(one)
        client = http.client.HTTPConnection("127.0.0.1", api_port, timeout=30)
        body = {"Records": [_record(own.source_bucket, "2.csv")]}
        client.request(
            "POST", "/minio-event", json.dumps(body), {"Authorization": f"Bearer {TOKEN}"}
        )
        assert client.getresponse().status == 503
        client.close()
    finally:
        for one in stopped:
            os.kill(one, signal.SIGCONT)


def _record(bucket: str, key: str) -> dict[str, object]:
    thing = {"bucket": {"name": bucket}, "object": {"key": key, "sequencer": "1"}}
    return {"eventName": "s3:ObjectCreated:Put", "s3": thing}


def test_puts_of_bucketline_start_no_run(
    own: Settings, start: Start, own_engine: Engine, api_port: int
):
    store = ObjectStore(own)
    for bucket in (own.source_bucket, own.processed_bucket, own.thumbnail_bucket):
        subscribe(store, bucket, wanted([ARN]))
    serve(start, api_port)
    assert put(own, "1.csv")
    wait_until(lambda: scalar(own_engine, "SELECT count(*) FROM bucket_event"))
    DataManager(own).run(Trigger.INTERVAL)
    output = f"SELECT count(*) FROM bucket_event WHERE bucket = '{own.processed_bucket}'"
    wait_until(lambda: scalar(own_engine, output))
    DataManager(own).run_events()
    assert scalar(own_engine, "SELECT count(*) FROM run WHERE trigger = 'event'") == 0


def test_bucket_declared_while_the_scheduler_runs_is_subscribed_once_it_exists(
    own: Settings, start: Start, own_engine: Engine, tmp_path: Path
):
    users = 'version = 1\n[datasets.users]\npreset = "users"\n'
    file = tmp_path / "datasets.toml"
    file.write_text(users)
    store = ObjectStore(own)
    start("schedule", EVENT_ARNS=ARN, ETL_INTERVAL="1s", DATASETS_FILE=str(file))
    wait_until(lambda: is_subscribed(store, own.source_bucket))
    file.write_text(
        f'{users}[datasets.goods]\nbucket = "goods"\ninclude = ["**/*.csv"]\n'
        'schema = { fields = [ { name = "sku", type = "string" } ] }\n'
    )
    failed = "SELECT count(*) FROM run WHERE state = 'failed' AND error->>'message' LIKE '%goods%'"
    wait_until(lambda: scalar(own_engine, failed))
    store.ensure_bucket("goods")
    wait_until(lambda: is_subscribed(store, "goods"))


def is_subscribed(store: ObjectStore, bucket: str) -> bool:
    return any(one.is_ours for one in subscriptions(store, bucket))


def test_events_that_the_store_posts_name_awkward_keys(
    own: Settings, start: Start, own_engine: Engine, api_port: int
):
    subscribe(ObjectStore(own), own.source_bucket, wanted([ARN]))
    serve(start, api_port)
    check_awkward_keys(own, own_engine)


def test_listener_receives_events_and_ends_on_sigterm(
    own: Settings, start: Start, own_engine: Engine
):
    with listener(own_engine, start) as process:
        assert put(own, "1.csv")
        told = "SELECT count(*) FROM bucket_event WHERE key = '1.csv'"
        wait_until(lambda: scalar(own_engine, told))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
