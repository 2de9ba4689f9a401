"""Requests that could change something other than they name are rejected by every route."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import closing
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from api import create_app
from tests.processes import serving

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from etl.settings import Settings
    from tests.conftest import TestBucket

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")
NOT_UTF_8 = {
    "Latin-1": "Ren\xe9.csv",
    "overlong": "a\xc0\xaf",
    "a surrogate": "\xed\xa0\x80",
    "beyond Unicode": "\xf4\x90\x80\x80",
    "cut off": "\xf0\x9f\x98",
    "a lone continuation": "\x80",
}
TOKEN = "t" * 16
JSON = "application/json"


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()


@pytest.fixture
def source(settings: Settings) -> str:
    return f"/objects/{settings.source_bucket}"


def problem_of(response: TestResponse, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body = response.get_json()
    assert body["type"].endswith(kind)
    assert body["hint"]
    return body


# -- paths


def routes(source: str, odd: str) -> list[str]:
    """Paths with the odd text in place of each parameter, and elsewhere."""
    return [
        f"{source}/{odd}",
        f"{source}/{odd}/presign",
        f"/objects/{odd}",
        f"/documents/{odd}",
        f"/documents/{odd}/versions",
        f"/data/{odd}",
        f"/data/{odd}/image",
        f"/runs/{odd}",
        f"/nowhere/{odd}",
        f"/{odd}",
    ]


@pytest.mark.parametrize("odd", NOT_UTF_8.values(), ids=NOT_UTF_8)
def test_path_that_is_not_utf_8_is_rejected_by_every_route(
    client: FlaskClient, source: str, bucket: TestBucket, odd: str
):
    for path in routes(source, odd):
        for method in METHODS:
            answer = client.open(method=method, data=b"x", environ_overrides={"PATH_INFO": path})
            assert answer.status_code == 400, (method, path)
            if method != "HEAD":
                problem_of(answer, 400, "path-not-utf-8")
    assert bucket.keys() == []


def test_names_that_differ_in_invalid_bytes_overwrite_nothing(
    client: FlaskClient, source: str, bucket: TestBucket
):
    bucket.put("Ren\ufffd.csv", "theirs")
    for byte in ("\xe9", "\xe8"):
        path = {"PATH_INFO": f"{source}/Ren{byte}.csv"}
        answer = client.put(data=b"ours", environ_overrides=path)
        instance = problem_of(answer, 400, "path-not-utf-8")["instance"]
        assert instance == f"{source}/Ren%{ord(byte):X}.csv"
    assert bucket.get("Ren\ufffd.csv") == b"theirs"
    assert client.get(f"{source}/Ren%EF%BF%BD.csv").data == b"theirs"


@hypothesis_settings(max_examples=200)
@given(path=st.binary(max_size=12))
def test_a_path_is_refused_as_not_utf_8_only_if_it_is_not(client: FlaskClient, path: bytes):
    overrides = {"PATH_INFO": f"/data/a{path.decode('latin-1')}"}
    answer = client.get(environ_overrides=overrides)
    kind = answer.get_json().get("type", "")
    try:
        path.decode()
    except UnicodeDecodeError:
        assert (answer.status_code, kind.endswith("path-not-utf-8")) == (400, True)
    else:
        assert not kind.endswith("path-not-utf-8")
        assert answer.status_code < 500


@pytest.mark.parametrize("path", ["/data/a%00b", "/documents/a%00b", "/objects/a%00b", "/a%00b"])
def test_path_with_a_nul_is_not_found(client: FlaskClient, path: str):
    assert client.get(path).status_code == 404


# -- parts of a body


def test_a_put_of_a_part_leaves_the_object_whole(
    client: FlaskClient, source: str, bucket: TestBucket
):
    """`curl -C 5 -T FILE` sends such a request."""
    bucket.put("a", "0123456789")
    tail = {"Content-Range": "bytes 5-9/10"}
    answer = client.put(f"{source}/a", data=b"56789", headers=tail)
    assert "omit -C" in problem_of(answer, 400, "partial-body")["hint"]
    assert bucket.get("a") == b"0123456789"


BODIES = {
    "SOURCE": "multipart/form-data; boundary=XbX",
    "SOURCE/a/presign": "application/json",
    "/documents": "application/json",
    "/documents?name=a": "application/json",
    "/data": "",
    "/minio-event": "application/json",
}


@pytest.mark.parametrize("content_range", ["bytes 0-0/1", "bytes */1", "", "pages 1-2/3"])
def test_no_route_accepts_part_of_a_body(settings: Settings, source: str, content_range: str):
    hooked = settings.model_copy(update={"webhook_token": SecretStr(TOKEN)})
    client = create_app(hooked).test_client()
    headers = {"Content-Range": content_range, "Authorization": f"Bearer {TOKEN}"}
    for path, content_type in BODIES.items():
        answer = client.post(
            path.replace("SOURCE", source),
            data=b'{"Records": []}',
            headers=headers,
            content_type=content_type,
        )
        problem_of(answer, 400, "partial-body")
    assert client.get("/documents").get_json() == {"documents": []}
    assert client.get("/runs").get_json() == {"runs": []}


def test_an_encoded_body_leaves_the_object_whole(
    client: FlaskClient, source: str, bucket: TestBucket
):
    """Such a body was once stored compressed, without a record of its encoding."""
    bucket.put("a", "0123456789")
    for coding in ("gzip", "GZIP", "identity, br"):
        headers = {"Content-Encoding": coding}
        answer = client.put(f"{source}/a", data=gzip.compress(b"x"), headers=headers)
        problem_of(answer, 415, "encoded-body")
        answer = client.post("/documents", data=b"{}", headers=headers, content_type=JSON)
        problem_of(answer, 415, "encoded-body")
    assert bucket.get("a") == b"0123456789"
    identity = {"Content-Encoding": "identity"}
    assert client.put(f"{source}/a", data=b"x", headers=identity).status_code == 200
    assert bucket.get("a") == b"x"


def test_content_range_without_a_body_is_ignored(client: FlaskClient, bucket: TestBucket):
    bucket.put("a", "x")
    address = f"/objects/{bucket.name}/a"
    for method in ("GET", "DELETE"):
        answer = client.open(address, method=method, headers={"Content-Range": "bytes 0-0/1"})
        assert answer.status_code < 300


def test_a_put_without_a_body_does_not_empty_an_object(
    client: FlaskClient, source: str, bucket: TestBucket
):
    """`curl -X PUT` without -T sends such a request."""
    bucket.put("a", "x")
    problem_of(client.put(f"{source}/a"), 411, "no-body")
    assert bucket.get("a") == b"x"
    assert client.put(f"{source}/a", content_length=0).status_code == 200
    assert bucket.get("a") == b""


# -- over the wire: what the server itself does to a request


def ask(address: tuple[str, int], head: bytes, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """Send raw bytes; return the status and the body of the response."""
    with socket.create_connection(address, 30) as connection:
        connection.sendall(head + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n" + body)
        with closing(HTTPResponse(connection)) as answer:
            answer.begin()
            text = answer.read()
    return answer.status, json.loads(text) if text else {}


UNSAFE = "must be percent-encoded"
OTHERS = {
    b"Ren%E9.csv": "not UTF-8",
    b"%C0%AFa": "not UTF-8",
    b"Ren\xe9.csv": UNSAFE,
    b"Ren\xc3\xa9.csv": UNSAFE,
    b"a\tb": UNSAFE,  # urlsplit() would drop the tab
    b"a\x00b": UNSAFE,
    b"a\x7fb": UNSAFE,
    b"a#b": UNSAFE,  # the rest would be a fragment, and the object `a`
}


def test_an_address_that_would_name_another_object_is_refused(
    settings: Settings, source: str, bucket: TestBucket
):
    bucket.put("a", "x")
    bucket.put("ab", "x")
    with serving(settings) as (host, port, _):
        for target, reason in OTHERS.items():
            for place in (b"", b"http://localhost", b"/"):
                path = place + source.encode() + b"/" + target
                head = b"PUT " + path + b" HTTP/1.1\r\nContent-Length: 1"
                status, answer = ask((host, port), head, b"y")
                assert (status, reason in answer["detail"]) == (400, True), (path, answer)
                assert "JSON" not in answer["hint"], (path, answer)
        assert ask((host, port), b"GET http://[a/ HTTP/1.1")[0] == 400
        assert ask((host, port), b"GET /health HTTP/1.1")[0] == 200
    assert [bucket.get(key) for key in bucket.keys()] == [b"x", b"x"]  # noqa: SIM118


def test_metadata_with_an_underscore_are_refused_by_name(
    settings: Settings, source: str, bucket: TestBucket
):
    """The server drops such headers, because WSGI cannot tell `_` from `-` in names."""
    put = f"PUT {source}/a HTTP/1.1\r\nContent-Length: 1\r\n".encode()
    with serving(settings) as (host, port, _):
        for name in ("X-Meta-some_name", "x_meta_a", "X_Meta-A", "X-META-_"):
            status, answer = ask((host, port), put + name.encode() + b": v", b"x")
            assert (status, f"'{name}'" in answer["detail"]) == (400, True), answer
        assert bucket.keys() == []
        other = b"X_Other: v\r\nX-Meta-Some-Name: v\r\nX-Note: X-Meta-a_b: v"
        assert ask((host, port), put + other, b"x")[0] == 200
        assert bucket.keys() == ["a"]


def test_truncated_body_is_not_stored(settings: Settings, source: str, bucket: TestBucket):
    """Neither an object nor the complete files of a form are stored."""
    bucket.put("a", "old")
    form = (
        b'--XbX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nnew\r\n--XbX--'
    )
    is_form = b"\r\nContent-Type: multipart/form-data; boundary=XbX"
    short = f"\r\nContent-Length: {len(form) - 5}".encode()
    with serving(settings) as (host, port, _):
        for head, body in (
            (f"PUT {source}/a HTTP/1.1\r\nContent-Length: 10".encode(), b"new"),
            (f"PUT {source}/a HTTP/1.1\r\nTransfer-Encoding: chunked".encode(), b"3\r\nnew\r\n"),
            (f"POST {source} HTTP/1.1\r\nContent-Length: 999".encode() + is_form, form),
        ):
            with socket.create_connection((host, port), 30) as connection:
                connection.sendall(head + b"\r\nHost: localhost\r\n\r\n" + body)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(1) == b""
        head = f"POST {source} HTTP/1.1".encode() + short + is_form
        status, answer = ask((host, port), head, form)
        assert (status, "before the closing boundary" in answer["detail"]) == (400, True)
        assert ask((host, port), b"GET /health HTTP/1.1")[0] == 200
    assert (bucket.keys(), bucket.get("a")) == (["a"], b"old")
