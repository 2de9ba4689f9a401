"""Requests as other clients send them: encoded slashes, odd numerals, HEAD with Range, headers."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from sqlalchemy import insert

from api import create_app
from api.http.object_headers import MAX_CONTENT_TYPE_LENGTH
from etl.db.tables import run
from etl.images.indexer import ThumbnailIndexer
from etl.model.values import RunState, Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.processes import serving
from tests.sample_images import plain
from tests.user_rows import NOW, person, put_users

if TYPE_CHECKING:
    from apiflask import APIFlask
    from flask.testing import FlaskClient
    from sqlalchemy import Engine
    from werkzeug.test import TestResponse

    from tests.conftest import TestBucket


@pytest.fixture
def app(settings: Settings) -> Iterator[APIFlask]:
    app = create_app(settings)
    yield app
    app.extensions["bucketline"].engine.dispose()


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def source(settings: Settings) -> str:
    return f"/objects/{settings.source_bucket}"


def problem_of(response: TestResponse, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = response.get_json()
    assert body["hint"]
    return body


# -- slashes in ids and keys

SLASHED_IDS = [
    "1000/image",
    "1000/thumbnail",
    "/image",
    "image",
    "image/image/",
    "a//b",
    "..",
    "../1000",
    "./.",
    "%2Fimage",
    "ä/image",
]


def test_an_encoded_slash_is_part_of_the_id(settings: Settings, engine: Engine):
    """Tested with a real server and a client that does not normalize the path."""
    put_users(engine, *(person(user_id) for user_id in [*SLASHED_IDS, "1000", "a"]))
    with serving(settings) as (host, port, _):
        for user_id in SLASHED_IDS:
            with closing(http.client.HTTPConnection(host, port, timeout=30)) as connection:
                connection.request("GET", f"/data/{quote(user_id, safe='')}")
                answer = connection.getresponse()
                assert json.loads(answer.read())["user_id"] == user_id


def test_encoded_and_plain_slashes_name_user_and_image(
    client: FlaskClient, bucket: TestBucket, manager: DataManager
):
    bucket.put(
        "users.csv",
        "user_id,first_name,last_name,birthts\n1000,Ann,Lee,0\n1000/image,Bo,Li,0\nb/c,Cy,Ma,0\n",
    )
    bucket.put("1000.png", plain())
    manager.run(Trigger.CLI)
    assert client.get("/data/1000%2Fimage").get_json()["first_name"] == "Bo"
    assert client.get("/data/1000%2fimage").get_json()["first_name"] == "Bo"
    assert client.get("/data/1000/image").data == plain()
    assert client.get("/data/b/c").get_json()["first_name"] == "Cy"
    detail = problem_of(client.get("/data/1000%2Fimage/image"), 404)["detail"]
    assert detail == "User '1000/image' has no image."


def test_a_problem_repeats_the_address_as_it_was_sent(client: FlaskClient):
    assert problem_of(client.get("/data/x%2fimage"), 404)["instance"] == "/data/x%2Fimage"
    assert problem_of(client.get("/data/x/ä%20/"), 404)["instance"] == "/data/x/%C3%A4%20/"


def test_encoded_slashes_do_not_split_other_paths(client: FlaskClient, source: str):
    key = "dir%2Fa.csv"
    assert client.put(f"{source}/{key}", data=b"x").get_json()["key"] == "dir/a.csv"
    assert client.get(f"{source}/dir/a.csv").data == b"x"
    assert client.post(f"{source}/{key}/presign", json={}).status_code == 200
    assert client.put(f"{source}/a%2Fpresign", data=b"y").get_json()["key"] == "a/presign"
    assert client.get(f"{source}/a/presign").data == b"y"
    assert problem_of(client.post(f"{source}/a%2Fpresign", json={}), 405)["status"] == 405
    bucket = problem_of(client.get(f"{source}%2Fa"), 404)
    assert bucket["type"].endswith("unknown-bucket")
    for nowhere in ("/runs%2F1", "/runs/1%2Fproblems", "/documents/a%2Fversions", "/static/..%2Fa"):
        assert problem_of(client.get(nowhere), 404)["type"] == "about:blank", nowhere


# -- numbers


NUMERALS = [
    *("\u0661", "\uff11", "\xb2", "\u06631"),  # Arabic, full width, superscript
    *("+1", " 1", "1 ", "1_0", "1e0", "1.0", "0x1"),
]


def integers() -> Iterator[tuple[str, str, str, str]]:
    """Method, path, name and location of every integer parameter in the OpenAPI description."""
    url = "postgresql://db_user@127.0.0.1:9/none"
    app = create_app(Settings(_env_file=None, database_url=url))
    for path, methods in app.test_client().get("/openapi.json").get_json()["paths"].items():
        for method, operation in methods.items():
            for parameter in operation["parameters"]:
                if parameter["schema"].get("type") == "integer":
                    yield method, path, parameter["name"], parameter["in"]


INTEGERS = list(integers())


def test_openapi_has_integers_in_path_and_query():
    assert {place for *_, place in INTEGERS} == {"path", "query"}
    assert {"run_id", "min_age", "max_age", "limit", "after", "size"} <= {
        name for _, _, name, _ in INTEGERS
    }


@pytest.mark.parametrize("integer", INTEGERS, ids=str)
def test_integers_are_ascii_digits_only(
    client: FlaskClient, engine: Engine, integer: tuple[str, str, str, str]
):
    method, path, name, place = integer
    with engine.begin() as connection:
        row = {"trigger": Trigger.CLI, "state": RunState.SUCCEEDED, "requested_at": NOW}
        connection.execute(insert(run).values(row))
    assert client.get("/runs/1").status_code == 200
    for numeral in NUMERALS:
        value = quote(numeral, safe="")
        if place == "path":
            url = path.replace(f"{{{name}}}", value)
            assert client.open(url, method=method).status_code == 404, numeral
        else:
            url = path.replace("{run_id}", "1").replace("{", "").replace("}", "")
            body = problem_of(client.open(f"{url}?{name}={value}", method=method), 422)
            assert [fault["parameter"] for fault in body["errors"]] == [name], numeral


def test_a_run_id_of_any_length_is_refused(client: FlaskClient):
    for digits in (19, 20, 5000):
        problem_of(client.get("/runs/" + "9" * digits), 404)


# -- HEAD with Range


def test_head_ignores_range_everywhere(
    client: FlaskClient, bucket: TestBucket, manager: DataManager, settings: Settings
):
    bucket.user("1000.csv")
    bucket.put("1000.png", plain())
    manager.run(Trigger.CLI)
    ThumbnailIndexer(settings).run()
    paths = [
        f"/objects/{bucket.name}/1000.csv",
        "/data/1000/image",
        "/data/1000/thumbnail",
        "/static/docs.js",
        "/docs",
        "/docs/swagger-ui.css",
    ]
    for path in paths:
        whole = client.get(path, buffered=True)
        for range_ in ("bytes=0-1", f"bytes={1 << 40}-"):
            headers = {"Range": range_, "If-Range": whole.headers["ETag"]}
            with client.head(path, headers=headers) as head:
                assert head.status_code == 200, path
                assert head.content_length == len(whole.data), path
                assert "Content-Range" not in head.headers, path
        part = client.get(path, headers={"Range": "bytes=0-1"}, buffered=True)
        assert (part.status_code, part.data) == (206, whole.data[:2]), path


def test_head_of_a_streamed_answer_has_no_body(settings: Settings):
    """The server must not send even the final empty chunk."""
    source = f"/objects/{settings.source_bucket}"
    with serving(settings) as (host, port, _):
        for path in ("/data", "/data?format=csv", f"{source}?limit=1001"):
            with socket.create_connection((host, port), timeout=10) as client:
                lines = f"HEAD {path} HTTP/1.1", f"Host: {host}", "Connection: close", "", ""
                client.sendall("\r\n".join(lines).encode())
                with client.makefile("rb") as answer:
                    head, _, body = answer.read().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), path
            assert body == b"", path


# -- Content-Type


def test_a_long_content_type_is_refused_with_422(client: FlaskClient, source: str):
    longest = "text/" + "x" * (MAX_CONTENT_TYPE_LENGTH - 5)
    headers = {f"X-Meta-{number}": "v" * 80 for number in range(22)}
    stored = client.put(f"{source}/a", data=b"x", content_type=longest, headers=headers)
    assert stored.get_json()["content_type"] == longest
    for length in (MAX_CONTENT_TYPE_LENGTH + 1, 10_000, 60_000):
        content_type = "text/".ljust(length, "x")
        refused = client.put(f"{source}/b", data=b"x", content_type=content_type)
        assert problem_of(refused, 422)["errors"][0]["parameter"] == "Content-Type"
    assert client.get(f"{source}/b").status_code == 404


def test_a_form_with_one_long_content_type_stores_nothing(client: FlaskClient, source: str):
    parts = [("a.csv", "text/csv"), ("b.csv", "text/" + "x" * 10_000)]
    body = b"".join(
        f'--BB\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\nhello\r\n".encode()
        for name, content_type in parts
    )
    form = {"data": body + b"--BB--\r\n", "content_type": "multipart/form-data; boundary=BB"}
    problem_of(client.post(source, **form), 422)
    assert client.get(source).get_json()["entries"] == []


def test_metadata_that_the_store_would_refuse_is_422(client: FlaskClient, source: str):
    headers = {f"X-Meta-{number}": "v" * 100 for number in range(19)}
    body = problem_of(client.put(f"{source}/a", data=b"x", headers=headers), 422)
    assert body["errors"][0]["parameter"] == "X-Meta-*"


# -- the OpenAPI description


def test_docs_prefill_no_filter(client: FlaskClient):
    """Swagger UI sends examples and defaults as values."""
    for path, methods in client.get("/openapi.json").get_json()["paths"].items():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "query":
                    assert not parameter.get("required"), path
                    assert not {"example", "examples", "content"} & parameter.keys(), path
                    assert not {"example", "examples"} & parameter["schema"].keys(), path


def test_prefilled_values_of_docs_change_nothing(
    client: FlaskClient, bucket: TestBucket, manager: DataManager
):
    bucket.user("1000.csv")
    manager.run(Trigger.CLI)
    operations = client.get("/openapi.json").get_json()["paths"]
    for path in ("/data", "/stats", "/runs", "/problems", "/events", "/documents"):
        defaults = {
            parameter["name"]: json.dumps(parameter["schema"]["default"]).strip('"')
            for parameter in operations[path]["get"]["parameters"]
            if "default" in parameter["schema"]
        }
        assert client.get(path, query_string=defaults).data == client.get(path).data, path
