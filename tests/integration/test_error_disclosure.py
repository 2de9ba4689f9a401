"""Error details that a rejected client gets, and those that only the log contains."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from api import create_app

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from etl.settings import Settings

TOKEN = "a token of the tests"  # noqa: S105


def client_of(settings: Settings, **other: object) -> FlaskClient:
    return create_app(settings.model_copy(update=other)).test_client()


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_body_nested_beyond_reading_is_refused(settings: Settings, opening: bytes):
    response = client_of(settings).post(
        f"/objects/{settings.source_bucket}/a/presign",
        data=opening * 10_000,
        content_type="application/json",
    )
    assert response.status_code == 400
    assert response.mimetype == "application/problem+json"


def test_store_address_and_error_are_only_logged(settings: Settings):
    client = client_of(settings, s3_endpoint="http://127.0.0.1:9")
    with capture_logs() as logged:
        response = client.get(f"/objects/{settings.source_bucket}/a")
    assert response.status_code == 503
    assert response.get_json()["detail"] == "The object store is not available."
    assert "127.0.0.1" not in response.text
    (line,) = (line for line in logged if line["event"] == "request_failed")
    assert "http://127.0.0.1:9" in line["message"]
    assert line["log_level"] == "error"


def test_rejected_store_keys_are_a_503_without_the_address(settings: Settings):
    client = client_of(settings, s3_secret_key=SecretStr("not the secret key"))
    response = client.get(f"/objects/{settings.source_bucket}")
    assert response.status_code == 503
    assert "S3_SECRET_KEY" in response.get_json()["hint"]
    assert urlsplit(settings.s3_endpoint or "").netloc not in response.text


def test_client_errors_are_not_logged_as_errors(settings: Settings):
    client = client_of(settings, webhook_token=SecretStr(TOKEN))
    with capture_logs() as logged:
        response = client.post("/minio-event", data="{", headers={"Authorization": TOKEN})
    assert response.status_code == 400
    assert [line for line in logged if line["log_level"] == "error"] == []
