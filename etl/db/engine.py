"""PostgreSQL access: engines, locks, migrations, and the translation of its errors."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from etl.db import schema
from etl.db.bundling import ALONE
from etl.db.connection import (
    CONNECT_TIMEOUT_SECONDS,
    FORBIDDEN,
    HOST_HINT,
    UNDEFINED,
    UNKNOWN_HOST,
    Opener,
    first_line,
    missing_right,
)
from etl.db.identifiers import quoted
from etl.db.names import Lock, NotifyChannel, channel_name, lock_key, scheduler_key
from etl.model.errors import (
    DatabaseUnavailable,
    ImageWorkerBusy,
    OlderSchema,
    RightMissing,
    RunAlreadyActive,
    RunRefused,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

    from etl.settings import Settings

LOCK_POLL_SECONDS = 0.2
CLIENT_CHECK_SECONDS = 5
LOCK_TIMEOUT_SECONDS = 30  # how long a run waits for a table or row that another session locked

# SQLSTATE classes and codes after which the same call may succeed later; 25006: the server became a
# replica.
_TRANSIENT = ("08", "25006", "53", "57P", "55P03", "40001", "40P01")
_OPENER = "bucketline_opener"

# Limits the waits for locks, and lets statements end if their client dies. Without this check,
# which PostgreSQL 14 and later have, a statement and its locks outlive the client.
_LIMIT_WAITS = (
    "SELECT set_config('lock_timeout', :timeout, false) UNION ALL"
    " SELECT set_config('client_connection_check_interval', :interval, false)"
    " WHERE CAST(current_setting('server_version_num') AS integer) >= 140000"
)


def connect(
    settings: Settings,
    *,
    statement_timeout_seconds: float | None = None,
    idle_timeout_seconds: float | None = None,
    pool_size: int = 5,
    checks_schema: bool = False,
) -> Engine:
    """An engine whose connections use UTC, time out after 5 s and detect a dead peer.

    It has at most `pool_size` connections; DatabaseUnavailable if none is free within 5 s.
    PostgreSQL cancels a statement, or an idle transaction, after its timeout. With
    `checks_schema`, tables of another version raise NewerSchema or OlderSchema.

    Raises:  ConfigurationError when DATABASE_URL is missing or not a PostgreSQL URL.
    """
    limits = {
        "statement_timeout": statement_timeout_seconds,
        "idle_in_transaction_session_timeout": idle_timeout_seconds,
    }
    opener = Opener.of(settings, limits=limits, checks_schema=checks_schema)
    engine = create_engine(
        opener.url,
        creator=opener.open,
        use_native_hstore=False,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
    )
    _limit_pings(engine, opener)
    return _with_schema_check(engine, opener)


def _limit_pings(engine: Engine, opener: Opener) -> None:
    """Let the check of an idle connection, before its next use, take no longer than connecting."""

    @event.listens_for(engine, "checkin")
    def on_return(connection: Any, _record: object) -> None:  # noqa: ANN401
        if connection is not None:  # as it is after an error
            connection.response_seconds = CONNECT_TIMEOUT_SECONDS

    @event.listens_for(engine, "checkout")
    def on_use(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401
        connection.response_seconds = opener.response_seconds


def connect_unpooled(settings: Settings) -> Engine:
    """An engine whose connections are closed when returned, which releases their locks.

    Tables of another version raise NewerSchema or OlderSchema.
    """
    opener = Opener.of(settings, checks_schema=True)
    engine = create_engine(
        opener.url, creator=opener.open, use_native_hstore=False, poolclass=NullPool
    )
    return _with_schema_check(engine, opener)


def connect_keeping_one(settings: Settings) -> Engine:
    """As `connect_unpooled`, but one connection stays open and is set up again for the next use.

    Returning it releases its locks and drops its temporary tables. PostgreSQL reads its catalogs
    once per connection, which takes longer than many a run. `run_lock` compares versions, and
    connects again if the connection was lost.
    """
    opener = Opener.of(settings, checks_schema=True)
    engine = create_engine(
        opener.url,
        creator=opener.open,
        use_native_hstore=False,
        pool_size=1,
        max_overflow=-1,
        pool_reset_on_return=None,
    )

    @event.listens_for(engine, "reset")
    def on_return(connection: Any, record: ConnectionPoolEntry, _state: object) -> None:  # noqa: ANN401
        try:
            opener.reset(connection)
        except psycopg2.Error:  # it is lost; the pool would log a traceback
            record.invalidate()

    @event.listens_for(engine, "checkout")
    def on_use(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:  # noqa: ANN401
        if record.info.get("was_used"):
            opener.set_up_later(connection)
        record.info["was_used"] = True

    return _with_schema_check(engine, opener)


def _with_schema_check(engine: Engine, opener: Opener) -> Engine:
    """The engine; if it checks the schema, a missing table triggers another check."""
    engine.update_execution_options(**{_OPENER: opener})
    if opener.checks_schema:

        @event.listens_for(engine, "handle_error")
        def on_error(context: ExceptionContext) -> None:
            check_after(engine, context.original_exception)

    return engine


def check_after(engine: Engine, error: BaseException | None) -> None:
    """Compare versions after an error that a migration by another version may have caused.

    Raises:  NewerSchema or OlderSchema, on an engine that checks the schema; DatabaseUnavailable.
    """
    opener: Opener = engine.get_execution_options()[_OPENER]
    if opener.checks_schema and getattr(error, "pgcode", None) in UNDEFINED:
        with translating():
            opener.check()


@contextmanager
def translating() -> Iterator[None]:
    """Turn an outage of PostgreSQL inside the block into DatabaseUnavailable.

    The block may raise SQLAlchemy's errors or, from COPY and LISTEN, the driver's. Other
    errors of a statement pass through, because they are bugs.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailable("No database connection became free in time.") from error
    except (DBAPIError, psycopg2.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if getattr(cause, "pgcode", None) == FORBIDDEN:
            raise missing_right(cause) from error
        if not is_outage(cause):
            raise
        raise DatabaseUnavailable(
            f"PostgreSQL is not available: {first_line(cause)}",
            hint=HOST_HINT if UNKNOWN_HOST in str(cause) else None,
            public_message="PostgreSQL is not available.",
        ) from error


def is_outage(error: BaseException | None) -> bool:
    """Whether the driver's error means that the database is unavailable, not a faulty statement."""
    state = getattr(error, "pgcode", None)
    if state is None:  # the server did not answer; psycopg2 does not always say how
        is_unclear = type(error) is psycopg2.DatabaseError
        return is_unclear or isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return str(state).startswith(_TRANSIENT)


def driver(connection: Connection) -> Any:  # noqa: ANN401 - psycopg2 has no types
    """The underlying psycopg2 connection, for COPY and LISTEN."""
    return connection.connection.driver_connection


def channel_of(connection: Connection, channel: NotifyChannel) -> str:
    """The name of a channel in the installation that the connection belongs to."""
    return channel_name(channel, schemas_of(connection.engine).state)


def notify(connection: Connection, channel: NotifyChannel) -> None:
    """Wake the processes that listen to the channel, once the transaction commits."""
    connection.execute(
        text("SELECT pg_notify(:channel, '')"), {"channel": channel_of(connection, channel)}
    )


def listen(connection: Connection, channel: NotifyChannel) -> None:
    """Receive the notifications of the channel on this connection."""
    connection.execute(text(f"LISTEN {quoted(channel_of(connection, channel))}"))


def show_scheduler(connection: Connection) -> None:
    """Let others see that a scheduler is up, for as long as this connection is open."""
    key = scheduler_key(schemas_of(connection.engine).state)
    connection.execute(text("SELECT pg_advisory_lock_shared(:key)"), {"key": key})


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
    opened, opener = driver(connection), connection.get_execution_options()[_OPENER]
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
    """Try to take a lock that is taken until the time is over."""
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:  # never when it is NaN
        time.sleep(LOCK_POLL_SECONDS)
        if lock():
            return
    raise refusal


def migrate(engine: Engine) -> None:
    """Migrate the tables to the newest version; idempotent, and safe to run concurrently.

    Raises:  DatabaseUnavailable; ConfigurationError when it is impossible, and nothing changed.
    """
    if _is_current(engine):
        return
    from etl.db.upgrade import upgrade

    opener: Opener = engine.get_execution_options()[_OPENER]
    is_newest = False
    while not is_newest:
        with translating(), engine.begin() as connection:
            key = lock_key(Lock.MIGRATION, opener.schemas.state)
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": key})
            is_newest = upgrade(connection, opener.schemas, opener.source_bucket)


def check_migrated(engine: Engine) -> None:
    """Check that the tables exist and have this version.

    Raises:  NewerSchema or OlderSchema when they do not; DatabaseUnavailable.
    """
    if _is_current(engine):
        return
    with translating(), engine.connect() as connection:
        schema.check(schema.versions(connection, schemas_of(engine)))


def _is_current(engine: Engine) -> bool:
    """Whether the tables have the version of this program, checked in one round trip.

    If not, the caller checks in detail, also for tables of an earlier version in another schema.

    Raises:  NewerSchema; DatabaseUnavailable.
    """
    opener: Opener = engine.get_execution_options()[_OPENER]
    try:
        with translating():
            replace(opener, checks_schema=True).check()
    except (OlderSchema, RightMissing):
        return False
    return True


def source_bucket_of(engine: Engine) -> str:
    """SOURCE_BUCKET of the settings that the engine was made with."""
    opener: Opener = engine.get_execution_options()[_OPENER]
    return opener.source_bucket


def schemas_of(engine: Engine) -> schema.Schemas:
    """The schemas of the tables that an engine from `connect` or `connect_unpooled` uses."""
    opener: Opener = engine.get_execution_options()[_OPENER]
    return opener.schemas
