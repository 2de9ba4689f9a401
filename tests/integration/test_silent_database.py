"""A PostgreSQL that falls silent while statements run: clients are not kept waiting for it."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, make_url, text

from api import create_app
from api.state.services import Timeouts
from etl.db import connection as connections
from etl.db import deadlines
from etl.db import engine as engines
from etl.db.engine import connect, translating
from etl.model.errors import DatabaseUnavailable
from etl.settings import Settings
from tests.conftest import wait_until
from tests.gates import Gate, gated
from tests.processes import ROOT, environment

WITHIN_SECONDS = 6  # far below the limits of a statement, and above those below on a busy machine


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(deadlines, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(engines, "CONNECT_TIMEOUT_SECONDS", 0.5)


@pytest.fixture
def through(settings: Settings) -> Iterator[tuple[Gate, Settings]]:
    with gated(settings, connect_timeout="2") as made:
        yield made


@contextmanager
def locked(engine: Engine, *tables: str) -> Iterator[None]:
    """Let statements on the tables wait while the block runs."""
    with engine.begin() as connection:
        connection.execute(text(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE"))
        yield


def waits(engine: Engine) -> bool:
    """Whether a statement waits for a lock."""
    query = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
    with engine.connect() as connection:
        found = connection.scalar(
            text(f"{query} WHERE NOT granted AND datname = current_database()")
        )
    return bool(found)


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", "/data", 503),
        ("GET", "/data?limit=1", 503),
        ("GET", "/data/1", 503),
        ("POST", "/data?wait=30", 503),
        ("GET", "/runs", 503),
        ("GET", "/stats", 503),
        ("GET", "/datasets/users/rows", 503),
        ("GET", "/ui/", 503),
        ("GET", "/metrics", 200),
    ],
)
def test_request_whose_statement_gets_no_response_is_answered_soon(
    through: tuple[Gate, Settings], engine: Engine, method: str, url: str, status: int
):
    gate, settings = through
    app = create_app(settings, timeouts=Timeouts(metrics=0.5, probe=0.5))
    tables = ("users", "run", "dataset_tally", "statistics")
    with ThreadPoolExecutor(1) as thread, locked(engine, *tables):
        asked = thread.submit(lambda: app.test_client().open(url, method=method))
        wait_until(lambda: waits(engine))
        with gate.stalled():
            began = time.monotonic()
            response = asked.result()
            assert time.monotonic() - began < WITHIN_SECONDS
    assert response.status_code == status
    app.extensions["bucketline"].engine.dispose()


def test_metrics_do_not_wait_for_a_slow_statement(settings: Settings, engine: Engine):
    app = create_app(settings, timeouts=Timeouts(metrics=0.2, statement=10))
    with locked(engine, "run"):
        began = time.monotonic()
        response = app.test_client().get("/metrics")
        assert time.monotonic() - began < WITHIN_SECONDS
    assert "bucketline_database_up 0\n" in response.text
    assert "bucketline_store_up 1\n" in response.text
    app.extensions["bucketline"].engine.dispose()


def test_storage_health_does_not_wait_for_a_silent_database(through: tuple[Gate, Settings]):
    gate, settings = through
    app = create_app(settings, timeouts=Timeouts(probe=0.5))
    client = app.test_client()
    assert client.get("/storage/health").status_code == 200
    app.extensions["bucketline"].sources.forget()
    with gate.stalled():
        began = time.monotonic()
        response = client.get("/storage/health")
        assert time.monotonic() - began < 2
    assert response.get_json()["database"]["status"] == "down"
    assert list(response.get_json()["buckets"]) == list(settings.buckets)
    app.extensions["bucketline"].engine.dispose()


@contextmanager
def limited(settings: Settings) -> Iterator[Engine]:
    engine = connect(settings, statement_timeout_seconds=30)
    yield engine
    engine.dispose()


def test_slow_statement_of_a_server_that_responds_is_not_ended(settings: Settings):
    with limited(settings) as engine, translating(), engine.connect() as connection:
        assert connection.scalar(text("SELECT 1 FROM pg_sleep(2)")) == 1


def test_server_that_refuses_further_connections_responds(admin: Engine, settings: Settings):
    role = f"role_{uuid.uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'secret' CONNECTION LIMIT 1"))
    url = make_url(settings.sqlalchemy_url).set(
        drivername="postgresql", username=role, password="secret"
    )
    shown = SecretStr(url.render_as_string(hide_password=False))
    own = settings.model_copy(update={"database_url": shown})
    with limited(own) as engine, translating(), engine.connect() as connection:
        assert connection.scalar(text("SELECT 1 FROM pg_sleep(2)")) == 1
    with admin.connect() as connection:
        connection.execute(text(f"DROP ROLE {role}"))


def test_page_of_a_cursor_without_a_response_is_an_outage(through: tuple[Gate, Settings]):
    gate, settings = through
    rows = text("SELECT n, pg_sleep(n / 10) FROM generate_series(1, 200) n")
    with limited(settings) as engine, engine.connect() as connection:
        found = connection.execute(rows.execution_options(yield_per=5))
        next(found)
        with gate.stalled(), pytest.raises(DatabaseUnavailable, match="not respond"), translating():
            found.all()


CLOSING = """
import threading, time
from contextlib import contextmanager
from etl.db import deadlines
from etl.db.copy_stream import CopyStream
from etl.db.engine import connect, driver
from etl.settings import Settings

deadlines.CANCEL_SECONDS = 0.5
engine = connect(Settings(_env_file=None))

def copy(connection, sink):
    with driver(connection).cursor() as cursor:
        cursor.copy_expert("COPY (SELECT pg_sleep(600)) TO STDOUT", sink)

copied = CopyStream(engine.connect, copy)
copied.wait(1)
pauses, ended = [], threading.Event()

def count():
    while not ended.is_set():
        began = time.monotonic()
        time.sleep(0.01)
        pauses.append(time.monotonic() - began)

print("copying", flush=True)
input()
threading.Thread(target=count).start()
copied.close()
ended.set()
print(max(pauses) < 0.4)
"""


def test_copy_is_closed_in_time_and_stops_no_other_thread(through: tuple[Gate, Settings]):
    """In a process of its own, because the driver's way to cancel stops all threads."""
    gate, settings = through
    process = subprocess.Popen(
        [sys.executable, "-c", CLOSING],
        cwd=ROOT,
        env=environment(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "copying\n"
            with gate.stalled():
                answer, _ = process.communicate("\n", timeout=20)
        finally:
            process.kill()
    assert answer == "True\n"
