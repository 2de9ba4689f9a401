"""POST /minio-event as SNS and EventBridge send it, and the confirmation of subscriptions."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from api import create_app
from api.routes import sns_subscriptions
from tests.api_client import closed_port
from tests.awkward_keys import check_awkward_keys
from tests.envelopes import (
    FORMS,
    TEST_MESSAGE,
    TOKEN_OF_SNS,
    TOPIC,
    bridge_event,
    confirmation,
    s3_notification,
    sns_notification,
)
from tests.stores import KEEPS_BACKSLASHES

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from etl.settings import Settings

TOKEN = "a token of the tests"  # noqa: S105
PASSWORD = {"Authorization": f"Basic {b64encode(f'sns:{TOKEN}'.encode()).decode()}"}
# SNS sends JSON with this type.
SNS_HEADERS = PASSWORD | {"Content-Type": "text/plain; charset=UTF-8"}


class Sns:
    """A server in place of SNS: the queries that arrived, and the status of its answers."""

    def __init__(self) -> None:
        self.status = 200
        self.queries: list[dict[str, list[str]]] = []
        sns = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sns.queries.append(parse_qs(urlsplit(self.path).query, strict_parsing=True))
                self.send_response(sns.status)
                self.send_header("Location", "http://169.254.169.254/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def sns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sns]:
    sns = Sns()
    monkeypatch.setattr(sns_subscriptions, "endpoint", lambda _topic: sns.url)
    thread = Thread(target=sns.server.serve_forever)
    thread.start()
    yield sns
    sns.server.shutdown()
    sns.server.server_close()
    thread.join()


def client_of(settings: Settings, **further: object) -> FlaskClient:
    update = {"webhook_token": SecretStr(TOKEN), **further}
    return create_app(settings.model_copy(update=update)).test_client()


def post(client: FlaskClient, body: bytes, headers: dict[str, str] = SNS_HEADERS) -> TestResponse:
    return client.post("/minio-event", data=body, headers=headers)


def keys(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT key FROM bucket_event ORDER BY id")))


def test_each_form_is_stored(settings: Settings, engine: Engine):
    client = client_of(settings)
    for name, form in FORMS.items():
        assert post(client, form(f"{name}+%41.csv")).json == {"status": "ok", "records": 1}
    assert keys(engine) == [f"{name}+%41.csv" for name in FORMS]
    assert post(client, TEST_MESSAGE).json == {"status": "ok", "records": 0}


@pytest.mark.store(KEEPS_BACKSLASHES)
def test_events_of_eventbridge_name_awkward_keys(settings: Settings, engine: Engine):
    client = client_of(settings)

    def notify(event_name: str, key: str) -> None:
        kind = "Object Created" if "Created" in event_name else "Object Deleted"
        assert post(client, bridge_event(key, settings.source_bucket, kind)).status_code == 200

    check_awkward_keys(settings, engine, notify)


def test_sns_is_asked_for_the_password_in_its_url(settings: Settings, engine: Engine):
    client = client_of(settings)
    refused = post(client, FORMS["S3 in SNS"]("1.csv"), {})
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith('Basic realm="')
    for credentials in (f"sns:{TOKEN}x", TOKEN, f"{TOKEN}:", "sns:"):
        encoded = b64encode(credentials.encode()).decode()
        response = post(client, b"{}", {"Authorization": f"Basic {encoded}"})
        assert response.status_code == 401
    assert (
        post(client, FORMS["S3 in SNS"]("1.csv"), {"Authorization": "Basic ä="}).status_code == 401
    )
    assert keys(engine) == []


def test_allowed_topic_is_confirmed_at_an_address_of_our_own(settings: Settings, sns: Sns):
    client = client_of(settings, sns_topic_arns=f"arn:aws:sns:us-east-1:1:other, {TOPIC}")
    assert post(client, confirmation()).json == {"status": "ok", "records": 0}
    asked = {"Action": ["ConfirmSubscription"], "TopicArn": [TOPIC], "Token": [TOKEN_OF_SNS]}
    assert sns.queries == [asked]


@pytest.mark.parametrize("allowed", ["", "arn:aws:sns:eu-central-1:123456789012:bucket-event"])
def test_other_topics_are_only_logged_with_what_to_do(allowed: str, settings: Settings, sns: Sns):
    client = client_of(settings, sns_topic_arns=allowed)
    with capture_logs() as logs:
        assert post(client, confirmation()).status_code == 200
    assert sns.queries == []
    (line,) = [line for line in logs if line.get("topic") == TOPIC]
    assert f"--token {TOKEN_OF_SNS}" in line["hint"]
    assert "SNS_TOPIC_ARNS" in line["hint"]


def test_ended_subscription_is_logged_and_not_renewed(settings: Settings, sns: Sns):
    client = client_of(settings, sns_topic_arns=TOPIC)
    with capture_logs() as logs:
        response = post(client, confirmation(Type="UnsubscribeConfirmation"))
    assert response.status_code == 200
    assert sns.queries == []
    assert "an SNS subscription ended" in [line["event"] for line in logs]


def test_nobody_without_the_token_has_a_subscription_confirmed(settings: Settings, sns: Sns):
    client = client_of(settings, sns_topic_arns=TOPIC)
    assert post(client, confirmation(), {}).status_code == 401
    assert sns.queries == []


@pytest.mark.parametrize("status", [302, 400, 403, 429, 500, 503])
def test_confirmation_that_sns_rejects_is_sent_again_by_sns(
    status: int, settings: Settings, sns: Sns
):
    sns.status = status
    client = client_of(settings, sns_topic_arns=TOPIC)
    response = post(client, confirmation())
    assert response.status_code == 503
    assert response.json["hint"]
    assert len(sns.queries) == 1  # a redirect is not followed


def test_sns_that_does_not_respond_is_an_outage(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    client = client_of(settings, sns_topic_arns=TOPIC)
    with closed_port() as port:
        monkeypatch.setattr(sns_subscriptions, "endpoint", lambda _: f"http://127.0.0.1:{port}")
        assert post(client, confirmation()).status_code == 503


@pytest.mark.parametrize(
    ("topic", "url"),
    [
        (TOPIC, "https://sns.eu-central-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:1:a", "https://sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-us-gov:sns:us-gov-west-1:1:a", "https://sns.us-gov-west-1.amazonaws.com"),
    ],
)
def test_address_of_sns_follows_from_the_topic(topic: str, url: str):
    assert sns_subscriptions.endpoint(topic) == url


def test_text_that_is_no_notification_is_refused(settings: Settings, engine: Engine):
    client = client_of(settings)
    assert post(client, sns_notification(b"hello")).status_code == 400
    assert post(client, sns_notification(s3_notification(""))).status_code == 400
    assert keys(engine) == []
