"""A PostgreSQL that stands still, as on a paused machine: no statement waits for it forever."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, text

from etl.db import engine as engines
from etl.db.engine import connect, driver, translating
from etl.model.errors import DatabaseUnavailable
from etl.settings import Settings


@pytest.fixture
def limited(settings: Settings) -> Iterator[Engine]:
    engine = connect(settings, statement_timeout_seconds=30)
    yield engine
    engine.dispose()


def server_process(connection: Connection) -> int:
    return int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)


@contextmanager
def standing_still(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@contextmanager
def unanswered(connection: Connection) -> Iterator[None]:
    process = server_process(connection)
    driver(connection).response_seconds = 0.2
    with standing_still(process):
        yield


def test_statement_without_a_response_is_an_outage(limited: Engine):
    with (
        pytest.raises(DatabaseUnavailable, match=r"no response within 0\.2 s"),
        translating(),
        limited.connect() as connection,
        unanswered(connection),
    ):
        connection.execute(text("SELECT 1"))


def test_commit_without_a_response_is_an_outage(limited: Engine):
    with (
        pytest.raises(DatabaseUnavailable, match=r"no response within 0\.2 s"),
        translating(),
        limited.connect() as connection,
        unanswered(connection),
    ):
        connection.commit()


def test_idle_connection_without_a_response_is_replaced(
    limited: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engines, "CONNECT_TIMEOUT_SECONDS", 0.2)
    with limited.connect() as connection:
        before = server_process(connection)
    with standing_still(before), limited.connect() as connection:
        assert server_process(connection) != before
        assert driver(connection).response_seconds == 35


def test_deadline_of_one_connection_leaves_the_others_alone(limited: Engine):
    with limited.connect() as one, limited.connect() as other:
        late = threading.Thread(target=other.execute, args=[text("SELECT pg_sleep(1)")])
        late.start()
        with (
            pytest.raises(DatabaseUnavailable),
            translating(),
            unanswered(one),
        ):
            one.execute(text("SELECT 1"))
        late.join()
        assert other.scalar(text("SELECT 1")) == 1
