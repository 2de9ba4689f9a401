"""Settings: defaults, durations, and errors that name the variable."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import make_url

from etl.model.errors import ConfigurationError
from etl.settings import EMBEDDED_MARK, Settings, embedded_mark, read_settings
from etl.settings.database_url import for_libpq
from etl.settings.values import duration_text, parse_duration


def test_a_fresh_machine_embeds_both_services():
    settings = Settings(_env_file=None)
    assert settings.embeds_object_store
    assert settings.embeds_database
    assert settings.etl_interval == timedelta(minutes=25)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("25m", 1500), ("60s", 60), ("1.5h", 5400), ("1d", 86400), ("2500ms", 2.5)],
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: float):
    assert Settings(_env_file=None, etl_interval=text).etl_interval.total_seconds() == seconds


@pytest.mark.parametrize("text", ["25m", "60m", "90m", "1d", "36h", "90s", "100ms", "1.5ms"])
def test_duration_is_formatted_in_its_largest_whole_unit(text: str):
    assert duration_text(parse_duration(text)) == {"60m": "1h"}.get(text, text)


@given(st.timedeltas(timedelta(0), timedelta(days=365)))
def test_formatted_duration_is_a_valid_setting(duration: timedelta):
    assert parse_duration(duration_text(duration)) == duration


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("90d", timedelta(days=90)),
        ("1h", timedelta(hours=1)),
        ("forever", None),
        (" Forever", None),
    ],
)
def test_retention_is_a_duration_or_forever(text: str, kept: timedelta | None):
    assert Settings(_env_file=None, run_retention=text).run_retention == kept


@pytest.mark.parametrize(("text", "count"), [("10MB", 10_000_000), ("1KiB", 1024), ("500", 500)])
def test_sizes_are_bytes_or_a_number_and_a_unit(text: str, count: int):
    settings = Settings(_env_file=None, image_max_bytes=text, document_max_size=text)
    assert settings.image_max_bytes == settings.document_max_size == count


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ETL_INTERVAL", "soon"),
        ("ETL_INTERVAL", "0s"),
        ("API_PORT", "70000"),
        ("ETL_INTERVAL", "99999999999999999999d"),
        ("S3_ENDPOINT", "127.0.0.1:9000"),
        ("S3_ENDPOINT", "http://127.0.0.1:99999"),
        ("S3_ENDPOINT", "http://127.0.0.1:abc"),
        ("S3_ENDPOINT", "http://127.0.0.1:9000/path"),
        ("SOURCE_BUCKET", "a"),
        ("SOURCE_BUCKET", "Ab_C"),
        ("SOURCE_BUCKET", "a..b"),
        ("PROCESSED_BUCKET", "src-data"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    assert name in caught.value.message
    assert value in caught.value.message


_SCHEMA_NAME = (
    "write a letter or _ and then up to 62 letters, digits, - and _; PostgreSQL reserves pg_ and"
    " information_schema"
)


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("API_PORT", "x", "write a whole number, such as 5000"),
        ("API_PORT", "9" * 5000, "write a whole number, such as 5000"),
        ("API_PORT", "-1", "write 1 or more"),
        ("API_PORT", "70000", "write 65535 or less"),
        ("IMAGE_MAX_BYTES", "0", "write 1 or more"),
        ("IMAGE_MEMORY_MB", "1GB", "write a whole number, such as 1024"),
        ("DATABASE_SCHEMA", "9lives", _SCHEMA_NAME),
        ("DATABASE_SCHEMA", 'a"b', _SCHEMA_NAME),
        ("STATE_SCHEMA", "pg_bucketline", _SCHEMA_NAME),
        ("STATE_SCHEMA", "information_schema", _SCHEMA_NAME),
        ("STATE_SCHEMA", "x" * 64, _SCHEMA_NAME),
        ("STATE_SCHEMA", "public", "must not be the same schema as DATABASE_SCHEMA"),
        ("EVENT_LISTEN", "maybe", "write 1 or 0, or true or false"),
        ("OBJECT_MAX_SIZE", "big", "write a number of bytes, or a size such as 10MB"),
        ("OBJECT_MAX_SIZE", "10 potatoes", "write a number of bytes, or a size such as 10MB"),
        ("LOG_FORMAT", "xml", "write 'console' or 'json'"),
        (
            "RUN_RETENTION",
            "0",
            "write a number and a unit, such as 60s, 25m or 1.5h; or forever",
        ),
        (
            "EVENT_RETENTION",
            "0d",
            "the shortest time to keep rows is 1h; write forever to keep all",
        ),
        ("PROBLEM_RETENTION", "2000d", "the longest time is 365d; or forever"),
    ],
)
def test_invalid_setting_is_reported_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, advice: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    assert caught.value.message.endswith(f": {advice}.")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_a_database_url_is_read_with_the_driver_we_ship(scheme: str):
    settings = Settings(_env_file=None, database_url=f"{scheme}://u:p@h:5/d")
    assert settings.sqlalchemy_url == "postgresql+psycopg2://u:p@h:5/d"


@pytest.mark.parametrize(
    "rest", ["u:p@127.0.0.1:port/x", "u:p@h/x?foo=bar", "u:s3cr@etpw#@127.0.0.1/x"]
)
def test_invalid_database_url_is_rejected_without_showing_it(rest: str):
    settings = Settings(_env_file=None, database_url=f"postgresql://{rest}")
    with pytest.raises(ConfigurationError) as caught:
        _ = settings.sqlalchemy_url
    assert "DATABASE_URL" in caught.value.message
    assert "etpw" not in str(caught.value)
    assert "%40" in caught.value.hint


@pytest.mark.parametrize(
    "rest",
    [
        "u:p@w@h/d",
        "u:p@w/x@h/d",
        "u:p@w?x@h/d",
        "u:p@w/x@h:5/d?sslmode=require",
        "ann@example.com:p@w@h/d",
        "u:p@h/d@e",
    ],
)
def test_an_unescaped_at_sign_is_named_with_its_escape(rest: str):
    settings = Settings(_env_file=None, database_url=f"postgresql://{rest}")
    with pytest.raises(ConfigurationError, match="DATABASE_URL has an unescaped @") as caught:
        _ = settings.sqlalchemy_url
    assert "%40" in caught.value.hint


@pytest.mark.parametrize(
    ("rest", "host", "password"),
    [
        ("u:p@h:5/d", "h", "p"),
        ("u:p/w@h/d", "h", "p/w"),
        ("u:p?w#:%40@h/d", "h", "p?w#:@"),
        ("ann@example.com:p@h/d", "h", "p"),
        ("u:p@[::1]:5/d", "::1", "p"),
        ("u:p@h1,h2/d", "h1,h2", "p"),
        ("u:p@h/d?password=a@b&options=-c%20x%3D1", "h", "p"),
        ("/d?host=/var/run/postgresql", None, None),
        ("u:p@/d?host=/var/run/postgresql", None, "p"),
        ("u@h/d@e", "h", None),
    ],
)
def test_database_url_valid_for_libpq_is_accepted(rest: str, host: str, password: str):
    url = make_url(Settings(_env_file=None, database_url=f"postgresql://{rest}").sqlalchemy_url)
    assert (url.host, url.password) == (host, password)


@pytest.mark.parametrize(
    ("rest", "parts"),
    [
        ("u:p@h:5/d", {"host": "h", "port": "5", "user": "u", "password": "p", "dbname": "d"}),
        ("u:p/w@h", {"host": "h", "user": "u", "password": "p/w"}),
        ("u:p?w#:%40@h", {"host": "h", "user": "u", "password": "p?w#:@"}),
        ("ann@example.com:p@h", {"host": "h", "user": "ann@example.com", "password": "p"}),
        ("u:p@[::1]", {"host": "::1", "user": "u", "password": "p"}),
        ("u@h/d%40e", {"host": "h", "user": "u", "dbname": "d@e"}),
        ("/d?host=/var/run", {"host": "/var/run", "dbname": "d"}),
        ("u@%2Fvar%2Frun/d", {"host": "/var/run", "user": "u", "dbname": "d"}),
    ],
)
def test_libpq_reads_the_same_parts_from_a_database_url(rest: str, parts: dict[str, str]):
    url, found = for_libpq(SecretStr(f"postgresql+psycopg2://{rest}"))
    assert found == parts
    assert url.startswith("postgresql://")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0@"), min_size=1))
def test_libpq_reads_the_password_as_sqlalchemy_does(password: str):
    given_url = SecretStr(f"postgresql://u:{password.replace('%', '%25')}@h/d")
    assert for_libpq(given_url)[1]["password"] == password


def test_libpq_gets_no_url_that_it_cannot_parse():
    with pytest.raises(ConfigurationError, match="DATABASE_URL cannot be read"):
        for_libpq(SecretStr("postgresql://u:p@h/d?foo=bar"))


def test_a_socket_in_place_of_a_host_is_a_folder():
    settings = Settings(_env_file=None, database_url="postgresql://u:p%40@%2Fvar%2Frun/d")
    url = make_url(settings.sqlalchemy_url)
    assert (url.host, url.query["host"], url.password) == (None, "/var/run", "p@")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_an_escaped_password_is_read_as_it_is(password: str):
    given_url = f"postgresql://u:{quote(password, safe='')}@h/d"
    url = make_url(Settings(_env_file=None, database_url=given_url).sqlalchemy_url)
    assert (url.password, url.host, url.database) == (password, "h", "d")


def test_url_of_another_database_is_rejected_without_password():
    settings = Settings(_env_file=None, database_url="mysql://u:hunter2@h/d")
    with pytest.raises(ConfigurationError) as caught:
        _ = settings.sqlalchemy_url
    assert "hunter2" not in str(caught.value) + caught.value.hint


def test_no_secret_is_shown_when_settings_are_printed():
    settings = Settings(
        _env_file=None, s3_secret_key="hunter2", database_url="postgresql://u:hunter2@h/d"
    )
    assert "hunter2" not in repr(settings)


def test_addresses_printed_by_env_are_recognized_as_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`eval "$(./run.sh env)"` is for psql and aws; Bucketline's commands still work there."""
    monkeypatch.chdir(tmp_path)
    printed = {
        "LOCAL_DIR": "l",
        "S3_ENDPOINT": "http://127.0.0.1:9000",
        "DATABASE_URL": "postgresql://a:b@127.0.0.1/c",
        EMBEDDED_MARK: embedded_mark(Settings(_env_file=None, local_dir=tmp_path / "l")),
    }
    for name, value in printed.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    assert settings.embeds_object_store
    assert settings.embeds_database

    monkeypatch.setenv("LOCAL_DIR", "elsewhere")
    assert read_settings().s3_endpoint == printed["S3_ENDPOINT"]
    values = {"local_dir": tmp_path / "l", "s3_endpoint": "http://s:1", "database_url": None}
    only_one = Settings(_env_file=None, **values)
    monkeypatch.setenv("LOCAL_DIR", "l")
    monkeypatch.setenv(EMBEDDED_MARK, embedded_mark(only_one))
    assert read_settings().s3_endpoint == printed["S3_ENDPOINT"]
    assert read_settings().embeds_database
