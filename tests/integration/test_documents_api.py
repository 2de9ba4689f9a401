"""/documents: JSON documents in a bucket, by name and by version."""

from __future__ import annotations

import hashlib
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api import create_app
from etl.model.errors import TransientError
from etl.model.json_text import NotJson, check_json
from etl.storage import documents
from etl.storage.documents import StripedLocks
from tests.conftest import minio_client

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from etl.settings import Settings

pytestmark = pytest.mark.storage

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()


def upload(client: FlaskClient, content: bytes | str, name: str | None = None) -> dict[str, Any]:
    query = "" if name is None else f"?name={name}"
    response = client.post(f"/documents{query}", data=content, headers=JSON)
    assert response.status_code == 201, response.text
    assert response.headers["Location"] == f"/documents/{response.get_json()['name']}"
    return response.get_json()


def problem_of(response: TestResponse, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body = response.get_json()
    assert body["hint"]
    return body


@pytest.mark.parametrize(
    "content",
    [
        *("0", "[]", "null", "false", '""', "{}", ' {"a" : [1.50]}\n', "-0", '{"a":1,"a":2}'),
        *("1e999", "[-1E+999, 1e-999]", "1" * 400, "0." + "1" * 400, "1" * 5000),
        *(r'"\ud800"', r'{"\udc00\ud800": "\ud83d\ude00"}', "[" * 1024 + "]" * 1024),
    ],
)
def test_any_json_value_is_kept_byte_for_byte(client: FlaskClient, content: str):
    saved = upload(client, content)
    answer = client.get(f"/documents/{saved['name']}")
    assert answer.data == content.encode()
    assert answer.mimetype == "application/json"
    assert answer.headers["ETag"] == f'"{saved["etag"]}"'
    assert answer.headers["X-Version"] == saved["version"]


def test_document_without_a_name_gets_a_unique_one(client: FlaskClient):
    names = [upload(client, "1")["name"] for _ in range(5)]
    assert len(set(names)) == 5
    for name in names:
        assert re.fullmatch(r"data_\d{8}T\d{6}_\d{6}_[0-9a-f]{8}\.json", name)


def test_a_document_is_an_object_that_other_clients_can_read(
    client: FlaskClient, settings: Settings
):
    upload(client, '{"a":1}', "report.json")
    found = minio_client(settings).get_object(settings.document_bucket, "report.json")
    try:
        assert found.read() == b'{"a":1}'
        assert found.headers["Content-Type"] == "application/json"
    finally:
        found.close()
        found.release_conn()


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        ("", 1, 1),
        ("NaN", 1, 1),
        ('{"a":\n  Infinity}', 2, 3),
        ("[1,\n2,,3]", 2, 3),
        ('{"a": 1} x', 1, 10),
        ("\ufeff1", 1, 1),
        ("[1e999,\n1e999,]", 2, 6),
        (r'["\ud800", "\ud8"]', 1, 13),
    ],
)
def test_invalid_json_is_rejected_with_its_position(
    client: FlaskClient, content: str, line: int, column: int
):
    response = client.post("/documents", data=content.encode(), headers=JSON)
    body = problem_of(response, 400)
    assert (body["line"], body["column"]) == (line, column)
    assert f"line {line}, column {column}" in body["detail"]
    assert client.get("/documents").get_json() == {"documents": []}


def test_deeply_nested_json_is_rejected_with_the_limit(client: FlaskClient):
    response = client.post("/documents", data="[" * 1025 + "]" * 1025, headers=JSON)
    body = problem_of(response, 422)
    assert body["type"].endswith("nested-too-deeply")
    assert (body["line"], body["column"]) == (1, 1026)
    assert "1,024" in body["detail"]
    assert client.get("/documents").get_json() == {"documents": []}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xef\xbb\xbf1", "byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16"),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16"),
        ("1".encode("utf-32"), "UTF-32"),
        (b'["\xe9"]', "not UTF-8, at line 1, column 3"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
    ],
)
def test_another_encoding_is_refused_by_name(client: FlaskClient, content: bytes, reason: str):
    response = client.post("/documents", data=content, headers=JSON)
    assert reason in problem_of(response, 400)["detail"]


@hypothesis_settings(max_examples=200)
@given(st.text(alphabet='[]{}",:0123456789.eE+-truefalsn \n\\', max_size=12))
def test_json_is_accepted_as_by_a_strict_python_parser(content: str):
    assert is_taken(content) is is_taken_by_python(content)


PIECES = [
    *("[", "]", "{", "}", ",", ":", " ", "-", "+", ".", "0", "7", "e", "E", "true", "NaN"),
    *("1e999", "1e5", "1.5", "9" * 320, '"', "\\", "\\\\", "\\n", "u", "\\ud800", "\\u12", "a"),
    *('"a"', '"\\ud800"', '"1e999"', "[1e999,", '{"\\udfff":'),
]


@hypothesis_settings(max_examples=1000)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_numbers_and_escapes_of_any_kind_change_nothing_else(content: str):
    assert is_taken(content) is is_taken_by_python(content)


def is_taken(content: str) -> bool:
    try:
        check_json(content.encode())
    except NotJson:
        return False
    return True


def is_taken_by_python(content: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(content, parse_constant=refuse, parse_int=str, parse_float=str)
    except ValueError:
        return False
    return True


def test_another_content_type_is_refused_with_the_header_to_send(client: FlaskClient):
    response = client.post("/documents", data="{}", headers={"Content-Type": "text/plain"})
    assert "Content-Type: application/json" in problem_of(response, 415)["hint"]
    vendor = {"Content-Type": "application/vnd.api+json; charset=utf-8"}
    assert client.post("/documents", data="{}", headers=vendor).status_code == 201


def test_body_over_the_limit_is_rejected_and_at_it_accepted(settings: Settings):
    small = settings.model_copy(update={"document_max_size": 70_000})
    client = create_app(small).test_client()
    assert (
        client.post("/documents", data=b'"' + b"1" * 69_998 + b'"', headers=JSON).status_code == 201
    )
    response = client.post("/documents", data=b'"' + b"1" * 69_999 + b'"', headers=JSON)
    assert "70,000 bytes" in problem_of(response, 413)["hint"]


@pytest.mark.parametrize("name", [".versions", "a/b", "..", "a%20b", "%C3%A4", "x" * 201, "-a"])
def test_invalid_document_name_is_rejected(client: FlaskClient, name: str):
    response = client.post(f"/documents?name={name}", data="1", headers=JSON)
    assert problem_of(response, 422)["errors"][0]["parameter"] == "name"
    assert client.get(f"/documents/{name}").status_code == 404


def test_every_upload_under_a_name_stays_as_a_version(client: FlaskClient):
    saved = [upload(client, str(value), "a.json") for value in range(3)]
    assert client.get("/documents/a.json").data == b"2"

    listed = client.get("/documents/a.json/versions").get_json()
    assert listed["name"] == "a.json"
    assert [item["version"] for item in listed["versions"]] == [
        item["version"] for item in reversed(saved)
    ]
    for value, item in enumerate(saved):
        answer = client.get(f"/documents/a.json?version={item['version']}")
        assert answer.data == str(value).encode()
    newest = client.get("/documents/a.json/versions?limit=1").get_json()["versions"]
    assert [item["version"] for item in newest] == [saved[2]["version"]]


def test_versions_of_a_name_exclude_names_it_is_a_prefix_of(client: FlaskClient):
    upload(client, "1", "a")
    upload(client, "2", "a.json")
    assert len(client.get("/documents/a/versions").get_json()["versions"]) == 1


def test_current_etag_gets_not_modified(client: FlaskClient):
    tag = f'"{upload(client, "1", "a.json")["etag"]}"'
    answer = client.get("/documents/a.json", headers={"If-None-Match": f'"x", {tag}'})
    assert (answer.status_code, answer.data) == (304, b"")
    assert answer.headers["ETag"] == tag
    upload(client, "2", "a.json")
    answer = client.get("/documents/a.json", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.data) == (200, b"2")


def test_documents_are_listed_in_byte_order_without_versions(client: FlaskClient):
    names = ["B.json", "a-1", "a.json", "a1", "b"]
    for name in reversed(names):
        upload(client, "[]", name)
    listed, url = [], "/documents?limit=2"
    while url:
        response = client.get(url)
        assert response.status_code == 200, response.text
        page = response.get_json()["documents"]
        assert len(page) <= 2
        listed += page
        link = re.fullmatch(r'<(.*)>; rel="next"', response.headers.get("Link", ""))
        url = link[1] if link else ""
    assert [item["name"] for item in listed] == names
    assert all(item["size"] == 2 and item["etag"] and item["last_modified"] for item in listed)
    begun = client.get("/documents?prefix=a&after=a.json").get_json()["documents"]
    assert [item["name"] for item in begun] == ["a1"]
    for query, count in (("prefix=a1", 1), ("prefix=a1&after=0", 1), ("prefix=a1&after=b", 0)):
        assert len(client.get(f"/documents?{query}").get_json()["documents"]) == count, query


def test_removing_a_document_removes_its_versions(client: FlaskClient, settings: Settings):
    first = upload(client, "1", "a.json")
    upload(client, "2", "a.json")
    assert client.delete("/documents/a.json").status_code == 204
    assert "'a.json'" in problem_of(client.delete("/documents/a.json"), 404)["detail"]
    for url in ("", f"?version={first['version']}", "/versions"):
        problem_of(client.get(f"/documents/a.json{url}"), 404)
    listed = minio_client(settings).list_objects(settings.document_bucket, recursive=True)
    assert [entry.object_name for entry in listed] == []


def test_concurrent_saves_of_one_name_end_consistently(client: FlaskClient, settings: Settings):
    app = client.application
    others = minio_client(settings)

    def save(number: int) -> None:
        upload(app.test_client(), f'"{number}"' + " " * 1000, "a.json")

    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(save, range(8)))
        response = client.get("/documents/a.json")
        newest = client.get("/documents/a.json/versions?limit=1").get_json()["versions"][0]
        assert response.headers["X-Version"] == newest["version"]
        with closing(others.get_object(settings.document_bucket, "a.json")) as copy:
            assert copy.read() == response.data
            assert copy.headers["x-amz-meta-version"] == newest["version"]
    versions = client.get("/documents/a.json/versions").get_json()["versions"]
    assert len({item["version"] for item in versions}) == 40


def test_document_saved_while_removed_is_complete_or_absent(client: FlaskClient):
    app = client.application
    for round_number in range(10):
        upload(client, "1", "a.json")
        with ThreadPoolExecutor(2) as pool:
            removed = pool.submit(app.test_client().delete, "/documents/a.json")
            pool.submit(upload, app.test_client(), "2", "a.json")
        assert removed.result().status_code == 204
        response = client.get("/documents/a.json")
        versions = client.get("/documents/a.json/versions")
        assert response.status_code == versions.status_code, round_number
        listed = client.get("/documents").get_json()["documents"]
        assert [item["name"] for item in listed] == ["a.json"] * (response.status_code == 200)
        if response.status_code == 200:
            assert (response.data, len(versions.get_json()["versions"])) == (b"2", 1)


def test_document_holds_the_last_save_of_any_process(client: FlaskClient, settings: Settings):
    upload(client, "1", "a.json")
    put_past_the_api(settings, ".versions/a.json/29990101T000000_000000_00000000", b"[2]")
    response = client.get("/documents/a.json")
    assert (response.data, response.headers["X-Version"][:8]) == (b"[2]", "29990101")
    assert response.headers["ETag"] == f'"{hashlib.md5(b"[2]").hexdigest()}"'  # noqa: S324
    newest = client.get("/documents/a.json/versions").get_json()["versions"][0]
    assert newest["version"] == response.headers["X-Version"]


def test_the_newest_of_very_many_versions_is_found(
    client: FlaskClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(documents, "LARGEST_PAGE", 2)
    for value in range(5):
        upload(client, str(value), "a.json")
    assert client.get("/documents/a.json").data == b"4"
    put_past_the_api(settings, ".versions/a.json/29990101T000000_000000_00000000", b"5")
    assert client.get("/documents/a.json").data == b"5"
    minio_client(settings).remove_object(settings.document_bucket, "a.json")
    assert client.get("/documents/a.json").data == b"5"


def test_versions_that_lost_their_document_can_be_removed(client: FlaskClient, settings: Settings):
    upload(client, "1", "a.json")
    minio_client(settings).remove_object(settings.document_bucket, "a.json")
    assert client.delete("/documents/a.json").status_code == 204
    for url in ("", "/versions"):
        problem_of(client.get(f"/documents/a.json{url}"), 404)
    assert client.delete("/documents/a.json").status_code == 404


def test_object_of_another_client_is_a_document_without_versions(
    client: FlaskClient, settings: Settings
):
    put_past_the_api(settings, "a.json", b"[1]")
    response = client.get("/documents/a.json")
    assert (response.data, "X-Version" in response.headers) == (b"[1]", False)
    problem_of(client.get("/documents/a.json/versions"), 404)
    assert client.delete("/documents/a.json").status_code == 204


def put_past_the_api(settings: Settings, key: str, content: bytes) -> None:
    minio_client(settings).put_object(
        settings.document_bucket, key, io.BytesIO(content), len(content)
    )


def test_a_clock_that_was_set_back_hides_no_upload(client: FlaskClient, settings: Settings):
    put_past_the_api(settings, ".versions/a.json/29990101T000000_999999_ffffffff", b"1")
    saved = [upload(client, str(value), "a.json")["version"] for value in (2, 3)]
    assert [version[:22] for version in saved] == [
        "29990101T000001_000000",
        "29990101T000001_000001",
    ]
    assert client.get("/documents/a.json").data == b"3"


@pytest.mark.parametrize("odd", ["0", "99991231T235959_999999_ffffffff"])
def test_foreign_object_among_versions_stops_no_upload(
    client: FlaskClient, settings: Settings, odd: str
):
    put_past_the_api(settings, f".versions/a.json/{odd}", b"1")
    upload(client, "2", "a.json")
    assert len(client.get("/documents/a.json/versions").get_json()["versions"]) == 2


def test_waiting_too_long_for_a_document_raises_transient_error():
    turns = StripedLocks(timeout_seconds=0.01)
    with (
        turns.of("a.json"),
        pytest.raises(TransientError, match=r"a\.json"),
        turns.of("a.json"),
    ):
        pass
    with turns.of("a.json"):
        pass


def test_without_the_store_documents_are_a_503(settings: Settings):
    odd = settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    client = create_app(odd).test_client()
    responses = [
        client.get("/documents"),
        client.get("/documents/a"),
        client.post("/documents", data="1", headers=JSON),
        client.delete("/documents/a"),
    ]
    for response in responses:
        assert problem_of(response, 503)["type"].endswith("object-store-unavailable")
