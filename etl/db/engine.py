"""PostgreSQL access: engines, migrations, and the translation of its errors."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from etl.db import schema
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
    OlderSchema,
    RightMissing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

    from etl.settings import Settings

# SQLSTATE classes and codes after which the same call may succeed later; 25006: the server became a
# replica.
_TRANSIENT = ("08", "25006", "53", "57P", "55P03", "40001", "40P01")
_OPENER = "bucketline_opener"


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
    opener = opener_of(engine)
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


def migrate(engine: Engine) -> None:
    """Migrate the tables to the newest version; idempotent, and safe to run concurrently.

    Raises:  DatabaseUnavailable; ConfigurationError when it is impossible, and nothing changed.
    """
    if _is_current(engine):
        return
    from etl.db.upgrade import upgrade

    opener = opener_of(engine)
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
    opener = opener_of(engine)
    try:
        with translating():
            replace(opener, checks_schema=True).check()
    except (OlderSchema, RightMissing):
        return False
    return True


def source_bucket_of(engine: Engine) -> str:
    """SOURCE_BUCKET of the settings that the engine was made with."""
    opener = opener_of(engine)
    return opener.source_bucket


def schemas_of(engine: Engine) -> schema.Schemas:
    """The schemas of the tables that an engine from `connect` or `connect_unpooled` uses."""
    opener = opener_of(engine)
    return opener.schemas


def opener_of(engine: Engine) -> Opener:
    """What opens the connections of an engine."""
    opener: Opener = engine.get_execution_options()[_OPENER]
    return opener
