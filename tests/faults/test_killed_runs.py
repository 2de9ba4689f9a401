"""Runs that are killed, concurrent or disconnected lose and duplicate nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from api import create_app
from etl.db.engine import connect, connect_unpooled, driver
from etl.db.locks import run_lock
from etl.model.errors import DatabaseUnavailable, EtlError, ObjectStoreUnavailable, RunAlreadyActive
from etl.model.values import RunState, Trigger
from etl.runtime.pools import map_in_threads
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket, wait_until
from tests.processes import start
from tests.tallies import wrong_tallies

OBJECTS = 500
USERS = 20 * OBJECTS
FIRST_LOAD = 40_000  # enough that a run can be killed while it creates the indexes

MOMENTS = {
    "as it begins": "SELECT EXISTS (SELECT FROM run WHERE state = 'running')",
    "with all of it in staging": "SELECT EXISTS (SELECT FROM staging_object)",
    "in the middle of the merge": "SELECT EXISTS (SELECT FROM pg_locks WHERE relation ="
    " 'users'::regclass AND mode = 'RowExclusiveLock')",
    "before it published": "SELECT EXISTS (SELECT FROM run WHERE publish_pending)",
}
SWAPPING = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'users'::regclass"
    " AND mode = 'AccessExclusiveLock')"
)


def start_run(settings: Settings, *options: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return start(settings, "run", "--json", *options, stdout=pipe, stderr=pipe)


def is_true(engine: Engine, condition: str) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(text(condition)))


def kill_when(engine: Engine, condition: str, process: subprocess.Popen[bytes]) -> None:
    """Kill the run as soon as the condition holds; fail if the run ends first."""
    try:
        wait_until(lambda: process.poll() is not None or is_true(engine, condition), pause=0.001)
        assert process.poll() is None, f"the run ended before it could be killed: {condition}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def contents(engine: Engine) -> list[tuple[Any, ...]]:
    """Every user and every manifest entry, without run ids and timestamps."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT o.key, o.etag, o.state, o.rows_read, u.user_id, u.first_name, u.birthts,"
                " u._source_line FROM users u"
                " FULL JOIN source_object o ON o.key = u._source_key"
                " ORDER BY o.key, u.user_id"
            )
        )
        return [tuple(row) for row in rows]


def test_lock_of_a_dead_holder_is_released_during_its_statement(settings: Settings, engine: Engine):
    holder = connect_unpooled(settings)

    def hold(connection: Connection) -> None:
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT pg_sleep(300) AS held"))

    with run_lock(holder, client_check_seconds=1) as connection:
        thread = threading.Thread(target=hold, args=(connection,))
        thread.start()
        sleeping = (
            "query LIKE '%SELECT pg_sleep(%' AND state = 'active' AND pid <> pg_backend_pid()"
        )
        wait_until(
            lambda: is_true(
                engine, f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {sleeping})"
            )
        )
        with socket.socket(fileno=os.dup(driver(connection).fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)  # as the kernel does for a process that is killed
        thread.join(30)
        with run_lock(connect_unpooled(settings), wait_seconds=30):
            pass


@pytest.fixture
def many_users(bucket: TestBucket) -> TestBucket:
    """Enough users that every phase of a run lasts long enough to be killed in."""

    def put(number: int) -> None:
        rows = "".join(f"{number}-{n},N{n},Lee,{number}\n" for n in range(USERS // OBJECTS))
        bucket.put(f"{number % 7}/{number}.csv", f"user_id,first_name,last_name,birthts\n{rows}")

    map_in_threads(put, range(OBJECTS), 16)
    return bucket


@pytest.mark.usefixtures("many_users")
def test_run_killed_at_any_moment_is_completed_by_the_next(
    fresh_database: Callable[[], Settings],
):
    ends: dict[str, list[tuple[Any, ...]]] = {}
    for moment, condition in MOMENTS.items():
        settings = fresh_database()
        engine = connect(settings)
        kill_when(engine, condition, start_run(settings))

        report = DataManager(settings).run(Trigger.CLI, wait_seconds=30)

        assert report.state is RunState.SUCCEEDED, moment
        assert report.counts.users_live == USERS, moment
        assert not is_true(engine, MOMENTS["as it begins"]), moment
        ends[moment] = contents(engine)
        if len(ends) == len(MOMENTS):
            assert verify(settings, engine) == []
            assert wrong_tallies(engine) == {}
        engine.dispose()
    assert all(end == ends["as it begins"] for end in ends.values())


@pytest.mark.parametrize(
    "condition",
    ["SELECT to_regclass('successor_users') IS NOT NULL", SWAPPING],
    ids=["while rows are written", "while the new table replaces the empty one"],
)
def test_first_load_killed_at_any_moment_is_completed_by_the_next(
    bucket: TestBucket, settings: Settings, engine: Engine, condition: str
):
    rows = "".join(f"{number:06},Ann,Lee,{number}\n" for number in range(FIRST_LOAD))
    bucket.put("many.csv", f"user_id,first_name,last_name,birthts\n{rows}")
    kill_when(engine, condition, start_run(settings))

    assert not is_true(engine, "SELECT EXISTS (SELECT FROM users)")
    report = DataManager(settings).run(Trigger.CLI, wait_seconds=30)

    assert report.counts.users_live == report.step_rows["swap"] == FIRST_LOAD
    assert not is_true(engine, "SELECT to_regclass('successor_users') IS NOT NULL")
    assert verify(settings, engine) == []


def test_second_of_two_simultaneous_runs_is_refused(
    bucket: TestBucket, settings: Settings, engine: Engine
):
    for n in range(200):
        bucket.user(f"{n}.csv")
    both = [start_run(settings), start_run(settings)]
    outcomes = [(*process.communicate(timeout=60), process.returncode) for process in both]

    assert {code for *_, code in outcomes} <= {0, 3}
    assert any(code == 0 for *_, code in outcomes)
    for out, err, code in outcomes:
        if code == 0:
            assert json.loads(out)["state"] == "succeeded"
        else:
            assert b"RunAlreadyActive" in err
    assert verify(settings, engine) == []


def test_a_run_refuses_or_waits_while_another_holds_the_lock(
    bucket: TestBucket, settings: Settings, manager: DataManager
):
    bucket.user("1.csv")
    with ThreadPoolExecutor(1) as pool:
        with run_lock(connect_unpooled(settings)):
            for no_wait in (0, float("nan")):
                with pytest.raises(RunAlreadyActive):
                    manager.run(Trigger.CLI, wait_seconds=no_wait)
            waiting = pool.submit(manager.run, Trigger.CLI, wait_seconds=30)
        assert waiting.result().state is RunState.SUCCEEDED


def test_concurrent_runs_take_turns_and_duplicate_no_user(
    bucket: TestBucket, settings: Settings, engine: Engine
):
    for n in range(50):
        bucket.user(f"{n}.csv")
    managers = [DataManager(settings) for _ in range(6)]
    reports = map_in_threads(lambda m: m.run(Trigger.CLI, wait_seconds=60), managers, 6)
    assert sum(report.counts.users_inserted for report in reports) == 50
    assert verify(settings, engine) == []


def test_a_lock_holder_that_loses_its_connection_cannot_commit(
    bucket: TestBucket, settings: Settings, engine: Engine
):
    """The connection dies once the listing is read; staging and merge must not continue."""

    class CutOff(ObjectStore):
        def list_pages(
            self, bucket: str, split_points: Iterable[str] = (), *more: Callable[[str], bool]
        ) -> Iterator[Any]:
            with engine.begin() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks"
                        " WHERE locktype = 'advisory' AND granted"
                        " AND database = (SELECT oid FROM pg_database"
                        " WHERE datname = current_database())"
                    )
                )
            yield from super().list_pages(bucket, split_points, *more)

    bucket.user("1.csv")
    manager = DataManager(settings, store=CutOff(settings))
    with pytest.raises(DatabaseUnavailable):
        manager.run(Trigger.CLI)
    assert not is_true(engine, "SELECT EXISTS (SELECT FROM users)")
    assert DataManager(settings).run(Trigger.CLI).counts.users_live == 1
    assert is_true(engine, "SELECT state = 'failed' FROM run WHERE id = 1")


def test_unavailable_store_fails_the_run_in_time(
    settings: Settings, engine: Engine, bucket: TestBucket, manager: DataManager
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    down = settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    with pytest.raises(ObjectStoreUnavailable, match=r"127\.0\.0\.1:9"):
        DataManager(down).run(Trigger.CLI)
    assert is_true(
        engine,
        "SELECT state = 'failed' AND error->>'code' = 'ObjectStoreUnavailable'"
        " FROM run ORDER BY id DESC LIMIT 1",
    )
    assert is_true(engine, "SELECT count(*) = 1 FROM users")


class Unexpected(ObjectStore):
    """An unexpected failure."""

    def list_pages(self, *_: object) -> NoReturn:
        raise ValueError("The store at http://127.0.0.1:9 is odd.")


@pytest.mark.parametrize(
    ("odd", "store", "code"),
    [
        ({"s3_endpoint": "http://127.0.0.1:9"}, ObjectStore, "ObjectStoreUnavailable"),
        ({"s3_secret_key": SecretStr("not the secret key")}, ObjectStore, "ConfigurationError"),
        ({}, Unexpected, "Bug"),
    ],
    ids=["down", "refused", "bug"],
)
def test_failed_run_shows_readers_no_address(
    odd: dict[str, object],
    store: type[ObjectStore],
    code: str,
    settings: Settings,
    bucket: TestBucket,
):
    bucket.user("1.csv")
    settings = settings.model_copy(update=odd)
    with pytest.raises((EtlError, ValueError), match=r"127\.0\.0\.1"):
        DataManager(settings, store=store(settings)).run(Trigger.CLI)
    run = create_app(settings).test_client().get("/runs/1")
    assert run.get_json()["error"]["code"] == code
    assert "127.0.0.1" not in run.text


def test_store_outage_after_commit_only_delays_publishing(
    settings: Settings, engine: Engine, bucket: TestBucket
):
    class GoesDown(ObjectStore):
        def put_stream(self, *_: object) -> None:
            raise ObjectStoreUnavailable("The store went down.")

    bucket.user("1.csv")
    report = DataManager(settings, store=GoesDown(settings)).run(Trigger.CLI)
    assert report.state is RunState.SUCCEEDED
    assert report.published_at is None
    assert report.error is not None
    assert report.error["code"] == "ObjectStoreUnavailable"
    assert is_true(engine, "SELECT count(*) = 1 FROM users")

    report = DataManager(settings).run(Trigger.CLI)
    assert report.counts.objects_changed == 0
    assert verify(settings, engine) == []
    assert not is_true(engine, "SELECT EXISTS (SELECT FROM run WHERE publish_pending)")


def test_unavailable_database_is_an_error_in_time(settings: Settings):
    down = Settings(
        _env_file=None,
        **settings.model_dump(exclude={"database_url"}),
        database_url="postgresql://u:secret@127.0.0.1:9/d",
    )
    with pytest.raises(DatabaseUnavailable) as caught:
        DataManager(down).run(Trigger.CLI)
    assert "secret" not in str(caught.value)
