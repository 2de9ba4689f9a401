"""What each conditional header does to each method, by RFC 9110, on two kinds of stores.

The embedded store cannot compare and write in one step; `conditional_store` can. A condition that
fails is a 412 on both; one that holds is honored by the second, and refused with 501 by the first.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from api import create_app
from etl.model.errors import NotSupported, ObjectChanged, ObjectExists
from etl.storage.client import ObjectStore
from etl.storage.conditional import OWN_PREFIX, Write
from etl.storage.objects import ObjectInfo, Objects, Upload
from tests.conditional_store import ConditionalStore, conditional_store
from tests.conftest import minio_client
from tests.stores import IGNORES_CONDITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from etl.settings import Settings
    from tests.conftest import TestBucket

Table = list[tuple[dict[str, str], str]]

PAST, FUTURE = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
pytestmark = pytest.mark.storage

JSON = {"Content-Type": "application/json"}

DONE, GUARDED, FAILED, REFUSED = "done", "done, or 501", "412", "501"

# Results of a request that changes an existing object with the ETag TAG.
CHANGES = [
    ({"If-Match": "TAG"}, GUARDED),
    ({"If-Match": "*"}, GUARDED),
    ({"If-Match": '"x", TAG'}, GUARDED),
    ({"If-Match": '"x"'}, FAILED),
    ({"If-Match": "W/TAG"}, FAILED),  # compared strongly
    ({"If-Match": ""}, FAILED),
    ({"If-None-Match": "*"}, FAILED),
    ({"If-None-Match": "TAG"}, FAILED),
    ({"If-None-Match": '"x", W/TAG'}, FAILED),  # compared weakly
    ({"If-None-Match": '"x"'}, GUARDED),
    ({"If-Unmodified-Since": PAST}, FAILED),
    ({"If-Unmodified-Since": FUTURE}, GUARDED),
    ({"If-Unmodified-Since": "yesterday"}, DONE),  # not a date: ignored
    ({"If-Match": "TAG", "If-Unmodified-Since": PAST}, GUARDED),  # the date does not count
    ({"If-Match": '"x"', "If-Unmodified-Since": FUTURE}, FAILED),
    ({"If-Match": "TAG", "If-None-Match": "TAG"}, FAILED),
    ({"If-Unmodified-Since": FUTURE, "If-None-Match": "TAG"}, FAILED),
    ({"If-Modified-Since": FUTURE}, DONE),  # only for GET and HEAD
    ({"If-Modified-Since": PAST}, DONE),
    ({"If-Range": '"x"'}, DONE),  # only for GET with Range
    ({"If-Range": '"x"', "Range": "bytes=0-0"}, DONE),
]
# Results of a PUT without an existing object.
CREATIONS = [
    ({"If-Match": "*"}, FAILED),
    ({"If-Match": '"x"'}, FAILED),
    ({"If-None-Match": "*"}, GUARDED),
    ({"If-None-Match": '"x"'}, GUARDED),
    ({"If-Unmodified-Since": PAST}, GUARDED),
    ({"If-Unmodified-Since": "yesterday"}, DONE),
    ({"If-Modified-Since": FUTURE}, DONE),
]
# Results of GET and HEAD with the ETag TAG.
READS = [
    ({"If-Match": "TAG"}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": '"x", TAG'}, 200),
    ({"If-Match": '"x"'}, 412),
    ({"If-Match": "W/TAG"}, 412),
    ({"If-None-Match": "TAG"}, 304),
    ({"If-None-Match": '"x", W/TAG'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"x"'}, 200),
    ({"If-Modified-Since": FUTURE}, 304),
    ({"If-Modified-Since": PAST}, 200),
    ({"If-Modified-Since": "yesterday"}, 200),
    ({"If-None-Match": '"x"', "If-Modified-Since": FUTURE}, 200),  # the date does not count
    ({"If-Unmodified-Since": PAST}, 412),
    ({"If-Unmodified-Since": FUTURE}, 200),
    ({"If-Unmodified-Since": "yesterday"}, 200),
    ({"If-Match": "TAG", "If-Unmodified-Since": PAST}, 200),
    ({"If-Match": "TAG", "If-None-Match": "TAG"}, 304),
    ({"If-Match": '"x"', "If-None-Match": "TAG"}, 412),
    ({"If-Range": '"x"'}, 200),  # without Range: ignored
]


@pytest.fixture
def comparing(settings: Settings) -> Iterator[ConditionalStore]:
    with conditional_store(settings) as store:
        yield store


@dataclass(frozen=True)
class Api:
    """A client of an API, and whether its store honors conditions."""

    client: FlaskClient
    can_compare: bool


@pytest.fixture(
    params=[pytest.param("plain", marks=pytest.mark.store(IGNORES_CONDITIONS)), "comparing"]
)
def api(request: pytest.FixtureRequest, settings: Settings) -> Api:
    """An API over each kind of store."""
    can_compare = request.param == "comparing"
    if can_compare:
        settings = request.getfixturevalue("comparing").settings
    return Api(create_app(settings).test_client(), can_compare)


@pytest.fixture
def plain(settings: Settings) -> FlaskClient:
    """A client of an API over the embedded store."""
    return create_app(settings).test_client()


@pytest.fixture
def source(settings: Settings) -> str:
    return f"/objects/{settings.source_bucket}"


def with_tag(conditions: dict[str, str], etag: str) -> dict[str, str]:
    return {name: value.replace("TAG", f'"{etag}"') for name, value in conditions.items()}


def outcome(response: TestResponse, *, is_changed: bool) -> str:
    """The status of a request, which must agree with its effect."""
    if response.status_code in (200, 201, 204) and is_changed:
        return DONE
    if response.status_code in (412, 501) and not is_changed:
        expect_problem(response, response.status_code)
        return str(response.status_code)
    return f"{response.status_code}, although {'changed' if is_changed else 'unchanged'}"


def expected(table: Table, *, can_compare: bool) -> dict[str, str]:
    guarded = DONE if can_compare else REFUSED
    return {
        str(conditions): guarded if outcome is GUARDED else outcome for conditions, outcome in table
    }


def expect_problem(response: TestResponse, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body = response.get_json()
    assert body["hint"]
    return body


# -- objects


def test_a_put_replaces_an_object_only_on_its_conditions(api: Api, source: str, bucket: TestBucket):
    found = {}
    for conditions, _ in CHANGES:
        etag = api.client.put(f"{source}/a", data=b"old").get_json()["etag"]
        answer = api.client.put(f"{source}/a", data=b"new", headers=with_tag(conditions, etag))
        found[str(conditions)] = outcome(answer, is_changed=bucket.get("a") == b"new")
    assert found == expected(CHANGES, can_compare=api.can_compare)


def test_a_put_makes_an_object_only_on_its_conditions(api: Api, source: str, bucket: TestBucket):
    found = {}
    for number, (conditions, _) in enumerate(CREATIONS):
        answer = api.client.put(f"{source}/{number}", data=b"new", headers=conditions)
        found[str(conditions)] = outcome(answer, is_changed=bucket.has(str(number)))
    assert found == expected(CREATIONS, can_compare=api.can_compare)


def test_a_delete_removes_an_object_only_on_its_conditions(
    api: Api, source: str, bucket: TestBucket
):
    found = {}
    for conditions, _ in CHANGES:
        etag = api.client.put(f"{source}/a", data=b"old").get_json()["etag"]
        answer = api.client.delete(f"{source}/a", headers=with_tag(conditions, etag))
        found[str(conditions)] = outcome(answer, is_changed=not bucket.has("a"))
    assert found == expected(CHANGES, can_compare=api.can_compare)


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_delete_of_a_missing_object_is_a_404_in_any_condition(
    settings: Settings, source: str, header: str
):
    client = create_app(settings).test_client()
    expect_problem(client.delete(f"{source}/none", headers={header: "*"}), 404)


def test_a_form_stores_all_of_its_files_on_its_conditions(
    api: Api, source: str, bucket: TestBucket
):
    """Every file has to meet the conditions before any of them is stored."""
    found = {}
    for conditions, _ in CHANGES:
        for key in ("a", "b"):
            etag = api.client.put(f"{source}/{key}", data=b"old").get_json()["etag"]
        files = [(io.BytesIO(b"new"), "a"), (io.BytesIO(b"new"), "b")]
        answer = api.client.post(source, data={"file": files}, headers=with_tag(conditions, etag))
        contents = {bucket.get("a"), bucket.get("b")}
        assert len(contents) == 1
        found[str(conditions)] = outcome(answer, is_changed=contents == {b"new"})
    assert found == expected(CHANGES, can_compare=api.can_compare)


def test_a_form_is_refused_when_a_condition_fails_for_one_file(
    plain: FlaskClient, source: str, bucket: TestBucket
):
    plain.put(f"{source}/b", data=b"old")
    files = [(io.BytesIO(b"new"), "a"), (io.BytesIO(b"new"), "b")]
    answer = plain.post(source, data={"file": files}, headers={"If-None-Match": "*"})
    expect_problem(answer, 412)
    assert (bucket.keys(), bucket.get("b")) == (["b"], b"old")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_object_read_honors_its_conditions(settings: Settings, source: str, method: str):
    client = create_app(settings).test_client()
    etag = client.put(f"{source}/a", data=b"x").get_json()["etag"]
    assert read(client, method, f"{source}/a", etag) == read_as_expected()


def read(client: FlaskClient, method: str, address: str, etag: str) -> dict[str, int]:
    """The status by conditions."""
    return {
        str(conditions): client.open(
            address, method=method, headers=with_tag(conditions, etag)
        ).status_code
        for conditions, _ in READS
    }


def read_as_expected() -> dict[str, int]:
    return {str(conditions): status for conditions, status in READS}


def test_of_many_that_replace_one_version_at_once_one_does(
    comparing: ConditionalStore, source: str, bucket: TestBucket
):
    app = create_app(comparing.settings)
    etag = app.test_client().put(f"{source}/a", data=b"0").get_json()["etag"]
    contents = [str(number).encode() for number in range(1, 9)]

    def put(content: bytes) -> int:
        condition = {"If-Match": f'"{etag}"'}
        return app.test_client().put(f"{source}/a", data=content, headers=condition).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(put, contents))
    assert sorted(statuses) == [200] + [412] * 7
    assert bucket.get("a") == contents[statuses.index(200)]


def changing(act: Callable[[], object], objects: Objects) -> Callable[..., ObjectInfo | None]:
    """Let another client change an object right after it is checked."""

    def head(bucket: str, key: str) -> ObjectInfo | None:
        info = Objects.head(objects, bucket, key)
        act()
        return info

    return head


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_change_between_check_and_write_is_a_412(
    comparing: ConditionalStore,
    source: str,
    bucket: TestBucket,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
):
    app = create_app(comparing.settings)
    bucket.put("a", "old")
    objects = app.extensions["bucketline"].objects
    monkeypatch.setattr(objects, "head", changing(lambda: bucket.put("a", "theirs"), objects))
    address, condition = f"{source}/a", {"If-Match": "*"}
    answer = app.test_client().open(address, method=method, data=b"ours", headers=condition)
    assert expect_problem(answer, 412)["type"].endswith("changed")
    assert bucket.get("a") == b"theirs"


def test_object_created_between_check_and_put_is_kept(
    comparing: ConditionalStore, source: str, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
):
    app = create_app(comparing.settings)
    objects = app.extensions["bucketline"].objects
    monkeypatch.setattr(objects, "head", changing(lambda: bucket.put("a", "theirs"), objects))
    answer = app.test_client().put(f"{source}/a", data=b"ours", headers={"If-None-Match": "*"})
    assert expect_problem(answer, 412)["type"].endswith("object-exists")
    assert bucket.get("a") == b"theirs"


# -- documents


def document(client: FlaskClient, content: bytes, **conditions: str) -> TestResponse:
    return client.post("/documents?name=a", data=content, headers=JSON | conditions)


def test_document_save_on_a_store_without_conditions(plain: FlaskClient):
    found = {}
    for conditions, _ in CHANGES:
        etag = document(plain, b"1").get_json()["etag"]
        answer = document(plain, b"2", **with_tag(conditions, etag))
        found[str(conditions)] = outcome(answer, is_changed=plain.get("/documents/a").data == b"2")
    assert found == expected(CHANGES, can_compare=False)


def test_document_creation_on_a_store_without_conditions(plain: FlaskClient):
    found = {}
    for conditions, _ in CREATIONS:
        plain.delete("/documents/a")
        answer = document(plain, b"2", **conditions)
        is_there = plain.get("/documents/a").status_code == 200
        found[str(conditions)] = outcome(answer, is_changed=is_there)
    assert found == expected(CREATIONS, can_compare=False)


@pytest.mark.parametrize(
    ("conditions", "status"),
    [({"If-Match": "*"}, 412), ({"If-None-Match": "*"}, 201), ({"If-Unmodified-Since": PAST}, 201)],
)
def test_a_document_without_a_name_is_a_new_one(
    plain: FlaskClient, conditions: dict[str, str], status: int
):
    answer = plain.post("/documents", data=b"1", headers=JSON | conditions)
    assert answer.status_code == status


def test_a_document_is_removed_unconditionally_or_not_at_all(plain: FlaskClient):
    found = {}
    for conditions, _ in CHANGES:
        etag = document(plain, b"1").get_json()["etag"]
        headers = with_tag(conditions, etag)
        answer = plain.delete("/documents/a", headers=headers)
        is_there = plain.get("/documents/a").status_code == 200
        found[str(conditions)] = outcome(answer, is_changed=not is_there)
        expect_problem(plain.delete("/documents/none", headers=headers), 404)
    assert found == expected(CHANGES, can_compare=False)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_document_read_honors_its_conditions(plain: FlaskClient, method: str):
    etag = document(plain, b"1").get_json()["etag"]
    assert read(plain, method, "/documents/a", etag) == read_as_expected()
    assert plain.get("/documents/a").headers["Last-Modified"]


# -- detection of a store's capabilities


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_store_is_tried_in_an_output_bucket(
    comparing: ConditionalStore, source: str, settings: Settings, header: str
):
    """Writes to the source bucket would cause events and appear in its listings."""
    client = create_app(comparing.settings).test_client()
    for key in ("a", "b"):
        value = "*"
        if header == "If-Match":
            client.put(f"{source}/{key}", data=b"old")
        assert client.put(f"{source}/{key}", data=b"x", headers={header: value}).status_code == 200
    assert client.delete(f"{source}/a", headers={"If-Match": "*"}).status_code == 204
    ours = [path for _, path in comparing.writes if settings.source_bucket not in path]
    assert len(ours) > 3
    assert all(path.startswith(f"/{settings.document_bucket}/{OWN_PREFIX}") for path in ours)
    left = minio_client(settings).list_objects(settings.document_bucket, recursive=True)
    assert [entry.object_name for entry in left] == []
    once = len(comparing.writes)
    client.put(f"{source}/b", data=b"x", headers={"If-Match": "*"})
    assert len(comparing.writes) == (once + 1 if header == "If-Match" else once + 5)


def test_each_trial_uses_a_unique_key(comparing: ConditionalStore, bucket: TestBucket):
    """A shared key could be removed by another process, and the store would seem incapable."""
    for name in ("a", "b"):
        objects = Objects(ObjectStore(comparing.settings), comparing.settings)
        objects.put_if_unchanged(bucket.name, name, upload(b"x"), None)
    tried = {path for _, path in comparing.writes if OWN_PREFIX in path}
    assert len(tried) == 2


def upload(content: bytes) -> Upload:
    return Upload(io.BytesIO(content), len(content), "text/plain")


@pytest.mark.store(IGNORES_CONDITIONS)
def test_unsupported_conditions_are_not_sent_to_the_store(settings: Settings, bucket: TestBucket):
    bucket.put("a", "old")
    objects = Objects(ObjectStore(settings), settings)
    seen = objects.head(bucket.name, "a")
    assert seen is not None
    for write, attempt in {
        Write.NEW: lambda: objects.put_if_unchanged(bucket.name, "b", upload(b"x"), None),
        Write.OVER: lambda: objects.put_if_unchanged(bucket.name, "a", upload(b"x"), seen),
        Write.REMOVAL: lambda: objects.remove_if_unchanged(bucket.name, "a", seen),
    }.items():
        with pytest.raises(NotSupported, match=write):
            attempt()
    assert (bucket.keys(), bucket.get("a")) == (["a"], b"old")


def test_an_object_of_unknown_size_has_no_condition(
    comparing: ConditionalStore, bucket: TestBucket
):
    objects = Objects(ObjectStore(comparing.settings), comparing.settings)
    with pytest.raises(NotSupported, match="unknown size"):
        objects.put_if_unchanged(bucket.name, "a", Upload(io.BytesIO(b"x"), -1, "text/plain"), None)
    assert bucket.keys() == []


def test_failed_condition_is_named(comparing: ConditionalStore, bucket: TestBucket):
    objects = Objects(ObjectStore(comparing.settings), comparing.settings)
    bucket.put("a", "theirs")
    seen = ObjectInfo("a", 1, "0" * 32, None)
    with pytest.raises(ObjectExists):
        objects.put_if_unchanged(bucket.name, "a", upload(b"x"), None)
    with pytest.raises(ObjectChanged):
        objects.put_if_unchanged(bucket.name, "a", upload(b"x"), seen)
    with pytest.raises(ObjectChanged):
        objects.remove_if_unchanged(bucket.name, "a", seen)
    assert bucket.get("a") == b"theirs"


# -- reserved keys


def test_reserved_keys_cannot_be_uploaded(settings: Settings, source: str, bucket: TestBucket):
    """Runs ignore reserved keys; existing objects can be listed and removed."""
    client = create_app(settings).test_client()
    key = f"{OWN_PREFIX}a.csv"
    responses = [
        client.put(f"{source}/{key}", data=b"x"),
        client.post(source, data={"key": key, "file": (io.BytesIO(b"x"), "a")}),
        client.post(f"{source}/{key}/presign", json={"method": "PUT"}),
    ]
    for response in responses:
        assert expect_problem(response, 422)["errors"][0]["parameter"] == "key"
    bucket.put(key, "x")
    assert client.get(f"{source}/{key}").data == b"x"
    assert client.get(f"{source}?prefix={OWN_PREFIX}").get_json()["entries"][0]["key"] == key
    assert client.delete(f"{source}/{key}").status_code == 204
    assert bucket.keys() == []
