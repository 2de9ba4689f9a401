"""Large responses: formats, fields, codings, ETags, and completeness."""

from __future__ import annotations

import csv
import gzip
import http.client
import io
import json
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet
from sqlalchemy import delete, insert, text

from api import create_app
from api.schemas.data import FIELDS
from api.state.services import MAX_STREAMS, Timeouts
from etl.db.revisions import Resource, advance
from etl.db.tables import users
from etl.model.errors import TransientError
from etl.model.values import Trigger
from tests.conftest import TestBucket, wait_until
from tests.processes import serving
from tests.user_rows import generate_users, person

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apiflask import APIFlask
    from flask.testing import FlaskClient
    from sqlalchemy import Engine
    from werkzeug.test import TestResponse

    from etl.settings import Settings
    from etl.sync.manager import DataManager

TODAY = date(2026, 6, 15)
MANY = 20_000

MIMETYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
USUAL = ["user_id", "first_name", "last_name", "birthts", "img_path"]


class Calendar:
    """A date that a test can advance."""

    def __init__(self) -> None:
        self.today = TODAY

    def __call__(self) -> date:
        return self.today


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def app(settings: Settings, calendar: Calendar) -> Iterator[APIFlask]:
    app = create_app(settings, today=calendar)
    yield app
    app.extensions["bucketline"].engine.dispose()


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    return app.test_client()


def put(engine: Engine, *rows: dict[str, Any]) -> None:
    """Make these the only users, and advance the revision as a merge does."""
    with engine.begin() as connection:
        connection.execute(delete(users))
        if rows:
            connection.execute(insert(users), list(rows))
        advance(connection, Resource.USERS)


def put_more_than_buffers_hold(engine: Engine) -> None:
    """Insert more users than socket buffers hold, even compressed."""
    generate_users(engine, 200_000, " || ".join(f"md5(i::text || '{n}')" for n in range(6)))


# -- each format as a list of rows


def rows_of(response: TestResponse, kind: str) -> list[dict[str, Any]]:
    """The rows of a response in any format, with each cell as in JSON."""
    assert response.status_code == 200, response.text
    assert response.mimetype == MIMETYPES[kind]
    return READERS[kind](response.data)


def from_json(content: bytes) -> list[dict[str, Any]]:
    return [{"user_id": user_id} | rest for user_id, rest in json.loads(content).items()]


def from_ndjson(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.decode().split("\n")[:-1]]


def from_csv(content: bytes) -> list[dict[str, Any]]:
    """Rows of Python's CSV reader, for which empty and null are equal; names are never null."""
    rows = csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True)
    return [{name: typed(name, cell) for name, cell in row.items()} for row in rows]


def typed(name: str, cell: str) -> object:
    if cell == "" and name in ("img_path", "extra"):
        return None
    if name in ("birthts", "age", "source_line", "run_id"):
        return int(cell)
    return json.loads(cell) if name == "extra" else cell


def from_parquet(content: bytes) -> list[dict[str, Any]]:
    return from_table(parquet.read_table(io.BytesIO(content)))


def from_arrow(content: bytes) -> list[dict[str, Any]]:
    return from_table(ipc.open_stream(content).read_all())


def from_table(table: pa.Table) -> list[dict[str, Any]]:
    return [{name: plain(name, cell) for name, cell in row.items()} for row in table.to_pylist()]


def plain(name: str, cell: object) -> object:
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%dT%H:%M:%S.%f}Z"
    if isinstance(cell, date):
        return cell.isoformat()
    return json.loads(cell) if name == "extra" and isinstance(cell, str) else cell


READERS = {
    "json": from_json,
    "ndjson": from_ndjson,
    "csv": from_csv,
    "parquet": from_parquet,
    "arrow": from_arrow,
}

# PostgreSQL stores any character except NUL and unpaired surrogates.
nasty = st.text(
    st.one_of(
        st.sampled_from(list("\x01\x02\x1f\x7f\n\r\t\"',;\\:{}[]%\u2028\ufeff\u00a0😀ä. ")),
        st.characters(exclude_characters="\0", codec="utf-8"),
    ),
    max_size=20,
)
extras = st.none() | st.dictionaries(nasty, nasty, max_size=3)


@given(
    people=st.dictionaries(
        nasty.filter(bool),
        st.tuples(
            nasty, nasty, st.integers(-(2**40), 2**40), st.none() | nasty.filter(bool), extras
        ),
        max_size=6,
    )
)
@example(people={"\\.": ("\\.", "\x01\x02", 0, "\x01", {"\n": "\r"})})
@example(people={'"\n",': ("", "", -1, None, None), "\r\n": ("NULL", "null", 1, "\\N", {})})
@hypothesis_settings(max_examples=25)
def test_formats_agree_cell_by_cell(client: FlaskClient, engine: Engine, people: dict[str, Any]):
    names = ("first_name", "last_name", "birthts", "img_path", "extra")
    columns = (*names[:-1], "_extra")
    put(
        engine,
        *(person(key, **dict(zip(columns, cells, strict=True))) for key, cells in people.items()),
    )
    expected = [
        {"user_id": key} | dict(zip(names, people[key], strict=True))
        for key in sorted(people, key=str.encode)
    ]
    for kind in MIMETYPES:
        response = client.get(f"/data?format={kind}&fields={','.join(names)}")
        assert rows_of(response, kind) == expected, kind
        seen, url = [], f"/data?format={kind}&fields={','.join(names)}&limit=2"
        while url:
            page = client.get(url)
            seen += rows_of(page, kind)
            url = page.headers.get("Link", "")[1:].partition(">")[0]
        assert seen == expected, kind


@pytest.mark.parametrize("kind", MIMETYPES)
def test_every_field_can_be_had_in_every_format(client: FlaskClient, engine: Engine, kind: str):
    put(engine, person("1", img_path="b/1.png", _extra={"city": "Oslo"}))
    response = client.get(f"/data?fields={','.join(FIELDS)}", headers={"Accept": MIMETYPES[kind]})
    assert rows_of(response, kind) == [
        {
            "user_id": "1",
            "first_name": "Ann",
            "last_name": "Smith",
            "birthts": 645408000000,
            "birthdate": "1990-06-15",
            "age": 36,
            "img_path": "b/1.png",
            "extra": {"city": "Oslo"},
            "source_key": "1.csv",
            "source_line": 2,
            "run_id": 1,
            "updated_at": "2026-06-15T12:00:00.000000Z",
        }
    ]


@pytest.mark.parametrize("kind", MIMETYPES)
def test_fields_are_returned_in_the_requested_order(client: FlaskClient, engine: Engine, kind: str):
    put(engine, person("1"), person("2"))
    rows = rows_of(client.get(f"/data?format={kind}&fields=age,first_name"), kind)
    assert [list(row) for row in rows] == 2 * [["user_id", "age", "first_name"]]
    ids = rows_of(client.get(f"/data?format={kind}&fields=user_id"), kind)
    assert ids == [{"user_id": "1"}, {"user_id": "2"}]


@pytest.mark.parametrize("kind", MIMETYPES)
def test_no_users_give_an_empty_response_in_every_format(client: FlaskClient, kind: str):
    assert rows_of(client.get(f"/data?format={kind}"), kind) == []
    assert rows_of(client.get(f"/data?format={kind}&limit=3"), kind) == []


@pytest.mark.parametrize("kind", MIMETYPES)
def test_many_users_are_complete_in_every_format(client: FlaskClient, engine: Engine, kind: str):
    generate_users(engine, MANY)
    rows = rows_of(client.get(f"/data?format={kind}"), kind)
    assert [row["user_id"] for row in rows] == [f"{n:08}" for n in range(1, MANY + 1)]
    assert [list(row) for row in (rows[0], rows[-1])] == [USUAL, USUAL]


def test_large_cells_do_not_break_a_table(client: FlaskClient, engine: Engine):
    long = '"\n' * 5_000
    put(
        engine, *(person(str(n), first_name=long, _extra={"a": long, "b": long}) for n in range(99))
    )
    rows = rows_of(client.get("/data?format=arrow&fields=first_name,extra"), "arrow")
    assert [row["first_name"] for row in rows] == 99 * [long]
    assert all(row["extra"] == {"a": long, "b": long} for row in rows)


def test_a_csv_of_everyone_is_output_csv(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, settings: Settings
):
    bucket.put("1000.csv", 'first_name,last_name,birthts\n"Zoë, ""the"" 1st",Lee,-1\n')
    bucket.user("b/2.csv", last="  Li ")
    bucket.put("2.png", b"png")
    manager.run(Trigger.CLI)
    response = client.get("/data", headers={"Accept": "text/csv"})
    with bucket.client.get_object(settings.processed_bucket, "output.csv") as published:
        assert response.data == published.read()
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("fields=first_nam", "first_nam"),
        ("fields=first_name,", "''"),
        ("fields=first_name,first_name", "more than once"),
        ("fields=First_Name", "First_Name"),
        ("fields=", "empty"),
        ("format=xml", "json"),
        ("format=JSON", "json"),
    ],
)
def test_unknown_fields_and_formats_are_named(client: FlaskClient, query: str, reason: str):
    response = client.get(f"/data?{query}")
    assert response.status_code == 422
    (fault,) = response.get_json()["errors"]
    assert fault["parameter"] == query.partition("=")[0]
    assert reason in fault["message"]


def test_unknown_field_is_rejected_with_the_known_ones(client: FlaskClient):
    message = client.get("/data?fields=x,age,y").get_json()["errors"][0]["message"]
    assert "'x', 'y'" in message
    assert all(name in message for name in FIELDS)


# -- Accept, Accept-Encoding


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("application/*", "json"),
        ("text/*", "csv"),
        ("text/csv, application/json", "json"),
        ("text/csv, application/json;q=0.9", "csv"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        ("application/json;q=0, */*", "ndjson"),
        ("application/x-ndjson;q=0.2, text/csv;q=0.1", "ndjson"),
        ("APPLICATION/VND.APACHE.PARQUET", "parquet"),
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("text/csv; charset=utf-8", "csv"),
        ('text/csv;charset="UTF-8"', "csv"),
        ("application/json; charset=utf-8", "json"),
        ("application/json; charset=utf-8; q=0.5, text/csv; charset=utf-8; q=0.6", "csv"),
        # Invalid members are ignored; `*` alone and weights without a leading digit are common.
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "json"),
        ("*", "json"),
        ("text/html, *", "json"),
        ("text/csv;q=.5, application/json;q=.4", "csv"),
        ("text/csv;q=1., application/json;q=0.", "csv"),
        ("application/json;q=high, text/csv;q=0.1", "csv"),
        ("text/csv;q=2, application/json;q=1.", "json"),
        ("text/html;q=high", "json"),
        ('text/html;level="1, */*', "json"),
        ("json, text/csv;=, */json, ;;, /", "json"),
        ("text/csv;;q=0.5;", "csv"),
    ],
)
def test_accept_chooses_the_format(
    client: FlaskClient, engine: Engine, accept: str | None, kind: str
):
    put(engine, person("1"))
    response = client.get("/data", headers={"Accept": accept} if accept else {})
    assert [row["user_id"] for row in rows_of(response, kind)] == ["1"]
    assert set(response.vary) == {"Accept", "Accept-Encoding"}


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        "application/json;q=0",
        "application/json; charset=utf-8; q=0",
        "text/csv; charset=utf-16",
        "text/html, */*;q=0",
    ],
)
def test_unacceptable_type_is_rejected_with_the_available_ones(client: FlaskClient, accept: str):
    response = client.get("/data", headers={"Accept": accept})
    assert response.status_code == 406
    assert response.mimetype == "application/problem+json"
    assert response.get_json()["available"] == list(MIMETYPES.values())
    assert "accept" in response.vary


def test_format_in_the_query_overrides_accept(client: FlaskClient):
    response = client.get("/data?format=csv", headers={"Accept": "application/json"})
    assert response.mimetype == "text/csv"


DECODERS = {
    "gzip": gzip.decompress,
    "zstd": lambda content: zstandard.ZstdDecompressor().decompressobj().decompress(content),
}


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, None),
        ("*", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0", None),
        ("deflate, gzip;q=1.0, *;q=0.5", "gzip"),
        ("identity;q=0, *", "zstd"),
        ("gzip;q=.5", "gzip"),
        ("gzip;q=high, zstd;q=.1", "zstd"),
        ("identity;q=0, br", None),
    ],
)
@pytest.mark.parametrize("count", [3, MANY])
def test_accept_encoding_chooses_the_coding(
    client: FlaskClient, engine: Engine, accept: str | None, coding: str | None, count: int
):
    generate_users(engine, count)
    plain_content = client.get("/data?format=csv").data
    response = client.get("/data?format=csv", headers={"Accept-Encoding": accept} if accept else {})
    assert response.headers.get("Content-Encoding") == coding
    assert DECODERS.get(coding or "", bytes)(response.data) == plain_content


def test_parquet_is_compressed_already(client: FlaskClient, engine: Engine):
    put(engine, person("1"))
    response = client.get("/data?format=parquet", headers={"Accept-Encoding": "gzip, zstd"})
    assert "Content-Encoding" not in response.headers


# -- ETag


def revalidate(client: FlaskClient, url: str, tag: str, **headers: str) -> int:
    return client.get(url, headers={"If-None-Match": tag} | headers).status_code


URLS = ["/data", "/data?limit=1", "/data?format=parquet", "/data?min_age=3", "/stats"]


@pytest.mark.parametrize("url", URLS)
def test_etag_is_valid_until_the_users_change(client: FlaskClient, engine: Engine, url: str):
    put(engine, person("1"))
    tag = client.get(url).headers["ETag"]
    response = client.get(url, headers={"If-None-Match": f'"other", {tag}'})
    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == tag
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert revalidate(client, url, "*") == 304
    assert revalidate(client, url, '"other"') == 200
    put(engine, person("1"), person("2"))
    assert revalidate(client, url, tag) == 200


def test_run_that_changes_no_user_keeps_the_etag(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    tag = client.get("/data").headers["ETag"]
    manager.run(Trigger.CLI)
    assert revalidate(client, "/data", tag) == 304


def test_new_day_changes_the_etag_only_of_responses_with_ages(
    client: FlaskClient, engine: Engine, calendar: Calendar
):
    put(engine, person("1"))
    of_day = ["/data?min_age=3", "/data?max_age=50", "/data?fields=age", "/stats"]
    timeless = ["/data", "/data?is_image_exists=false", "/data?limit=1&fields=birthdate"]
    tags = {url: client.get(url).headers["ETag"] for url in of_day + timeless}
    calendar.today += timedelta(days=1)
    assert [revalidate(client, url, tags[url]) for url in of_day] == [200] * len(of_day)
    assert [revalidate(client, url, tags[url]) for url in timeless] == [304] * len(timeless)


def test_every_other_question_has_another_tag(client: FlaskClient, engine: Engine):
    put(engine, person("1"), person("2"))
    queries = ["", "after=1", "limit=1", "limit=2", "is_image_exists=false", "fields=age"]
    queries += [
        "fields=birthts,age",
        "fields=age,birthts",
        *(f"format={kind}" for kind in MIMETYPES),
    ]
    queries.remove("format=json")
    urls = [*(f"/data?{query}" for query in queries), "/stats"]
    tags = {client.get(url).headers["ETag"] for url in urls}
    assert len(tags) == len(urls)
    assert client.get("/data?format=json").headers["ETag"] in tags


def test_accept_and_format_share_a_tag_that_no_coding_changes(client: FlaskClient):
    tag = client.get("/data?format=csv").headers["ETag"]
    assert tag.startswith("W/")
    assert revalidate(client, "/data", tag, Accept="text/csv") == 304
    assert revalidate(client, "/data", tag, Accept="text/csv", **{"Accept-Encoding": "gzip"}) == 304
    assert revalidate(client, "/data", tag) == 200


# -- a complete response, or none


def copies(engine: Engine) -> int:
    """The number of COPYs that other connections are running in this database."""
    with engine.connect() as connection:
        return connection.execute(text(f"SELECT count(*) {COPIES}")).scalar_one()


def end_copies(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(
            text(f"SELECT count(pg_terminate_backend(pid)) {COPIES}")
        ).scalar_one()


COPIES = (
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND state <> 'idle' AND query LIKE '%COPY (%'"
)


@pytest.mark.parametrize(
    ("kind", "coding"), [*((kind, "identity") for kind in MIMETYPES), ("ndjson", "zstd")]
)
def test_copy_killed_during_a_response_is_detected(
    settings: Settings, engine: Engine, kind: str, coding: str
):
    put_more_than_buffers_hold(engine)
    with serving(settings) as (host, port, _):
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("GET", f"/data?format={kind}", headers={"Accept-Encoding": coding})
        response = connection.getresponse()
        assert response.status == 200
        assert end_copies(engine) == 1
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        connection.close()


def test_idle_client_is_disconnected_and_frees_its_stream(settings: Settings, engine: Engine):
    """Readers that stall free their places when their time is up."""
    put_more_than_buffers_hold(engine)
    with serving(settings, patience_seconds=1) as (host, port, _):
        stalled = []
        for _ in range(MAX_STREAMS):
            connection = http.client.HTTPConnection(host, port, timeout=60)
            connection.request("GET", "/data")
            assert connection.getresponse().status == 200
            stalled.append(connection)

        def reads_everyone() -> bool:
            reader = http.client.HTTPConnection(host, port, timeout=60)
            reader.request("GET", "/data")
            response = reader.getresponse()
            content = response.read()
            reader.close()
            return response.status == 200 and len(json.loads(content)) == 200_000

        wait_until(reads_everyone, pause=0.2)
        wait_until(lambda: not copies(engine))
        for connection in stalled:
            connection.close()


@pytest.mark.parametrize("kind", MIMETYPES)
def test_client_that_disconnects_releases_the_connection(
    app: APIFlask, client: FlaskClient, engine: Engine, kind: str
):
    put_more_than_buffers_hold(engine)
    response = client.get(f"/data?format={kind}")
    assert copies(engine) == 1
    response.close()
    wait_until(lambda: not copies(engine))
    assert app.extensions["bucketline"].engine.pool.checkedout() == 0


def test_a_failing_copy_fails_a_table_too(app: APIFlask, client: FlaskClient, engine: Engine):
    put_more_than_buffers_hold(engine)
    app.extensions["bucketline"].timeouts = Timeouts(idle=0.2)
    response = client.get("/data?format=parquet")
    wait_until(lambda: not copies(engine))
    with pytest.raises(TransientError, match="The client read no data"):
        response.get_data()


def test_pyarrow_is_imported_only_when_needed():
    code = "import sys, api.server; print('pyarrow' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False False\n"
