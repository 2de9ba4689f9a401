"""The locks of runs and of image processing, which one process at a time holds on all hosts."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, NullPool, text
from sqlalchemy.exc import DBAPIError

from etl.db import schema
from etl.db.bundling import ALONE
from etl.db.connection import CONNECT_TIMEOUT_SECONDS
from etl.db.engine import driver, opener_of, schemas_of, translating
from etl.db.names import Lock, lock_key
from etl.model.errors import DatabaseUnavailable, ImageWorkerBusy, RunAlreadyActive, RunRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

POLL_SECONDS = 0.2
CLIENT_CHECK_SECONDS = 5
LOCK_TIMEOUT_SECONDS = 30  # how long a run waits for a table or row that another session locked

# Limits the waits for locks, and lets statements end if their client dies. Without this check,
# which PostgreSQL 14 and later have, a statement and its locks outlive the client.
_LIMIT_WAITS = (
    "SELECT set_config('lock_timeout', :timeout, false) UNION ALL"
    " SELECT set_config('client_connection_check_interval', :interval, false)"
    " WHERE CAST(current_setting('server_version_num') AS integer) >= 140000"
)


@contextmanager
def run_lock(
    engine: Engine,
    *,
    wait_seconds: float = 0,
    client_check_seconds: float = CLIENT_CHECK_SECONDS,
) -> Iterator[Connection]:
    """Hold the run lock across all hosts; yield the connection that holds it.

    A run writes only through this connection, so a run that lost its lock cannot commit.
    `engine` must be from `connect_unpooled` or `connect_keeping_one`: returning the connection
    releases the lock, also after an error.

    Raises:  RunAlreadyActive when it is still held after `wait_seconds`; DatabaseUnavailable.
    """
    key = lock_key(Lock.RUN, schemas_of(engine).state)
    parameters = {
        "lock": key,
        "timeout": f"{LOCK_TIMEOUT_SECONDS}s",
        "interval": f"{client_check_seconds}s",
    }
    refusal = RunAlreadyActive("Another run is active.")
    with translating(), ExitStack() as opened:
        connection = opened.enter_context(engine.connect())
        try:
            is_locked = _try_run_lock(connection, parameters)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            opened.close()  # the connection was lost since it was last used
            connection = opened.enter_context(engine.connect())
            is_locked = _try_run_lock(connection, parameters)
        if not is_locked:
            _wait_for(partial(_try_run_lock, connection, parameters), wait_seconds, refusal)
        with _releasing(connection, key):
            yield connection


def _try_run_lock(connection: Connection, parameters: Mapping[str, object]) -> bool:
    """Take the run lock if it is free, and compare versions, in one round trip."""
    opened, opener = driver(connection), opener_of(connection.engine)
    find = f"ARRAY({opener.schemas.find_versions})"
    locking = f"SELECT pg_try_advisory_lock(:lock) AS is_locked, CAST({find} AS text[]) AS versions"
    opened.response_seconds = CONNECT_TIMEOUT_SECONDS  # it may have been idle for long
    found = connection.execute(text(f"{ALONE}{_LIMIT_WAITS}; {locking}"), parameters).one()
    opened.response_seconds = opener.response_seconds
    connection.commit()
    schema.check(found.versions)
    return bool(found.is_locked)


@contextmanager
def image_lock(engine: Engine, *, wait_seconds: float = 0) -> Iterator[Connection]:
    """Hold the lock for processing images across all hosts; otherwise as `run_lock`.

    Raises:  ImageWorkerBusy when it is still held after `wait_seconds`; DatabaseUnavailable.
    """
    with translating(), engine.connect() as connection:
        busy = ImageWorkerBusy("Another process is processing the images.")
        key = lock_key(Lock.IMAGES, schemas_of(engine).state)
        if not _try_image_lock(connection, key):
            _wait_for(partial(_try_image_lock, connection, key), wait_seconds, busy)
        with _releasing(connection, key):
            yield connection


@contextmanager
def _releasing(connection: Connection, key: int) -> Iterator[None]:
    """Release the lock at the end, also after an error unless it is one of the connection.

    PostgreSQL detects a closed connection with a delay, and the next run may start at once.
    Pooled connections release their locks when they are returned.
    """
    try:
        yield
    except (DBAPIError, DatabaseUnavailable):
        raise
    except Exception:
        with suppress(DBAPIError):
            _release(connection, key)
        raise
    _release(connection, key)


def _release(connection: Connection, key: int) -> None:
    connection.rollback()
    if isinstance(connection.engine.pool, NullPool):
        connection.execute(text(f"{ALONE}SELECT pg_advisory_unlock(:lock)"), {"lock": key})
        connection.commit()


def _try_image_lock(connection: Connection, key: int) -> bool:
    locking = text("SELECT pg_try_advisory_lock(:lock)")
    is_locked = bool(connection.scalar(locking, {"lock": key}))
    connection.commit()
    return is_locked


def _wait_for(lock: Callable[[], bool], wait_seconds: float, refusal: RunRefused) -> None:
    """Try to take a lock that is taken until the time is over.

    It is tried again and again: a statement that waits for a lock looks like a silent server.
    """
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:  # never when it is NaN
        time.sleep(POLL_SECONDS)
        if lock():
            return
    raise refusal
