"""Connections: uniform session settings, clear refusals, and checks of the schema version."""

from __future__ import annotations

import io
import re
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

import psycopg2
import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from etl.db.engine import connect, connect_unpooled, driver, is_outage, translating
from etl.model.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    LoginRefused,
    NewerSchema,
    OlderSchema,
    RightMissing,
)
from etl.settings import Settings
from tests.api_client import terminate_others
from tests.conftest import wait_until
from tests.processes import ROOT, environment

SESSION_SETTINGS = (
    "client_encoding",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "bytea_output",
    "extra_float_digits",
    "default_transaction_isolation",
)
OURS = ("UTF8", "UTC", "ISO, MDY", "postgres", "hex", "1", "read committed")
HOSTILE = {
    "client_encoding": "LATIN1",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
}


def url_with(settings: Settings, query: str = "", **parts: str) -> Settings:
    """The settings with a changed part of DATABASE_URL."""
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql", **parts)
    given = url.render_as_string(hide_password=False) + query
    values = settings.model_dump(exclude={"database_url"})
    return Settings(_env_file=None, **values, database_url=given)


@contextmanager
def connected(settings: Settings) -> Iterator[Engine]:
    engine = connect(settings)
    yield engine
    engine.dispose()


def settings_of(engine: Engine, names: tuple[str, ...] = SESSION_SETTINGS) -> tuple[str, ...]:
    with engine.connect() as connection:
        return tuple(connection.scalar(text(f"SHOW {name}")) for name in names)


@pytest.fixture
def role(admin: Engine) -> Iterator[str]:
    """A role that may only log in."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'"))
        yield name
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))


def alter(admin: Engine, role: str, change: str) -> None:
    with admin.connect() as connection:
        connection.exec_driver_sql(f"ALTER ROLE {role} {change}")


@pytest.fixture
def hostile(admin: Engine, role: str) -> None:
    """Give the role settings that all differ from ours."""
    for name, value in HOSTILE.items():
        alter(admin, role, f"SET {name} = '{value}'")


@pytest.fixture
def as_role(settings: Settings, role: str, engine: Engine) -> Iterator[Settings]:
    """The settings with a role that may use the tables, but owns none."""
    with engine.begin() as connection:
        connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"))
    yield url_with(settings, username=role, password="secret")
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))


# -- the session


@pytest.mark.usefixtures("hostile")
def test_settings_of_the_role_change_nothing(as_role: Settings):
    with connected(as_role) as engine:
        assert settings_of(engine) == OURS


def test_variables_of_the_environment_change_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGTZ", "Asia/Kathmandu")
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    monkeypatch.setenv("PGOPTIONS", "-c intervalstyle=iso_8601 -c bytea_output=escape")
    with connected(settings) as engine:
        assert settings_of(engine) == OURS


@pytest.mark.usefixtures("hostile")
def test_values_round_trip_whatever_the_settings_of_the_role(
    as_role: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with connected(as_role) as engine, engine.connect() as connection:
        cursor = driver(connection).cursor()
        cursor.execute(
            "SELECT %s, length(%s), timestamptz '2026-01-02 03:04:05Z', interval '90 s',"
            " CAST(0.1 AS float8)",
            ("Ж\\ü", "Ж\\ü"),
        )
        name, length, moment, span, number = cursor.fetchone()
        assert (name, length, number) == ("Ж\\ü", 3, 0.1)
        assert moment.isoformat() == "2026-01-02T03:04:05+00:00"
        assert span.total_seconds() == 90


@pytest.mark.usefixtures("hostile")
def test_a_copy_is_in_utf_8_and_utc(as_role: Settings):
    copy = "COPY (SELECT 'Ж', timestamptz '2026-01-02 03:04:05Z', date '2026-01-02') TO STDOUT"
    with connected(as_role) as engine, engine.connect() as connection:
        sink = io.BytesIO()
        driver(connection).cursor().copy_expert(copy, sink)
        assert sink.getvalue().decode() == "Ж\t2026-01-02 03:04:05+00\t2026-01-02\n"


def test_options_in_the_url_are_kept_next_to_ours(settings: Settings):
    query = "?options=-c%20work_mem%3D5MB%20-c%20timezone%3DAsia/Kathmandu&application_name=mine"
    with connected(url_with(settings, query)) as engine:
        assert settings_of(engine, ("work_mem", "TimeZone", "application_name")) == (
            "5MB",
            "UTC",
            "mine",
        )


def test_limits_of_a_connection_win_over_the_url(settings: Settings):
    given = url_with(settings, "?options=-c%20statement_timeout%3D1ms")
    engine = connect(given, statement_timeout_seconds=60)
    assert settings_of(engine, ("statement_timeout",)) == ("1min",)
    engine.dispose()


@pytest.mark.parametrize(
    ("query", "limits"),
    [
        ("", ("10", "5", "3", "30000")),
        ("?keepalives_idle=2&keepalives_count=9&tcp_user_timeout=4000", ("2", "5", "9", "4000")),
    ],
)
def test_server_ends_the_session_of_a_vanished_client_as_the_client_does(
    settings: Settings, query: str, limits: tuple[str, ...]
):
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
    with connected(url_with(settings, query)) as engine:
        assert settings_of(engine, (*names, "tcp_user_timeout")) == limits


# -- refusals


@pytest.mark.parametrize(
    ("parts", "query", "message", "remedy"),
    [
        ({"password": "wrong"}, "", "password authentication failed", "%40"),
        ({"username": "nobody_here"}, "", "password authentication failed", "%40"),
        (
            {"database": "none_here"},
            "",
            '"none_here" does not exist',
            'CREATE DATABASE "none_here"',
        ),
        ({}, "?sslmode=require", "does not support SSL", "sslmode"),
        ({}, "?options=-c%20no_such=1", "unrecognized configuration parameter", "PGOPTIONS"),
        ({}, "?options=-c%20timezone=Nowhere", "invalid value for parameter", "PGOPTIONS"),
        ({}, "?sslmode=odd", "sslmode", "sslmode"),
    ],
)
def test_permanent_refusal_is_a_configuration_error(
    settings: Settings, parts: dict[str, str], query: str, message: str, remedy: str
):
    with (
        connected(url_with(settings, query, **parts)) as engine,
        pytest.raises(LoginRefused, match=re.escape(message)) as caught,
        translating(),
        engine.connect(),
    ):
        pass
    assert isinstance(caught.value, ConfigurationError)
    assert remedy in caught.value.hint
    assert caught.value.public_message == "PostgreSQL refused the connection."
    assert "wrong" not in caught.value.message


def test_a_role_without_login_is_a_wrong_setting(admin: Engine, as_role: Settings, role: str):
    alter(admin, role, "NOLOGIN")
    with connected(as_role) as engine, pytest.raises(LoginRefused) as caught, translating():
        engine.connect()
    assert "LOGIN" in caught.value.hint


def test_a_role_that_may_not_connect_gets_the_grant(
    settings: Settings, engine: Engine, as_role: Settings, role: str
):
    name = make_url(settings.sqlalchemy_url).database
    with engine.begin() as connection:
        connection.execute(text(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"))
    with connected(as_role) as refused, pytest.raises(LoginRefused) as caught, translating():
        refused.connect()
    assert caught.value.hint.endswith(f'`GRANT CONNECT ON DATABASE "{name}" TO "{role}"`.')


def test_too_many_connections_pass(admin: Engine, as_role: Settings, role: str):
    alter(admin, role, "CONNECTION LIMIT 0")
    with connected(as_role) as engine, pytest.raises(DatabaseUnavailable) as caught, translating():
        engine.connect()
    assert not isinstance(caught.value, ConfigurationError)


@contextmanager
def answering(sqlstate: str) -> Iterator[int]:
    """A server that sends every client one error in German, as with a German lc_messages."""
    fields = f"SFATAL\0VFATAL\0C{sqlstate}\0MEs geht gerade nicht\0\0".replace("SF", "SFATALER F")
    answer = b"E" + (len(fields.encode()) + 4).to_bytes(4, "big") + fields.encode()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(10_000)
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize(
    ("sqlstate", "is_final"),
    [("28P01", True), ("28000", True), ("3D000", True), ("53300", False), ("57P03", False)],
)
def test_a_refusal_is_known_by_its_sqlstate_in_any_language(
    settings: Settings, sqlstate: str, *, is_final: bool
):
    with answering(sqlstate) as port:
        given = url_with(settings, "?sslmode=disable&gssencmode=disable", port=port)
        with (
            connected(given) as engine,
            pytest.raises(DatabaseUnavailable, match="gerade nicht") as caught,
            translating(),
        ):
            engine.connect()
    assert isinstance(caught.value, ConfigurationError) == is_final


def test_unknown_host_is_transient_and_names_the_escapes(settings: Settings):
    given = url_with(settings, host="no-such-host.invalid")
    with connected(given) as engine, pytest.raises(DatabaseUnavailable) as caught, translating():
        engine.connect()
    assert not isinstance(caught.value, ConfigurationError)
    assert "%40" in caught.value.hint


@pytest.mark.usefixtures("as_role")
def test_a_password_of_any_characters_logs_in_once_it_is_escaped(
    settings: Settings, admin: Engine, role: str
):
    chosen = "p@/ss:#?%41 &=Ж"
    alter(admin, role, f"PASSWORD '{chosen.replace('%', '%%')}'")
    host = make_url(settings.sqlalchemy_url)
    given = f"postgresql://{role}:{quote(chosen, safe='')}@{host.host}:{host.port}/{host.database}"
    values = settings.model_dump(exclude={"database_url"})
    with connected(Settings(_env_file=None, **values, database_url=given)) as engine:
        assert settings_of(engine, ("TimeZone",)) == ("UTC",)


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("status", {"password": "wrong"}),
        ("migrate", {"database": "none_here"}),
        ("schedule", {"username": "nobody_here"}),
        pytest.param("status", {"database": "none_here"}, marks=pytest.mark.long),
        pytest.param("status", {"username": "nobody_here"}, marks=pytest.mark.long),
        pytest.param("migrate", {"password": "wrong"}, marks=pytest.mark.long),
        pytest.param("migrate", {"username": "nobody_here"}, marks=pytest.mark.long),
        pytest.param("schedule", {"password": "wrong"}, marks=pytest.mark.long),
        pytest.param("schedule", {"database": "none_here"}, marks=pytest.mark.long),
    ],
)
def test_refused_command_exits_with_2(settings: Settings, parts: dict[str, str], command: str):
    done = subprocess.run(
        [sys.executable, "-m", "etl", command],
        cwd=ROOT,
        env=environment(url_with(settings, **parts)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("LoginRefused: PostgreSQL refused the connection:")
    assert "Traceback" not in done.stderr
    assert "wrong" not in done.stderr


def test_missing_privilege_is_named(as_role: Settings, engine: Engine, role: str):
    with engine.begin() as connection:
        connection.execute(text(f"REVOKE ALL ON users FROM {role}"))
    with connected(as_role) as other, pytest.raises(RightMissing, match="users"), translating():
        other.connect().execute(text("SELECT FROM users"))


def test_a_server_that_became_a_replica_passes(engine: Engine):
    with engine.connect() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        with pytest.raises(DatabaseUnavailable, match="read-only"), translating():
            connection.execute(text("DELETE FROM users"))


# -- other versions


def set_version(engine: Engine, version: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})


@pytest.mark.parametrize(("version", "error"), [("9999", NewerSchema), ("0001", OlderSchema)])
def test_a_new_connection_compares_versions(
    settings: Settings, engine: Engine, version: str, error: type[Exception]
):
    set_version(engine, version)
    for checking in (connect(settings, checks_schema=True), connect_unpooled(settings)):
        with pytest.raises(error, match=version), translating():
            checking.connect()


@pytest.mark.parametrize("version", ["9999", None])
@pytest.mark.parametrize(
    "change", ["ALTER TABLE users RENAME TO people", "ALTER TABLE users RENAME user_id TO id2"]
)
def test_a_missing_table_or_column_has_the_versions_compared(
    settings: Settings, engine: Engine, change: str, version: str | None
):
    checking = connect(settings, checks_schema=True)
    with checking.connect() as connection:  # opened before the change, and pooled
        connection.execute(text("SELECT user_id FROM users"))
    with engine.begin() as connection:
        connection.execute(text(change))
    if version is not None:
        set_version(engine, version)
    error = ProgrammingError if version is None else NewerSchema
    with pytest.raises(error), translating(), checking.connect() as connection:
        connection.execute(text("SELECT user_id FROM users"))
    checking.dispose()


def test_refusal_leaves_no_connection_open(settings: Settings, engine: Engine):
    set_version(engine, "9999")
    checking = connect_unpooled(settings)
    for _ in range(5):
        with pytest.raises(NewerSchema):
            checking.connect()
    wait_until(lambda: other_sessions(engine) == 0)  # a closed one ends a moment later


def other_sessions(engine: Engine) -> int:
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with engine.connect() as connection:
        return int(connection.scalar(text(query)) or 0)


def test_a_driver_error_is_still_an_outage(settings: Settings):
    with (
        connected(url_with(settings, port=1)) as engine,
        pytest.raises(DatabaseUnavailable) as caught,
        translating(),
    ):
        engine.connect()
    assert not isinstance(caught.value, ConfigurationError)
    assert isinstance(caught.value.__cause__.__cause__, psycopg2.OperationalError)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg2.DatabaseError("server closed the connection unexpectedly"), True),
        (psycopg2.OperationalError("no response within 5 s"), True),
        (psycopg2.InterfaceError("connection already closed"), True),
        (psycopg2.ProgrammingError("can't adapt type"), False),
        (psycopg2.DataError("invalid text"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_without_a_sqlstate_are_outages_unless_a_statement_is_at_fault(
    error: psycopg2.Error,
    expected: bool,  # noqa: FBT001
):
    assert is_outage(error) is expected


@pytest.mark.parametrize("make", [connect, connect_unpooled])
def test_lost_connection_is_returned_without_a_traceback(
    settings: Settings,
    engine: Engine,
    make: Callable[[Settings], Engine],
    caplog: pytest.LogCaptureFixture,
):
    """The driver's cursor is used directly, so that SQLAlchemy does not see its errors."""
    used = make(settings)

    def lose_connection() -> None:
        with translating(), used.connect() as connection:
            driver(connection).cursor().execute("SELECT 1")
            terminate_others(engine)
            driver(connection).cursor().execute("SELECT 2")

    with pytest.raises(DatabaseUnavailable):
        lose_connection()
    assert caplog.text == ""
    with used.connect() as connection:
        assert connection.scalar(text("SELECT 3")) == 3
    used.dispose()
