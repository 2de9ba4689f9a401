"""Connections to PostgreSQL: opening, session settings, and the reasons for a refused login.

Every connection sets the settings that the environment, the role or the database may change, so
that all machines and roles store and show the same values.
"""

from __future__ import annotations

import ctypes
import re
import select
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import _psycopg, extensions, sql
from sqlalchemy import URL, make_url

from etl.db import schema
from etl.db.bundling import BundlingConnection
from etl.db.deadlines import Server
from etl.db.schema import Schemas
from etl.model.errors import LoginRefused, RightMissing
from etl.settings.database_url import URL_ESCAPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etl.settings import Settings

CONNECT_TIMEOUT_SECONDS = 5

_ARGUMENTS = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "application_name": "bucketline",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# The same for the server, by the names of its settings. Its kernel would otherwise keep the session
# of a vanished host for two hours, with the run lock and all other locks.
_SERVER_LIMITS = {
    "tcp_keepalives_idle": "keepalives_idle",
    "tcp_keepalives_interval": "keepalives_interval",
    "tcp_keepalives_count": "keepalives_count",
    "tcp_user_timeout": "tcp_user_timeout",
}
# Overrides PGCLIENTENCODING and the role's settings; psycopg2 reads it when it connects.
_ENCODING = {"client_encoding": "UTF8"}

# Set after connecting, because PGTZ and PGDATESTYLE override startup options, and because some
# connection poolers reject startup options. standard_conforming_strings is not set: psycopg2 quotes
# according to its value at connection time, and our statements have no backslash in a literal.
_SESSION = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "default_transaction_isolation": "read committed",
}

UNDEFINED_TABLE = "42P01"
UNDEFINED = (UNDEFINED_TABLE, "42703", "3F000")  # table, column, schema
FORBIDDEN = "42501"
LOCK_NOT_AVAILABLE = "55P03"

# SQLSTATE classes of connections that will be refused again: login, database, role or options. The
# others (too many connections, starting up, shutting down) are temporary.
_REFUSED = ("22", "28", "3D", "42")
# Refusals of the client library, which sends no SQLSTATE.
_REFUSED_LOCALLY = re.compile(
    r"does not support SSL|certificate|no password supplied|^(invalid|unrecognized) ", re.MULTILINE
)
_SQLSTATE = re.compile(r":  ([0-9A-Z]{5})\s*$", re.MULTILINE)
_ONLY_SQLSTATE = 3  # PQERRORS_SQLSTATE

_HINTS = {
    "28P01": f"Check the user and the password in DATABASE_URL; {URL_ESCAPES}.",
    "28000": "Check the user in DATABASE_URL: it must exist and have LOGIN, and pg_hba.conf"
    " must admit it from this machine.",
    "3D000": "Check the database name in DATABASE_URL, or create the database:"
    " `CREATE DATABASE {database} ENCODING 'UTF8' TEMPLATE template0`.",
    FORBIDDEN: "Grant it: `GRANT CONNECT ON DATABASE {database} TO {user}`.",
}
_OTHER_HINT = "Check the connection options in DATABASE_URL and PGOPTIONS."
_LOCAL_HINT = "Check the password, sslmode and certificates in DATABASE_URL."
UNKNOWN_HOST = "could not translate host name"
HOST_HINT = f"Check the host in DATABASE_URL; {URL_ESCAPES}."


@dataclass(frozen=True)
class Opener:
    """Opens connections to the database in DATABASE_URL.

    `limits` are settings in seconds, such as statement_timeout. With `checks_schema`, opening
    fails unless the tables have the version that this program requires.
    """

    url: URL = field(repr=False)
    schemas: Schemas
    source_bucket: str
    limits: Mapping[str, float | None] = field(default_factory=dict)
    checks_schema: bool = False

    @classmethod
    def of(cls, settings: Settings, **given: Any) -> Opener:  # noqa: ANN401 - its fields
        """The opener for these settings.

        Raises:  ConfigurationError when DATABASE_URL is missing or not a PostgreSQL URL.
        """
        return cls(
            make_url(settings.sqlalchemy_url), Schemas.of(settings), settings.source_bucket, **given
        )

    def open(self) -> Any:  # noqa: ANN401 - psycopg2 has no types
        """A connection with its session settings.

        Raises:  LoginRefused; NewerSchema and OlderSchema with `checks_schema`; the driver's
                 error when PostgreSQL does not answer.
        """
        connection = self._connect()
        try:
            self.set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def check(self) -> None:
        """Compare the version of the tables again, over a separate connection.

        Raises:  as `open`.
        """
        self.open().close()

    def set_up(self, connection: Any) -> None:  # noqa: ANN401 - psycopg2 has no types
        """Set the session and check the version of the tables, in one round trip.

        Raises:  as `open`.
        """
        connection.response_seconds = CONNECT_TIMEOUT_SECONDS
        connection.server = self.server
        connection.autocommit = True
        with connection.cursor() as cursor:
            if self.checks_schema:
                schema.check(self._versions(cursor))
            else:
                cursor.execute(self._settings(cursor))
        connection.autocommit = False
        connection.response_seconds = self.response_seconds

    def set_up_later(self, connection: Any) -> None:  # noqa: ANN401 - psycopg2 has no types
        """Set the session with the next statement, which has to check the version of the tables."""
        with connection.cursor() as cursor:
            connection.set_session_later(self._settings(cursor).encode())

    @property
    def response_seconds(self) -> float | None:
        """How long to wait for a response: longer than PostgreSQL's own limit, if there is one."""
        limit = self.limits.get("statement_timeout")
        return None if limit is None else limit + CONNECT_TIMEOUT_SECONDS

    @cached_property
    def server(self) -> Server | None:
        """What ends statements when PostgreSQL is silent; only for those with a time limit."""
        return None if self.response_seconds is None else Server(self._responds)

    @staticmethod
    def reset(connection: Any) -> None:  # noqa: ANN401 - psycopg2 has no types
        """Release the locks of the session, and drop its temporary tables and settings.

        Raises:  the driver's error when PostgreSQL does not answer.
        """
        if connection.closed:
            return
        connection.rollback()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("DISCARD ALL")
        connection.autocommit = False

    # -- connecting

    def _connect(self) -> Any:  # noqa: ANN401 - psycopg2 has no types
        dsn, arguments = self._arguments
        started = time.monotonic()
        try:
            return psycopg2.connect(*dsn, **arguments, connection_factory=BundlingConnection)
        except psycopg2.OperationalError as error:
            if time.monotonic() - started < CONNECT_TIMEOUT_SECONDS:
                self._refuse(error, dsn, arguments)
            raise

    @cached_property
    def _arguments(self) -> tuple[Any, dict[str, Any]]:
        """The arguments for the driver; options in the URL override the defaults."""
        dsn, given = self.url.get_dialect()().create_connect_args(self.url)
        return dsn, {**_ARGUMENTS, **given, **_ENCODING}

    def _responds(self) -> bool:
        """Whether PostgreSQL responds to a new connection in time, if only with a refusal."""
        return _sqlstates(*self._arguments) is not None

    def _refuse(self, error: psycopg2.OperationalError, dsn: Any, arguments: Any) -> None:  # noqa: ANN401
        """Raise LoginRefused if the next attempt would fail the same way."""
        if _REFUSED_LOCALLY.search(str(error)):
            raise self._refused(error, _LOCAL_HINT) from error
        states = _sqlstates(dsn, arguments)
        if states and all(state.startswith(_REFUSED) for state in states):
            raise self._refused(error, _HINTS.get(states[-1], _OTHER_HINT)) from error

    def _refused(self, error: BaseException, hint: str) -> LoginRefused:
        names = {
            "database": f'"{self.url.database or self.url.username}"',
            "user": f'"{self.url.username}"',
        }
        return LoginRefused(
            f"PostgreSQL refused the connection: {last_line(error)}.",
            hint=hint.format(**names),
            public_message="PostgreSQL refused the connection.",
        )

    # -- the session

    def _versions(self, cursor: Any) -> list[str]:  # noqa: ANN401 - psycopg2 has no types
        """The versions in `alembic_version`; none if that table is missing."""
        try:
            cursor.execute(f"{self._settings(cursor)}; {self.schemas.find_versions}")
        except psycopg2.Error as error:
            if error.pgcode == FORBIDDEN:
                raise missing_right(error) from error
            if error.pgcode in UNDEFINED:
                return []
            raise
        return [version for (version,) in cursor.fetchall()]

    def _settings(self, cursor: Any) -> str:  # noqa: ANN401 - psycopg2 has no types
        """The settings in a separate transaction, because a later statement may fail."""
        limits = {
            name: str(int(seconds * 1000))
            for name, seconds in self.limits.items()
            if seconds is not None
        }
        _, arguments = self._arguments
        shared = {name: str(arguments[ours]) for name, ours in _SERVER_LIMITS.items()}
        lines = [
            sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            for name, value in (_SESSION | shared | limits).items()
        ]
        path = sql.SQL("SET search_path = {}, {}").format(*map(sql.Identifier, self.schemas))
        statement = sql.SQL("; ").join([sql.SQL("BEGIN"), *lines, path, sql.SQL("COMMIT")])
        return str(statement.as_string(cursor))


def missing_right(error: BaseException | None) -> RightMissing:
    """The error for a statement that the role may not run."""
    return RightMissing(
        f"PostgreSQL refused a statement: {first_line(error)}.",
        hint="Grant the role in DATABASE_URL all privileges on Bucketline's tables, or make it"
        " their owner.",
        public_message="PostgreSQL refused a statement.",
    )


def first_line(error: BaseException | None) -> str:
    """The first line of the server's or driver's message."""
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """The message about the last of several addresses; never a DETAIL or HINT line."""
    lines = [line for line in _lines(error) if "failed: " in line or not line.startswith("\t")]
    failed = [line for line in lines if "failed: " in line]
    return (failed or lines)[-1].rstrip(".")


def _lines(error: BaseException | None) -> list[str]:
    text = str(error).strip()
    return text.splitlines() if text else [type(error).__name__]


# -- why a connection failed


def _sqlstates(dsn: Any, arguments: Mapping[str, Any]) -> list[str] | None:  # noqa: ANN401
    """The SQLSTATEs of PostgreSQL's response to a connection attempt; None without a response.

    There are none if it accepts the connection. psycopg2 has no SQLSTATE for a failed connection,
    and the message depends on the server's language. An asynchronous attempt can be set to report
    SQLSTATEs instead of messages.
    """
    with suppress(psycopg2.Error, OSError):
        connection = psycopg2.connect(*dsn, **arguments, async_=True)
        with closing(connection):
            _request_sqlstates(connection)
            try:
                return [] if _wait(connection) else None
            except psycopg2.Error as error:
                return _SQLSTATE.findall(str(error)) or None
    return None


def _request_sqlstates(connection: Any) -> None:  # noqa: ANN401 - psycopg2 has no types
    libpq = ctypes.CDLL(_psycopg.__file__)  # with the symbols of the libpq linked to it
    libpq.PQsetErrorVerbosity.argtypes = (ctypes.c_void_p, ctypes.c_int)
    libpq.PQsetErrorVerbosity(connection.pgconn_ptr, _ONLY_SQLSTATE)


def _wait(connection: Any) -> bool:  # noqa: ANN401 - psycopg2 has no types
    """Wait until the connection is established or fails; False when neither happens in time."""
    deadline = time.monotonic() + CONNECT_TIMEOUT_SECONDS
    while (state := connection.poll()) != extensions.POLL_OK:
        remaining_seconds = deadline - time.monotonic()
        if remaining_seconds <= 0:
            return False
        reading = [connection] if state == extensions.POLL_READ else []
        writing = [connection] if state == extensions.POLL_WRITE else []
        select.select(reading, writing, [], remaining_seconds)
    return True
