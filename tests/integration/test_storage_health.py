"""/storage/health: the state of store, database and buckets, and its recovery."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from api import create_app
from api.state import write_checks
from etl.storage.client import ObjectStore
from etl.storage.objects import PROBE_KEY
from tests.conftest import minio_client, wait_until
from tests.stores import FOLDERS_TAKE_KEYS

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings


pytestmark = pytest.mark.storage


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()


def health(client: FlaskClient, status: int) -> dict[str, Any]:
    response = client.get("/storage/health")
    assert response.status_code == status
    if status != 200:
        assert int(response.headers["Retry-After"]) > 0
    return response.get_json()


def test_healthy_stack_shows_latencies_and_each_bucket(client: FlaskClient, settings: Settings):
    body = health(client, 200)
    assert body["status"] == "ok"
    assert body["database"]["latency_ms"] > 0
    assert body["object_store"]["latency_ms"] > 0
    well = {"exists": True, "writable": True, "reason": None}
    assert body["buckets"] == {
        name: well | ({"writable": None} if name == settings.source_bucket else {})
        for name in settings.buckets
    }


def test_write_check_leaves_no_object_and_is_cached_for_a_minute(
    settings: Settings, client: FlaskClient
):
    health(client, 200)
    listed = minio_client(settings).list_objects(settings.processed_bucket, recursive=True)
    assert [entry.object_name for entry in listed] == []

    puts = []
    store = ObjectStore(settings)
    checks = write_checks.WriteChecks(_Counting(puts))
    for _ in range(3):
        checks.check(settings.processed_bucket)
    assert puts == [settings.processed_bucket]
    assert store.etag(settings.processed_bucket, PROBE_KEY) is None


class _Counting:
    """Counts the buckets that are tried."""

    def __init__(self, tried: list[str]) -> None:
        self._tried = tried

    def check_writable(self, bucket: str) -> None:
        self._tried.append(bucket)


def test_a_missing_bucket_is_named_and_its_return_noticed(settings: Settings):
    odd = settings.model_copy(update={"document_bucket": f"{settings.document_bucket}-x"})
    client = create_app(odd).test_client()
    body = health(client, 503)
    assert body["status"] == "down"
    assert odd.document_bucket in body["buckets"][odd.document_bucket]["reason"]
    assert body["buckets"][odd.document_bucket]["exists"] is False
    assert body["buckets"][odd.processed_bucket]["reason"] is None

    ObjectStore(odd).ensure_bucket(odd.document_bucket)
    health(client, 200)


@pytest.mark.store(FOLDERS_TAKE_KEYS)
def test_bucket_that_rejects_writes_is_reported(settings: Settings):
    """The S3 credentials may read but not write."""
    app = create_app(settings)
    app.extensions["bucketline"].write_checks.retry_seconds = 0
    client = app.test_client()
    minio_client(settings).put_object(settings.document_bucket, ".bucketline", io.BytesIO(), 0)
    body = health(client, 503)
    assert body["buckets"][settings.document_bucket]["writable"] is False
    assert body["buckets"][settings.document_bucket]["exists"] is True

    minio_client(settings).remove_object(settings.document_bucket, ".bucketline")
    health(client, 200)


def test_without_the_store_health_is_a_503_naming_it(settings: Settings):
    odd = settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    body = health(create_app(odd).test_client(), 503)
    assert body["object_store"]["status"] == "down"
    assert "127.0.0.1:9" in body["object_store"]["reason"]
    assert body["database"]["status"] == "ok"
    assert body["buckets"] == {}


def test_database_that_rejects_writes_is_reported(client: FlaskClient, engine: Engine):
    name = engine.url.database
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    body = health(client, 503)
    assert "read-only" in body["database"]["reason"]
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    wait_until(lambda: client.get("/storage/health").status_code == 200)
