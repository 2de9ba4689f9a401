"""PostgreSQL at the edge: engines, the run lock, migrations, and its errors as ours."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from etl.db import schema
from etl.db.connection import (
    CONNECT_TIMEOUT_SECONDS,
    FORBIDDEN,
    HOST_ADVICE,
    UNDEFINED,
    UNKNOWN_HOST,
    Opener,
    first_line,
    missing_right,
)
from etl.model.errors import DatabaseUnavailable, ImageWorkerBusy, RunAlreadyActive, RunRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import ExceptionContext

    from etl.settings import Settings

RUN_LOCK = 7_282_018_361  # any number will do, as long as every version keeps it
MIGRATION_LOCK = RUN_LOCK + 1
IMAGE_LOCK = RUN_LOCK + 2
ANNOUNCE_LOCK = RUN_LOCK + 3
LOCK_POLL_SECONDS = 0.2
CLIENT_CHECK_SECONDS = 5

# SQLSTATE classes and codes in which the same call may work later; 25006 is a server that became a
# replica.
_PASSING = ("08", "25006", "53", "57P", "55P03", "40001", "40P01")
_OPENER = "bucketline_opener"


def connect(
    settings: Settings,
    *,
    statement_timeout_seconds: float | None = None,
    idle_timeout_seconds: float | None = None,
    pool_size: int = 5,
    checks_schema: bool = False,
) -> Engine:
    """An engine whose connections speak UTC, give up connecting in 5 s and notice a dead peer.

    At most `pool_size` connections; DatabaseUnavailable if none is free within 5 s.
    PostgreSQL ends a statement, or a transaction that sits idle, when its limit is over. With
    `checks_schema`, tables of another version are NewerSchema or OlderSchema.

    Raises:  ConfigurationError when DATABASE_URL is missing or no PostgreSQL URL.
    """
    limits = {
        "statement_timeout": statement_timeout_seconds,
        "idle_in_transaction_session_timeout": idle_timeout_seconds,
    }
    opener = Opener.of(settings, limits=limits, checks_schema=checks_schema)
    engine = create_engine(
        opener.url,
        creator=opener.open,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
    )
    return _watching(engine, opener)


def connect_unpooled(settings: Settings) -> Engine:
    """An engine whose connections are closed when returned, which releases their locks.

    Tables of another version are NewerSchema or OlderSchema.
    """
    opener = Opener.of(settings, checks_schema=True)
    engine = create_engine(opener.url, creator=opener.open, poolclass=NullPool)
    return _watching(engine, opener)


def _watching(engine: Engine, opener: Opener) -> Engine:
    """The engine; where it checks the schema, a table that is missing leads to another check."""
    engine.update_execution_options(**{_OPENER: opener})
    if opener.checks_schema:

        @event.listens_for(engine, "handle_error")
        def on_error(context: ExceptionContext) -> None:
            check_after(engine, context.original_exception)

    return engine


def check_after(engine: Engine, error: BaseException | None) -> None:
    """Compare versions after an error that a migration by another version would have caused.

    Raises:  NewerSchema or OlderSchema, on an engine that checks the schema; DatabaseUnavailable.
    """
    opener: Opener = engine.get_execution_options()[_OPENER]
    if opener.checks_schema and getattr(error, "pgcode", None) in UNDEFINED:
        with translating():
            opener.check()


@contextmanager
def translating() -> Iterator[None]:
    """Turn an outage of PostgreSQL inside the block into DatabaseUnavailable.

    SQLAlchemy's errors and, from COPY and LISTEN, the driver's own. A fault of a statement
    of ours passes through: it is a bug and should look like one.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailable("No database connection came free in time.") from error
    except (DBAPIError, psycopg2.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if getattr(cause, "pgcode", None) == FORBIDDEN:
            raise missing_right(cause) from error
        if not is_outage(cause):
            raise
        raise DatabaseUnavailable(
            f"PostgreSQL is not available: {first_line(cause)}",
            hint=HOST_ADVICE if UNKNOWN_HOST in str(cause) else None,
            public_message="PostgreSQL is not available.",
        ) from error


def is_outage(error: BaseException | None) -> bool:
    """Whether the driver's error is the database's absence rather than a statement's fault."""
    state = getattr(error, "pgcode", None)
    if state is None:  # no answer was heard
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return str(state).startswith(_PASSING)


def driver(connection: Connection) -> Any:  # noqa: ANN401 - psycopg2 has no types
    """The psycopg2 connection underneath, for COPY and LISTEN."""
    return connection.connection.driver_connection


@contextmanager
def run_lock(engine: Engine, *, wait_seconds: float = 0) -> Iterator[Connection]:
    """Hold the run lock, over all hosts; yield the connection whose end frees it.

    Whatever a run writes goes over this very connection: a run that lost its lock cannot
    commit. `engine` must be unpooled, so that the lock goes when the block ends.

    Raises:  RunAlreadyActive when it is still held after `wait_seconds`; DatabaseUnavailable.
    """
    with translating(), engine.connect() as connection:
        _have_it_look_for_us(connection)
        _take(connection, RUN_LOCK, wait_seconds, RunAlreadyActive("Another run is active."))
        yield connection
        # PostgreSQL takes a moment to notice a closed connection, and the next run may be at hand.
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": RUN_LOCK})
        connection.commit()


@contextmanager
def image_lock(engine: Engine, *, wait_seconds: float = 0) -> Iterator[Connection]:
    """Be the only one, over all hosts, that looks after images; otherwise as `run_lock`.

    Raises:  ImageWorkerBusy when it is still held after `wait_seconds`; DatabaseUnavailable.
    """
    with translating(), engine.connect() as connection:
        busy = ImageWorkerBusy("Another process is looking after the images.")
        _take(connection, IMAGE_LOCK, wait_seconds, busy)
        yield connection


def _have_it_look_for_us(connection: Connection) -> None:
    """Let PostgreSQL 14 and later give up a statement, and its locks, when we have died.

    Else it would notice at the statement's end, which may be minutes away.
    """
    connection.execute(
        text(
            "SELECT set_config('client_connection_check_interval', :interval, false)"
            " WHERE CAST(current_setting('server_version_num') AS integer) >= 140000"
        ),
        {"interval": f"{CLIENT_CHECK_SECONDS}s"},
    )
    connection.commit()


def _take(connection: Connection, lock: int, wait_seconds: float, refusal: RunRefused) -> None:
    deadline = time.monotonic() + wait_seconds
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": lock}):
        connection.rollback()
        if not time.monotonic() < deadline:  # also when it is no number
            raise refusal
        time.sleep(LOCK_POLL_SECONDS)
    connection.commit()


def migrate(engine: Engine) -> None:
    """Migrate the tables to the newest version; idempotent, and safe to run concurrently.

    Raises:  DatabaseUnavailable; ConfigurationError when it cannot be done, and nothing was.
    """
    with translating(), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        schema.upgrade(connection)


def check_migrated(engine: Engine) -> None:
    """Make sure the tables are there, and of this version.

    Raises:  NewerSchema or OlderSchema when they are not; DatabaseUnavailable.
    """
    with translating(), engine.connect() as connection:
        schema.check(schema.versions(connection))
