"""Requests as the store receives them: encryption, requester pays, and buckets as host names."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest
import urllib3
from obstore.exceptions import BaseError
from pydantic import SecretStr
from sqlalchemy import Engine

from etl.images.store import ThumbnailStore
from etl.local import processes
from etl.local.credentials import load_credentials
from etl.local.object_store import EmbeddedObjectStore
from etl.local.ports import any_free_port
from etl.local.server import Readiness
from etl.model.capabilities import Capability, CapabilityAnswer
from etl.model.errors import ConfigurationError, EtlError
from etl.model.values import Trigger
from etl.settings import Settings
from etl.settings.s3 import ENCRYPTION, ENCRYPTION_KEY, PAYER
from etl.storage.bulk import BulkStores
from etl.storage.client import PART_SIZE, ObjectStore
from etl.storage.documents import DocumentStore, StripedLocks
from etl.storage.objects import Objects, PresignOptions, Upload
from etl.storage.probe import StoreProbe
from etl.sync.manager import DataManager
from etl.verify import store as verifier
from etl.verify import verify
from tests.conftest import TestBucket, minio_client, wait_until
from tests.forwarding import RecordingStore, Request, recording
from tests.stores import ENCRYPTS, NOTIFIES, REFUSES_ENCRYPTION

pytestmark = pytest.mark.storage

KEY_ID = "arn:aws:kms:us-east-1:111122223333:key/1234abcd"
DOMAIN = "s3.test"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.storage.objects.PART_BYTES", PART_SIZE)


@pytest.fixture
def recorded(settings: Settings) -> Iterator[RecordingStore]:
    with recording(settings) as store:
        yield store


def upload(size: int, *, is_known: bool = True) -> Upload:
    return Upload(io.BytesIO(bytes(size)), size if is_known else -1, "text/plain")


def puts(settings: Settings) -> list[Callable[[], object]]:
    """Each way in which Bucketline puts objects, and a put of the bulk client."""
    store = ObjectStore(settings)
    objects, bucket = Objects(store, settings), settings.document_bucket
    documents = DocumentStore(objects, bucket, StripedLocks())
    return [
        lambda: objects.put(bucket, "one", upload(1)),
        lambda: objects.put(bucket, "parts", upload(PART_SIZE + 1, is_known=False)),
        lambda: objects.check_writable(bucket),
        lambda: store.put_stream(bucket, "short", io.BytesIO(b"x"), "text/plain"),
        lambda: store.put_stream(bucket, "long", io.BytesIO(bytes(PART_SIZE + 1)), "text/plain"),
        lambda: ThumbnailStore(store, bucket).put("thumbnail", b"x", "etag"),
        lambda: documents.save("document", b"1", datetime.now(UTC)),
        lambda: obstore.put(BulkStores(store.endpoint, 2, 30).get(bucket, 0), "bulk", b"x"),
    ]


def encryption_of(request: Request) -> tuple[str | None, str | None]:
    return request.headers[ENCRYPTION], request.headers[ENCRYPTION_KEY]


@pytest.mark.parametrize(("sse", "key_id"), [(None, None), ("AES256", None), ("aws:kms", KEY_ID)])
def test_every_put_asks_for_encryption_and_nothing_else_does(
    recorded: RecordingStore, sse: str | None, key_id: str | None
):
    """A store without encryption rejects the requests, which are the same."""
    changed = {"s3_sse": sse, "s3_sse_kms_key_id": key_id}
    for put in puts(recorded.settings.model_copy(update=changed)):
        before = len(recorded.requests)
        with suppress(EtlError, BaseError):
            put()
        new = recorded.requests[before:]
        assert any(one.creates_object for one in new)
        for one in new:
            assert encryption_of(one) == ((sse, key_id) if one.creates_object else (None, None))


@pytest.mark.store(ENCRYPTS)
def test_store_encrypts_what_is_asked(settings: Settings, bucket: TestBucket, engine: Engine):
    asking = settings.model_copy(update={"s3_sse": "AES256"})
    for put in puts(asking):
        put()
    bucket.user("1.csv")
    DataManager(asking).run(Trigger.CLI)
    client = minio_client(settings)
    for name in (settings.document_bucket, settings.processed_bucket):
        for one in client.list_objects(name, recursive=True):
            found = client.stat_object(name, one.object_name or "")
            assert (found.metadata or {}).get(ENCRYPTION) == "AES256", one.object_name
    assert verify(settings, engine) == []


@pytest.mark.store(REFUSES_ENCRYPTION)
def test_store_that_does_not_encrypt_is_a_wrong_setting(settings: Settings):
    *ours, _ = puts(settings.model_copy(update={"s3_sse": "AES256"}))
    for put in ours:
        with pytest.raises(ConfigurationError, match="S3_SSE=AES256") as caught:
            put()
        assert "doctor --store" in caught.value.hint


def all_requests(settings: Settings) -> None:
    """Each kind of request to a bucket, from all clients."""
    store = ObjectStore(settings, first_page_sizes=range(1, 2))
    objects, bucket = Objects(store, settings), settings.source_bucket
    for key in ("1.csv", "2.csv"):
        objects.put(bucket, key, upload(10))
    store.put_stream(bucket, "3.csv", io.BytesIO(bytes(PART_SIZE + 1)), "text/plain")
    listed = list(store.list_objects(bucket))
    assert [one.key for one in listed] == ["1.csv", "2.csv", "3.csv"]
    assert store.fetch(bucket, listed[0])
    assert store.has_bucket(bucket)
    assert len(b"".join(store.fetch_in_parts(bucket, listed[2], PART_SIZE))) == PART_SIZE + 1
    assert objects.head(bucket, "1.csv")
    client = verifier.connect(settings)
    found = list(verifier.list_objects(client, bucket))
    assert verifier.read_object(client, bucket, found[0])
    objects.remove(bucket, "2.csv")
    seen = objects.head(bucket, "1.csv")
    assert seen
    with suppress(EtlError):
        objects.remove_if_unchanged(bucket, "1.csv", seen)


@pytest.mark.parametrize("pays", [True, False])
def test_every_request_to_a_bucket_accepts_its_costs(recorded: RecordingStore, pays: bool):  # noqa: FBT001
    settings = recorded.settings.model_copy(update={"s3_requester_pays": pays})
    all_requests(settings)
    assert {one.method for one in recorded.requests} == {"GET", "HEAD", "PUT", "POST", "DELETE"}
    assert {one.headers[PAYER] for one in recorded.requests} == {"requester" if pays else None}


@pytest.mark.store(NOTIFIES)
def test_a_listener_accepts_the_costs(recorded: RecordingStore, bucket: TestBucket):
    settings = recorded.settings.model_copy(update={"s3_requester_pays": True})
    ObjectStore(settings).client.get_bucket_notification(bucket.name)
    assert {one.headers[PAYER] for one in recorded.requests} == {"requester"}


def test_presigned_url_accepts_the_costs(settings: Settings, bucket: TestBucket):
    paying = settings.model_copy(update={"s3_requester_pays": True})
    bucket.put("1.csv", b"content")
    options = PresignOptions("GET", timedelta(minutes=1), {"response-content-type": "text/x"})
    url = Objects(ObjectStore(paying), paying).presign(bucket.name, "1.csv", options)
    assert f"{PAYER}=requester" in url
    with urllib3.PoolManager() as http:
        found = http.request("GET", url)
    assert (found.status, found.data) == (200, b"content")
    assert found.headers["Content-Type"] == "text/x"


# -- buckets as host names


@pytest.fixture
def named_store(tmp_path: Path, settings: Settings) -> Iterator[Settings]:
    """A gateway that serves each bucket at a host name below DOMAIN."""
    server = EmbeddedObjectStore(tmp_path, load_credentials(tmp_path))
    server.prepare()
    port = any_free_port()
    launch = server.launch(port)
    environment = {**launch.environment, "MINIO_DOMAIN": DOMAIN}
    with (tmp_path / "log").open("wb") as log:
        process = processes.start(replace(launch, environment=environment), log)
        try:
            wait_until(lambda: server.readiness(port) is Readiness.READY)
            yield settings.model_copy(
                update={
                    "s3_endpoint": f"http://127.0.0.1:{port}",
                    "s3_access_key": server.credentials.s3_access_key,
                    "s3_secret_key": SecretStr(server.credentials.s3_secret_key),
                }
            )
        finally:
            processes.stop({process: launch.stop_signal})


@pytest.fixture
def by_name(named_store: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingStore]:
    """The same with a record, and an endpoint whose name leads to it."""
    resolve = socket.getaddrinfo

    def resolving(host: object, *rest: object, **more: object) -> object:
        is_ours = isinstance(host, str) and host.endswith(DOMAIN)
        return resolve("127.0.0.1" if is_ours else host, *rest, **more)

    with recording(named_store) as store:
        monkeypatch.setattr(socket, "getaddrinfo", resolving)
        monkeypatch.setenv("http_proxy", str(store.settings.s3_endpoint))  # of the bulk client
        url = f"http://{DOMAIN}:{store.server_port}"
        store.settings = store.settings.model_copy(update={"s3_endpoint": url})
        yield store


@pytest.mark.parametrize("addressing", ["virtual", "auto", "path"])
def test_buckets_are_addressed_as_set(by_name: RecordingStore, addressing: str):
    settings = by_name.settings.model_copy(update={"s3_addressing": addressing})
    buckets = (settings.source_bucket, settings.document_bucket)
    for bucket in buckets:
        ObjectStore(settings).create_bucket(bucket)
    by_name.requests.clear()
    all_requests(settings)
    assert len({str(one.headers["User-Agent"])[:5] for one in by_name.requests}) > 1  # clients
    hosts = {one.host for one in by_name.requests}
    in_path = {any(f"/{name}" in one.path for name in buckets) for one in by_name.requests}
    if addressing == "virtual":
        assert (hosts, in_path) == ({f"{name}.{DOMAIN}" for name in buckets}, {False})
    else:
        assert (hosts, in_path) == ({DOMAIN}, {True})


def test_probe_finds_that_buckets_have_host_names(by_name: RecordingStore):
    for bucket in (by_name.settings.source_bucket, by_name.settings.document_bucket):
        ObjectStore(by_name.settings).create_bucket(bucket)
    findings = StoreProbe(by_name.settings).run().findings
    (found,) = [one for one in findings if one.capability is Capability.VIRTUAL_HOSTS]
    assert found.answer is CapabilityAnswer.YES
    assert found.detail.startswith(f"{by_name.settings.document_bucket}.{DOMAIN}")


def test_presigned_url_has_the_bucket_as_host(by_name: RecordingStore):
    settings = by_name.settings.model_copy(update={"s3_addressing": "virtual"})
    store, bucket = ObjectStore(settings), settings.source_bucket
    store.create_bucket(bucket)
    objects = Objects(store, settings)
    objects.put(bucket, "a b/é.csv", upload(3))
    url = objects.presign(bucket, "a b/é.csv", PresignOptions("GET", timedelta(minutes=1)))
    assert url.startswith(f"http://{bucket}.{DOMAIN}:{by_name.server_port}/a%20b/")
    with urllib3.PoolManager() as http:
        assert http.request("GET", url).data == bytes(3)
