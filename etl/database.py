"""PostgreSQL at the edge: engines, the run lock, migrations, and its errors as ours."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from etl.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    ImagesInHand,
    RunAlreadyActive,
    RunRefused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from etl.settings import Settings

CONNECT_TIMEOUT_SECONDS = 5
RUN_LOCK = 7_282_018_361  # any number will do, as long as every version keeps it
MIGRATION_LOCK = RUN_LOCK + 1
IMAGE_LOCK = RUN_LOCK + 2
ANNOUNCE_LOCK = RUN_LOCK + 3
LOCK_POLL_SECONDS = 0.2
CLIENT_CHECK_SECONDS = 5

# SQLSTATE classes and codes in which the same call may work later.
_PASSING = ("08", "53", "57P", "55P03", "40001", "40P01")


def connect(
    settings: Settings,
    *,
    statement_timeout_seconds: float | None = None,
    idle_timeout_seconds: float | None = None,
    pool_size: int = 5,
) -> Engine:
    """An engine whose connections speak UTC, give up connecting in 5 s and notice a dead peer.

    At most `pool_size` connections; who finds none free within 5 s gets DatabaseUnavailable.
    PostgreSQL ends a statement, or a transaction that sits idle, when its limit is over.

    Raises:  ConfigurationError when DATABASE_URL is missing or no PostgreSQL URL.
    """
    limits = {
        "statement_timeout": statement_timeout_seconds,
        "idle_in_transaction_session_timeout": idle_timeout_seconds,
    }
    return create_engine(
        make_url(settings.sqlalchemy_url),
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        connect_args=_connect_args(limits),
    )


def connect_unpooled(settings: Settings) -> Engine:
    """An engine whose connections are really closed when given back, locks and all."""
    return create_engine(
        make_url(settings.sqlalchemy_url),
        poolclass=NullPool,
        connect_args=_connect_args({}),
    )


def _connect_args(limits: Mapping[str, float | None]) -> dict[str, object]:
    options = "-c timezone=UTC"
    for name, seconds in limits.items():
        if seconds is not None:
            options += f" -c {name}={int(seconds * 1000)}"
    return {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "options": options,
        "application_name": "bucketline",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }


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
        if not is_outage(cause):
            raise
        raise DatabaseUnavailable(
            f"PostgreSQL is not available: {_first_line(cause)}",
            told="PostgreSQL is not available.",
        ) from error


def is_outage(error: BaseException | None) -> bool:
    """Whether the driver's error is the database's absence rather than a statement's fault."""
    state = getattr(error, "pgcode", None)
    if state is None:  # no answer was heard
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return str(state).startswith(_PASSING)


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


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

    Raises:  ImagesInHand when it is still held after `wait_seconds`; DatabaseUnavailable.
    """
    with translating(), engine.connect() as connection:
        busy = ImagesInHand("Another process is looking after the images.")
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
    """Bring the tables to the newest version; harmless when they are, safe at the same time.

    Raises:  DatabaseUnavailable; ConfigurationError when the tables are from a newer version.
    """
    with translating(), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        config = _alembic()
        _refuse_newer(connection, config)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check_migrated(engine: Engine) -> None:
    """Make sure the tables are there, and of this version.

    Raises:  ConfigurationError when they are not; DatabaseUnavailable.
    """
    with translating(), engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    newest = ScriptDirectory.from_config(_alembic()).get_current_head()
    if current != newest:
        raise ConfigurationError(
            f"The tables in DATABASE_URL are at version {current or 'none'}, not {newest}.",
            hint="Run `./run.sh migrate`.",
        )


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _refuse_newer(connection: Connection, config: Config) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise ConfigurationError(
            f"The tables are at version {current}, which this Bucketline does not know.",
            hint="They were made by a newer one: update Bucketline, or use another DATABASE_URL.",
        )
