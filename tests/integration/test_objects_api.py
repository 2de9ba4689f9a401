"""/objects: list, upload, download, remove and presign, concurrently with other clients."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import urllib3
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr
from waitress.adjustments import Adjustments

from api import create_app
from api.http.bodies import SMALL_BYTES
from api.rows import streaming
from api.server.parser import RequestParser
from api.state.services import MAX_STREAMS
from etl.db.events import MAX_BODY_BYTES as EVENT_BYTES
from etl.model.errors import TransientError
from etl.model.roles import Role, entry_for, new_key
from etl.storage.objects import ObjectInfo, Objects
from tests.conftest import minio_client
from tests.processes import serving
from tests.stores import FOLDERS_TAKE_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apiflask import APIFlask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from etl.settings import Settings
    from etl.sync.manager import DataManager
    from tests.conftest import TestBucket


@pytest.fixture
def app(settings: Settings) -> APIFlask:
    return create_app(settings)


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def source(settings: Settings) -> str:
    """The address of the source bucket, which may be written."""
    return f"/objects/{settings.source_bucket}"


def problem_of(response: TestResponse, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body = response.get_json()
    assert body["hint"]
    return body


def listed(client: FlaskClient, url: str) -> dict[str, Any]:
    response = client.get(url)
    assert response.status_code == 200, response.text
    return response.get_json()


# -- buckets


def test_buckets_are_shown_with_rights(client: FlaskClient, settings: Settings):
    assert listed(client, "/objects")["buckets"] == [
        {"name": settings.source_bucket, "rights": "rw", "exists": True},
        *(
            {"name": name, "rights": "r", "exists": True}
            for name in settings.buckets
            if name != settings.source_bucket
        ),
    ]


def test_unlisted_bucket_is_unknown_and_read_only_not_written(
    settings: Settings,
):
    only = settings.model_copy(update={"object_buckets": f"{settings.source_bucket}:r"})
    client = create_app(only).test_client()
    problem_of(client.get(f"/objects/{settings.processed_bucket}"), 404)
    problem_of(client.get(f"/objects/{settings.processed_bucket}/output.csv"), 404)
    address = f"/objects/{settings.source_bucket}/a.csv"
    assert problem_of(client.put(address, data=b"x"), 403)["type"].endswith("read-only-bucket")
    problem_of(client.delete(address), 403)
    problem_of(client.post(f"{address}/presign", json={"method": "PUT"}), 403)
    assert client.post(f"{address}/presign", json={}).status_code == 200


@pytest.mark.storage
def test_buckets_are_created_and_removed(settings: Settings):
    name = f"new-{settings.source_bucket}"
    rights = f"{settings.source_bucket}:rw,{name}:rw,{settings.processed_bucket}:r"
    client = create_app(settings.model_copy(update={"object_buckets": rights})).test_client()
    store = minio_client(settings)
    created = client.put(f"/objects/{name}")
    assert created.status_code == 201, created.text
    assert created.get_json() == {"name": name, "rights": "rw", "exists": True}
    assert store.bucket_exists(name)
    again = problem_of(client.put(f"/objects/{name}"), 409)
    assert again["type"].endswith("bucket-exists")

    store.put_object(name, "a", io.BytesIO(b"x"), 1)
    full = problem_of(client.delete(f"/objects/{name}"), 409)
    assert full["type"].endswith("bucket-not-empty")
    store.remove_object(name, "a")
    assert client.delete(f"/objects/{name}").status_code == 204
    assert not store.bucket_exists(name)
    problem_of(client.delete(f"/objects/{name}"), 404)


def test_buckets_that_are_used_read_only_or_not_served_stay(settings: Settings):
    client = create_app(settings).test_client()
    used = problem_of(client.delete(f"/objects/{settings.source_bucket}"), 409)
    assert used["type"].endswith("bucket-used")
    problem_of(client.delete(f"/objects/{settings.processed_bucket}"), 403)
    problem_of(client.delete("/objects/not-served"), 404)
    problem_of(client.put("/objects/not-served"), 404)
    problem_of(client.put("/objects/No_Name"), 422)
    assert all(minio_client(settings).bucket_exists(one) for one in settings.buckets)


# -- listings


@pytest.mark.storage
def test_a_listing_shows_folders_or_with_recursive_every_object(
    client: FlaskClient, source: str, bucket: TestBucket
):
    for key in ("a.csv", "photos/1.png", "photos/2.png", "z/y/x.csv"):
        bucket.put(key, "x")
    body = listed(client, source)
    assert [entry.get("key") or entry["folder"] for entry in body["entries"]] == [
        "a.csv",
        "photos/",
        "z/",
    ]
    (first, *_) = body["entries"]
    assert (first["size"], first["etag"]) == (1, hashlib.md5(b"x").hexdigest())  # noqa: S324
    assert datetime.fromisoformat(first["last_modified"]).tzinfo is not None
    assert body["after"] is None

    everything = listed(client, f"{source}?recursive=true")["entries"]
    assert [entry["key"] for entry in everything] == bucket.keys()
    inside = listed(client, f"{source}?prefix=photos/")["entries"]
    assert [entry["key"] for entry in inside] == ["photos/1.png", "photos/2.png"]


@pytest.mark.storage
@pytest.mark.parametrize("recursive", ["true", "false"])
def test_pages_put_together_are_the_whole_listing(
    client: FlaskClient, source: str, bucket: TestBucket, recursive: str
):
    for key in ("a/1", "a/2", "b", "c/1", "d é", "e+f"):
        bucket.put(key, "x")
    url = f"{source}?recursive={recursive}"
    whole = listed(client, url)["entries"]
    pages, after = [], ""
    while after is not None:
        page = listed(client, f"{url}&limit=2" + (f"&after={quote(after)}" if after else ""))
        assert len(page["entries"]) <= 2
        pages += page["entries"]
        after = page["after"]
    assert pages == whole


@pytest.mark.storage
def test_folders_stay_in_order_across_store_pages(
    client: FlaskClient, source: str, bucket: TestBucket
):
    for number in range(700):
        bucket.put(f"{number:04}", "")
        bucket.put(f"{number:04}x/1", "")
    names = [e.get("key") or e["folder"] for e in listed(client, f"{source}?limit=2000")["entries"]]
    assert len(names) == 1400
    assert names == sorted(names)


@pytest.mark.storage
def test_listing_spans_store_pages(client: FlaskClient, source: str, bucket: TestBucket):
    for number in range(1_203):
        bucket.put(f"{number:05}", "")
    body = listed(client, f"{source}?limit=1000000")
    assert len(body["entries"]) == 1_203
    assert body["after"] is None
    assert listed(client, f"{source}?limit=1202")["after"] == "01201"


def test_content_types_are_fetched_on_request(client: FlaskClient, source: str):
    client.put(f"{source}/a.csv", data=b"x")
    client.put(f"{source}/b", data=b"x", content_type="image/png")
    entries = listed(client, f"{source}?content_type=true")["entries"]
    assert [entry["content_type"] for entry in entries] == ["text/csv", "image/png"]


def test_content_types_are_fetched_a_hundred_at_a_time(
    client: FlaskClient, source: str, bucket: TestBucket
):
    for number in range(102):
        bucket.put(f"{number:03}.csv" if number else "0/1", "")
    first = listed(client, f"{source}?content_type=true&limit=101")
    assert (len(first["entries"]), first["after"]) == (100, "099.csv")
    assert first["entries"][0] == {"folder": "0/"}
    assert first["entries"][1]["content_type"]
    last = listed(client, f"{source}?content_type=true&after=099.csv")
    assert [len(last["entries"]), last["after"]] == [2, None]


@pytest.mark.parametrize("long", ["limit=1001", "content_type=true"])
def test_long_listings_do_not_block_other_requests(app: APIFlask, source: str, long: str):
    client = app.test_client()
    held = [client.get(f"{source}?{long}", buffered=False) for _ in range(MAX_STREAMS)]
    problem_of(client.get(f"{source}?{long}"), 503)
    assert listed(client, source)["entries"] == []
    for response in held:
        response.close()
    assert listed(client, f"{source}?{long}")["entries"] == []
    problem_of(client.get(f"/objects/none?{long}"), 404)


def test_unread_listing_is_cut_off():
    with pytest.raises(TransientError):
        next(streaming.until_deadline(iter(["chunk"]), seconds=-1))


@pytest.mark.storage
def test_a_recursive_listing_shows_every_key_as_it_is(
    client: FlaskClient, source: str, bucket: TestBucket
):
    """Includes ignored files, folder markers, and keys that some clients mangle."""
    keys = ["Thumbs.db", "__MACOSX/x", "b/", "c d+e%.csv", "é😀.csv", "z/._1.csv", "empty.csv"]
    for key in keys:
        bucket.put(key, "" if key in ("b/", "empty.csv") else "x")
    names = [entry["key"] for entry in listed(client, f"{source}?recursive=true")["entries"]]
    assert names == bucket.keys()
    assert set(keys) <= set(names)
    following = listed(client, f"{source}?recursive=true&after=Thumbs.db")["entries"]
    assert [entry["key"] for entry in following] == [key for key in names if key > "Thumbs.db"]


@pytest.mark.storage
@pytest.mark.parametrize("recursive", ["true", "false"])
def test_awkward_prefixes_list_matching_keys(
    client: FlaskClient, source: str, bucket: TestBucket, recursive: str
):
    for key in ("+a", "..c", ".d/e", "k/a", "k/..b"):
        bucket.put(key, "")
    url = f"{source}?recursive={recursive}&limit=1"

    def names(prefix: str) -> list[str]:
        found, after = [], ""
        while after is not None:
            page = listed(client, f"{url}&prefix={prefix}" + (f"&after={after}" if after else ""))
            found += [entry.get("key") or entry["folder"] for entry in page["entries"]]
            assert len(found) <= 5, "listing does not end"
            after = page["after"]
        return found

    for prefix in ("/", "//", "a//", "k//", "../", "./", "k/../", "k/a/"):
        assert names(prefix) == []
        assert listed(client, f"{url}&prefix={prefix}&after=%2Ba")["entries"] == []
    assert names("..") == ["..c"]
    assert names(".") == ["..c", ".d/e" if recursive == "true" else ".d/"]
    assert names("k/..") == ["k/..b"]


# -- uploads and downloads


@pytest.mark.storage
@hypothesis_settings(max_examples=25)
@given(
    content=st.binary(max_size=5000),
    key=st.text("aZ0 +%é😀&?#=,;'()~.-_/", min_size=1, max_size=30).filter(
        lambda key: all(part.strip(". ") for part in key.split("/"))  # rejected by stores
    ),
)
def test_uploaded_object_round_trips_for_every_client(settings: Settings, content: bytes, key: str):
    client = create_app(settings).test_client()
    address = f"/objects/{settings.source_bucket}/{quote(key)}"
    stored = client.put(address, data=content, content_length=len(content))
    assert stored.status_code == 200, stored.text
    assert stored.get_json()["key"] == key
    assert client.get(address).data == content
    direct = minio_client(settings).stat_object(settings.source_bucket, key)
    assert (direct.size, direct.etag) == (len(content), stored.get_json()["etag"])
    assert client.delete(address).status_code == 204


def test_an_uploaded_csv_reaches_the_table_like_any_other_put(
    client: FlaskClient, source: str, manager: DataManager
):
    client.put(f"{source}/1000.csv", data=b"first_name,last_name,birthts\nAnn,Lee,0\n")
    manager.run("cli")
    assert client.get("/data/1000").get_json()["first_name"] == "Ann"


def test_content_type_is_stored_or_guessed_and_metadata_returned(client: FlaskClient, source: str):
    client.put(f"{source}/a.csv", data=b"x", headers={"X-Meta-Owner": "ann", "X-Meta-Team": "b c"})
    answer = client.head(f"{source}/a.csv")
    assert answer.headers["Content-Type"] == "text/csv"
    assert (answer.headers["X-Meta-Owner"], answer.headers["X-Meta-Team"]) == ("ann", "b c")
    client.put(f"{source}/b", data=b"x", content_type="text/plain; charset=utf-16")
    assert client.head(f"{source}/b").headers["Content-Type"] == "text/plain; charset=utf-16"
    assert client.put(f"{source}/c", data=b"x").get_json()["content_type"] == (
        "application/octet-stream"
    )
    odd = client.put(f"{source}/d", data=b"x", headers={"X-Meta-Name": "Zoë"})
    assert problem_of(odd, 422)["errors"][0]["parameter"] == "X-Meta-*"
    tabbed = client.put(f"{source}/d", data=b"x", headers={"X-Meta-Name": "a\tb"})
    assert problem_of(tabbed, 422)["errors"][0]["parameter"] == "X-Meta-*"
    for content_type in ("text/zoë", "text/plain; a=\t1"):
        wrong = client.put(f"{source}/d", data=b"x", content_type=content_type)
        assert problem_of(wrong, 422)["errors"][0]["parameter"] == "Content-Type"
    large = client.put(f"{source}/d", data=b"x", headers={"X-Meta-Name": "n" * 2048})
    problem_of(large, 422)


@pytest.mark.storage
def test_a_form_uploads_several_files(client: FlaskClient, source: str, bucket: TestBucket):
    files = [(io.BytesIO(b"1"), "C:/fake/1.csv"), (io.BytesIO(b"22"), "2.png")]
    response = client.post(source, data={"prefix": "in/", "file": files})
    assert response.status_code == 201, response.text
    stored = response.get_json()["objects"]
    assert [(item["key"], item["size"]) for item in stored] == [("in/1.csv", 1), ("in/2.png", 2)]
    assert bucket.get("in/2.png") == b"22"
    named = client.post(source, data={"key": "x.csv", "file": (io.BytesIO(b"3"), "y.csv")})
    assert named.get_json()["objects"][0]["key"] == "x.csv"
    assert problem_of(client.post(source, data={"prefix": "x"}), 415)
    empty = client.post(source, data={"prefix": "x"}, content_type="multipart/form-data")
    assert problem_of(empty, 422)["errors"][0]["parameter"] == "file"
    both = client.post(
        source, data={"key": "x", "file": [(io.BytesIO(), "a"), (io.BytesIO(), "b")]}
    )
    assert problem_of(both, 422)["errors"][0]["parameter"] == "key"
    twice = [(io.BytesIO(b"1"), "a/t.csv"), (io.BytesIO(b"2"), "u"), (io.BytesIO(b"3"), "b/t.csv")]
    fault = problem_of(client.post(source, data={"prefix": "p/", "file": twice}), 422)["errors"]
    assert fault == [{"parameter": "file", "message": "stores 'p/t.csv' more than once"}]
    assert bucket.keys() == ["in/1.csv", "in/2.png", "x.csv"]


@pytest.mark.storage
@pytest.mark.parametrize(
    ("range_header", "status", "expected", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-10", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=-11", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=3-100", 206, b"3456789", "bytes 3-9/10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=x", 200, b"0123456789", None),
    ],
)
def test_ranges(  # noqa: PLR0913, PLR0917
    client: FlaskClient,
    source: str,
    range_header: str,
    status: int,
    expected: bytes,
    content_range: str | None,
):
    client.put(f"{source}/a", data=b"0123456789")
    answer = client.get(f"{source}/a", headers={"Range": range_header})
    assert (answer.status_code, answer.data) == (status, expected)
    assert answer.headers.get("Content-Range") == content_range
    assert answer.headers["Content-Length"] == str(len(expected))


@pytest.mark.storage
def test_range_past_the_end_is_a_416_with_the_size(client: FlaskClient, source: str):
    client.put(f"{source}/a", data=b"0123456789")
    answer = client.get(f"{source}/a", headers={"Range": "bytes=10-"})
    problem_of(answer, 416)
    assert answer.headers["Content-Range"] == "bytes */10"
    client.put(f"{source}/empty", content_length=0)
    for range_header in ("bytes=0-", "bytes=-1"):
        problem_of(client.get(f"{source}/empty", headers={"Range": range_header}), 416)


@pytest.mark.storage
def test_empty_object_is_downloaded_empty(client: FlaskClient, source: str):
    client.put(f"{source}/a", content_length=0)
    answer = client.get(f"{source}/a")
    assert (answer.status_code, answer.data, answer.headers["Content-Length"]) == (200, b"", "0")


def test_conditions_are_heeded(client: FlaskClient, source: str):
    client.put(f"{source}/a", data=b"x")
    head = client.head(f"{source}/a")
    tag, modified = head.headers["ETag"], head.headers["Last-Modified"]
    for condition in ({"If-None-Match": tag}, {"If-Modified-Since": modified}):
        answer = client.get(f"{source}/a", headers=condition)
        assert (answer.status_code, answer.data) == (304, b"")
    assert client.get(f"{source}/a", headers={"If-Match": tag}).data == b"x"
    problem_of(client.get(f"{source}/a", headers={"If-Match": '"other"'}), 412)
    stale = {"Range": "bytes=0-0", "If-Range": '"other"'}
    assert client.get(f"{source}/a", headers=stale).status_code == 200
    weak = {"Range": "bytes=0-0", "If-Range": f"W/{tag}"}
    assert client.get(f"{source}/a", headers=weak).status_code == 200
    fresh = {"Range": "bytes=0-0", "If-Range": tag}
    assert client.get(f"{source}/a", headers=fresh).status_code == 206


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If-Match": "TAG", "If-None-Match": '"other"'}, 200),
        ({"If-Match": "TAG", "If-None-Match": "TAG"}, 304),
        ({"If-Match": '"other"', "If-None-Match": "TAG"}, 412),
        ({"If-Match": "TAG", "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If-Match": "W/TAG"}, 412),
        ({"If-Match": "*"}, 200),
        ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 412),
        ({"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
        ({"If-Unmodified-Since": "yesterday"}, 200),
        ({"If-Match": "TAG", "If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
    ],
)
def test_conditions_are_heeded_in_order(
    client: FlaskClient, source: str, conditions: dict[str, str], status: int
):
    client.put(f"{source}/a", data=b"x")
    tag = client.head(f"{source}/a").headers["ETag"]
    headers = {name: value.replace("TAG", tag) for name, value in conditions.items()}
    assert client.get(f"{source}/a", headers=headers).status_code == status


def test_active_content_is_sent_as_attachment(client: FlaskClient, source: str):
    client.put(f"{source}/é.html", data=b"<script>", content_type="text/html")
    client.put(f"{source}/a.png", data=b"x")
    page = client.get(f"{source}/%C3%A9.html")
    assert page.headers["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%A9.html"
    assert "sandbox" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    shown = client.get(f"{source}/a.png").headers["Content-Disposition"]
    assert shown.startswith("inline")
    saved = client.get(f"{source}/a.png?download=true").headers["Content-Disposition"]
    assert saved.startswith("attachment")


@pytest.mark.storage
def test_missing_object_is_a_404(client: FlaskClient, source: str):
    for method in ("GET", "DELETE"):
        problem_of(client.open(f"{source}/none.csv", method=method), 404)
    assert client.head(f"{source}/none.csv").status_code == 404


@pytest.mark.parametrize(
    "key",
    [
        *("..", "a/../b", "./a", "a//b", "/a", "x" * 1025, "é" * 513),
        *("a%00b", "a%0Ab", "%C2%85", "a%E2%80%A8b", "a%E2%80%A9b", "%20", "%C2%A0"),
    ],
)
def test_a_key_that_some_client_would_misread_is_refused(
    client: FlaskClient, source: str, bucket: TestBucket, key: str
):
    for method in ("PUT", "GET", "DELETE"):
        response = client.open(f"{source}/{key}", method=method, data=b"x")
        assert problem_of(response, 422)["errors"][0]["parameter"] == "key"
    assert bucket.keys() == []


@pytest.mark.storage
@pytest.mark.parametrize(
    "key", ["a\u00a0b", "1\u202fAM.png", "👨\u200d👩.t", "a\u0600", "\U0001fae8"]
)
def test_a_key_may_hold_any_other_character(client: FlaskClient, source: str, key: str):
    address = f"{source}/{quote(key)}"
    assert client.put(address, data=b"x").get_json()["key"] == key
    assert client.get(address).data == b"x"
    assert [entry["key"] for entry in listed(client, source)["entries"]] == [key]
    assert client.delete(address).status_code == 204


@pytest.mark.storage
@pytest.mark.store(FOLDERS_TAKE_KEYS)
def test_key_invalid_for_the_store_is_explained(
    client: FlaskClient, source: str, bucket: TestBucket
):
    bucket.put("k/a", "")
    for key in ("k/a/b", "k", "k/a/"):
        response = client.put(f"{source}/{key}", data=b"x")
        assert problem_of(response, 409)["type"].endswith("key-taken")
    chunks = {"Transfer-Encoding": "chunked"}
    chunked = client.put(f"{source}/k/a/b", input_stream=io.BytesIO(b"x"), headers=chunks)
    problem_of(chunked, 409)
    form = client.post(source, data={"prefix": "k/a/", "file": (io.BytesIO(b"x"), "b")})
    problem_of(form, 409)
    reserved = client.put(f"{source}/.minio.sys/x", data=b"x")
    assert problem_of(reserved, 422)["errors"][0]["parameter"] == "key"
    assert bucket.keys() == ["k/a"]


def test_large_downloads_do_not_block_other_requests(settings: Settings):
    app = create_app(settings)
    client = app.test_client()
    address = f"/objects/{settings.source_bucket}/a"
    client.put(address, data=b"x" * 1_100_000)
    held = [client.get(address, buffered=False) for _ in range(MAX_STREAMS)]
    problem_of(client.get(address), 503)
    for response in held:
        response.close()
    assert len(client.get(address).data) == 1_100_000


@pytest.mark.storage
@pytest.mark.parametrize("range_header", [None, "bytes=2-", "bytes=40-"])
def test_a_download_overtaken_by_an_overwrite_is_of_one_version(
    app: APIFlask, bucket: TestBucket, settings: Settings, range_header: str | None
):
    """A download overtaken once gets the new version; one always overtaken gets nothing."""
    new = b"a new and longer version, or a shorter one"
    bucket.put("a", "x" * 50)
    client, address = app.test_client(), f"/objects/{settings.source_bucket}/a"
    headers = {"Range": range_header} if range_header else {}
    with overtaking(app, lambda: bucket.put("a", new.decode()), times=1):
        answer = client.get(address, headers=headers)
    part = slice(*([int(range_header[6:-1]), None] if range_header else [None]))
    assert answer.data == new[part]
    assert answer.headers["ETag"] == f'"{hashlib.md5(new).hexdigest()}"'  # noqa: S324
    versions = iter(range(100))
    with overtaking(app, lambda: bucket.put("a", "x" * (50 + next(versions))), times=100):
        problem_of(client.get(address, headers=headers), 503)
    with overtaking(app, lambda: client.delete(address), times=1):
        problem_of(client.get(address, headers=headers), 404)


@contextmanager
def overtaking(app: APIFlask, change: Callable[[], object], *, times: int) -> Iterator[None]:
    """Replace an object right after it is checked."""
    objects, left = app.extensions["bucketline"].objects, iter(range(times))

    def head(bucket: str, key: str) -> ObjectInfo | None:
        info = Objects.head(objects, bucket, key)
        if next(left, None) is not None:
            change()
        return info

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "head", head)
        yield


# -- presigned URLs


def presign(client: FlaskClient, address: str, **query: object) -> str:
    response = client.post(f"{address}/presign", json=query)
    assert response.status_code == 200, response.text
    return str(response.get_json()["url"])


@pytest.mark.storage
def test_presigned_url_allows_only_its_method_and_object(client: FlaskClient, source: str):
    address = f"{source}/a%20b/c.csv"
    put = presign(client, address, method="PUT")
    assert urllib3.request("PUT", put, body=b"hello").status == 200
    assert client.get(address).data == b"hello"
    assert urllib3.request("GET", put).status == 403
    headers = {"content-disposition": 'attachment; filename="x.csv"'}
    get = presign(client, address, method="GET", expires_seconds=60, response_headers=headers)
    answer = urllib3.request("GET", get)
    assert (answer.status, answer.data) == (200, b"hello")
    assert answer.headers["Content-Disposition"] == headers["content-disposition"]
    assert urllib3.request("DELETE", get).status == 403
    assert urllib3.request("GET", re.sub("c.csv", "d.csv", get)).status == 403


def test_a_presigned_url_names_the_address_that_clients_see(settings: Settings):
    public = settings.model_copy(update={"s3_public_endpoint": "https://files.example.org"})
    client = create_app(public).test_client()
    url = presign(client, f"/objects/{settings.source_bucket}/a")
    assert url.startswith(f"https://files.example.org/{settings.source_bucket}/a?X-Amz-")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"method": "DELETE"}, "method"),
        ({"expires_seconds": 0}, "expires_seconds"),
        ({"expires_seconds": 86_401}, "expires_seconds"),
        ({"response_headers": {"x-evil": "1"}}, "response_headers"),
        ({"response_headers": {"content-type": "a\nb"}}, "response_headers"),
        ({"odd": 1}, "odd"),
        (None, "body"),
    ],
)
def test_presigned_url_for_an_invalid_request_is_rejected(
    client: FlaskClient, source: str, query: dict[str, Any] | None, parameter: str
):
    body = json.dumps(query)
    response = client.post(f"{source}/a/presign", data=body, content_type="application/json")
    assert problem_of(response, 422)["errors"][0]["parameter"].startswith(parameter)


@pytest.mark.parametrize(
    ("key", "methods"),
    [("a", "DELETE, GET, HEAD, OPTIONS, PUT"), ("a/presign", "OPTIONS, POST")],
)
def test_allow_header_matches_the_openapi_methods(
    client: FlaskClient, source: str, key: str, methods: str
):
    refused = client.patch(f"{source}/{key}")
    assert (refused.status_code, refused.headers["Allow"]) == (405, methods)
    assert client.options(f"{source}/{key}").headers["Allow"] == methods


def test_an_object_may_be_called_presign(client: FlaskClient, source: str):
    assert client.put(f"{source}/a/presign", data=b"x").status_code == 200
    assert client.get(f"{source}/a/presign").data == b"x"


# -- over the wire


def test_large_upload_and_download_need_little_memory(settings: Settings):
    size = 150_000_000
    patient = urllib3.PoolManager(timeout=120, retries=False)
    with serving(settings) as (host, port, process):
        url = f"http://{host}:{port}/objects/{settings.source_bucket}/large"
        patient.request("PUT", url, body=b"x")
        before = peak_mb(process.pid)
        headers = {"Content-Length": str(size)}
        answer = patient.request("PUT", url, body=_zeroes(size), headers=headers)
        assert answer.status == 200, answer.data
        download = patient.request("GET", url, preload_content=False)
        assert sum(len(piece) for piece in download.stream(1 << 20)) == size
        download.release_conn()
        assert peak_mb(process.pid) - before < 60


def test_only_authorized_clients_may_send_a_large_body(settings: Settings):
    """The server rejects it before it reads, because it would spool the body to disk."""
    keys = {role: new_key() for role in Role}
    entries = ",".join(str(entry_for(f"the-{role}", role, key)) for role, key in keys.items())
    locked = settings.model_copy(update={"api_keys": SecretStr(entries)})
    keyring = create_app(locked).extensions["bucketline-authenticator"].keyring
    large, small = settings.object_max_size, SMALL_BYTES
    source, read_only = f"/objects/{settings.source_bucket}", f"/objects/{settings.document_bucket}"

    def limit(method: str, path: str, key: str = keys[Role.WRITER]) -> int:
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n".encode()
        request = RequestParser(Adjustments(), settings=locked, keyring=keyring)
        request.parse_header(head)
        return int(request.max_body_bytes)

    assert limit("PUT", f"{source}/a") == limit("PUT", f"{source}/a/presign") == large
    assert limit("POST", source) == limit("PUT", f"{source}/a", keys[Role.ADMIN]) == large
    assert limit("POST", "/documents") == settings.document_max_size
    assert limit("POST", f"{source}/a/presign") == limit("GET", f"{source}/a") == small
    assert limit("GET", "/documents") == limit("POST", "/documents", new_key()) == small
    assert limit("PUT", f"{source}/a", keys[Role.READER]) == small
    assert limit("POST", "/check", keys[Role.READER]) == settings.check_max_size
    assert limit("POST", "/check", new_key()) == limit("GET", "/check") == small
    assert limit("PUT", f"{source}/a", new_key()) == limit("PUT", f"{source}/a", "") == small
    assert limit("PUT", f"{read_only}/a") == limit("PUT", "/objects/none/a") == small


def test_only_clients_with_the_token_may_send_many_events(settings: Settings):
    """The server rejects the others before it reads the body."""
    token = "t" * 16
    asked = settings.model_copy(update={"webhook_token": SecretStr(token)})
    keyring = create_app(asked).extensions["bucketline-authenticator"].keyring

    def limit(shown: str) -> int:
        head = f"POST /minio-event HTTP/1.1\r\nHost: a\r\nAuthorization: {shown}\r\n".encode()
        request = RequestParser(Adjustments(), settings=asked, keyring=keyring)
        request.parse_header(head)
        return int(request.max_body_bytes)

    assert limit(f"Bearer {token}") == limit(token) == EVENT_BYTES
    assert limit("Bearer wrong") == limit("") == SMALL_BYTES


def test_large_unauthenticated_body_is_rejected_before_upload(settings: Settings):
    keys = SecretStr(str(entry_for("ann", Role.WRITER, key := new_key())))
    with serving(settings.model_copy(update={"api_keys": keys})) as (host, port, _):
        address = f"/objects/{settings.source_bucket}/a"
        for head, status in (("", 413), (f"X-API-Key: {key}\r\n", 100)):
            with socket.create_connection((host, port), 10) as wire:
                wire.sendall(
                    f"PUT {address} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\n{head}"
                    "Content-Length: 70000\r\n\r\n".encode()
                )
                assert wire.recv(65536).startswith(f"HTTP/1.1 {status} ".encode())
                wire.shutdown(socket.SHUT_WR)
        small = urllib3.request("PUT", f"http://{host}:{port}{address}", body=b"x")
        assert small.status == 401


def _zeroes(size: int) -> Any:  # noqa: ANN401
    return (b"\0" * 1_000_000 for _ in range(size // 1_000_000))


def peak_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as lines:  # noqa: PTH123
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def test_without_the_store_objects_are_a_503(settings: Settings):
    odd = settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    client = create_app(odd).test_client()
    address = f"/objects/{settings.source_bucket}"
    responses = [
        client.get("/objects"),
        client.get(address),
        client.get(f"{address}/a"),
        client.put(f"{address}/a", data=b"x"),
        client.delete(f"{address}/a"),
    ]
    for response in responses:
        problem = problem_of(response, 503)
        assert problem["type"].endswith("object-store-unavailable")
        assert problem["detail"] == "The object store is not available."
        assert "127.0.0.1" not in response.text
        assert response.headers["Retry-After"]
    assert client.post(f"{address}/a/presign", json={}).status_code == 200
