"""POST /minio-event and GET /events over a real database."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from api import create_app
from etl.db.engine import driver
from etl.db.events import CHANNEL, MAX_BODY_BYTES
from tests.api_client import closed_port
from tests.awkward_keys import check_awkward_keys
from tests.stores import KEEPS_BACKSLASHES

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from etl.settings import Settings

TOKEN = "a token of the tests"  # noqa: S105
SENDER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def open_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_token": SecretStr(f"another token 12, {TOKEN}")})


@pytest.fixture
def client(open_settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(open_settings)
    yield app.test_client()
    app.extensions["bucketline"].engine.dispose()


def record(key: str, sequencer: str = "1", bucket: str = "src", **other: object) -> dict[str, Any]:
    return {
        "eventName": "s3:ObjectCreated:Put",
        "eventTime": "2026-01-02T03:04:05.678Z",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "sequencer": sequencer}},
    } | other


def send(client: FlaskClient, *records: object, headers: dict[str, str] = SENDER) -> TestResponse:
    return client.post("/minio-event", json={"Records": records}, headers=headers)


def listed(client: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    response = client.get(f"/events{query}")
    assert response.status_code == 200
    return response.json["events"]


def count(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM bucket_event")).scalar_one()


def is_problem(response: TestResponse, status: int, kind: str) -> bool:
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    assert response.json["hint"]
    return response.json["type"] == f"urn:bucketline:problem:{kind}"


def test_events_are_stored_before_they_are_acknowledged(client: FlaskClient, engine: Engine):
    response = send(client, record("a%2Fhello+world.csv"), record("2.csv"))
    assert (response.status_code, response.json) == (200, {"status": "ok", "records": 2})
    assert count(engine) == 2
    assert {event["key"] for event in listed(client)} == {"a/hello world.csv", "2.csv"}


@pytest.mark.store(KEEPS_BACKSLASHES)
def test_posted_events_name_awkward_keys(
    client: FlaskClient, open_settings: Settings, engine: Engine
):
    def notify(event_name: str, key: str) -> None:
        sent = record(quote_plus(key), event_name, open_settings.source_bucket)
        assert send(client, sent | {"eventName": event_name}).status_code == 200

    check_awkward_keys(open_settings, engine, notify)


def test_largest_possible_event_can_be_stored(client: FlaskClient, engine: Engine):
    chance = random.Random(1)  # noqa: S311 - repeated text would be compressed

    def noise(size_bytes: int) -> str:
        return "".join(chr(chance.randrange(0x10000, 0x10FFFF)) for _ in range(size_bytes // 4))

    sent = record(quote_plus(noise(1024)), noise(256), noise(63))
    assert send(client, sent).status_code == 200
    nameless = record(quote_plus(noise(1024)), "", noise(63), eventName=noise(256))
    assert send(client, nameless).status_code == 200
    assert count(engine) == 2


def test_redelivery_is_harmless(client: FlaskClient, engine: Engine):
    sent = [record(f"{number}.csv") for number in range(1000)]
    for _ in range(10):
        assert send(client, *sent).status_code == 200
    assert count(engine) == 1000


def test_scheduler_is_woken_only_for_the_source_bucket(
    client: FlaskClient, engine: Engine, settings: Settings
):
    with engine.connect() as listener:
        listener.execution_options(isolation_level="AUTOCOMMIT")
        listener.execute(text(f"LISTEN {CHANNEL}"))
        send(client, record("1.csv", bucket=settings.processed_bucket))
        listener.execute(text("SELECT 1"))
        assert not driver(listener).notifies
        send(client, record("1.csv", bucket=settings.source_bucket))
        listener.execute(text("SELECT 1"))
        assert driver(listener).notifies


@pytest.mark.parametrize(
    "header", [f"Bearer {TOKEN}", TOKEN, f"bearer  {TOKEN}", "another token 12"]
)
def test_any_token_is_accepted_with_or_without_a_scheme(client: FlaskClient, header: str):
    assert send(client, record("1.csv"), headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", TOKEN[:-1], f"Basic {TOKEN}", "ä"]
)
def test_wrong_token_is_rejected(client: FlaskClient, engine: Engine, header: str):
    response = send(client, record("1.csv"), headers={"Authorization": header})
    assert is_problem(response, 401, "wrong-webhook-token")
    assert 'Bearer realm="minio-event"' in response.headers["WWW-Authenticate"]
    assert count(engine) == 0


def test_without_a_token_no_event_is_accepted(settings: Settings, engine: Engine):
    closed = settings.model_copy(update={"webhook_token": None})
    response = send(create_app(closed).test_client(), record("1.csv"))
    assert is_problem(response, 503, "configuration-error")
    assert "WEBHOOK_TOKEN" in response.json["detail"]
    assert count(engine) == 0


@pytest.mark.parametrize("body", [b"", b"nonsense", b"{}", b"[]", b'{"Records": [{}]}'])
def test_nonsense_is_refused_with_its_place(client: FlaskClient, engine: Engine, body: bytes):
    response = client.post("/minio-event", data=body, headers=SENDER)
    assert is_problem(response, 400, "wrong-event")
    assert count(engine) == 0


def test_one_wrong_record_refuses_the_message(client: FlaskClient, engine: Engine):
    response = send(client, record("1.csv"), {"eventName": "x"})
    assert is_problem(response, 400, "wrong-event")
    assert "Records[1].s3" in response.json["detail"]
    assert count(engine) == 0


def test_a_message_may_be_large_but_not_endless(client: FlaskClient, engine: Engine):
    large = [record(f"{number}.csv", more="x" * 1000) for number in range(2000)]
    assert send(client, *large).status_code == 200
    assert count(engine) == 2000
    assert client.post("/minio-event", data=b" " * (MAX_BODY_BYTES + 1)).status_code == 413


@pytest.mark.parametrize("message", [{"Event": "s3:TestEvent"}, {"Records": []}])
def test_a_test_message_is_welcome(client: FlaskClient, message: dict[str, Any]):
    response = client.post("/minio-event", json=message, headers=SENDER)
    assert (response.status_code, response.json) == (200, {"status": "ok", "records": 0})


def test_sender_may_probe_the_webhook(client: FlaskClient):
    assert client.get("/minio-event").status_code == 200
    assert client.head("/minio-event").status_code == 200


def test_database_outage_makes_the_sender_retry(open_settings: Settings):
    with closed_port() as port:
        url = f"postgresql://db_user:hunter2@127.0.0.1:{port}/nowhere"
        lost = open_settings.model_copy(update={"database_url": SecretStr(url)})
        response = send(create_app(lost).test_client(), record("1.csv"))
    assert is_problem(response, 503, "database-unavailable")
    assert response.headers["Retry-After"]
    assert "hunter2" not in response.text


# -- GET /events


def test_history_of_one_key(client: FlaskClient):
    send(client, record("1.csv", "1"), record("2.csv", "1"), record("1.csv", "2"))
    send(client, record("1.csv", "3", bucket="other"))
    history = listed(client, "?bucket=src&key=1.csv")
    assert [event["sequencer"] for event in history] == ["1", "2"]
    assert [event["sequencer"] for event in listed(client, "?key=1.csv")] == ["1", "2", "3"]
    assert history[0]["record"]["s3"]["object"]["key"] == "1.csv"
    assert history[0]["event_time"].startswith("2026-01-02T03:04:05.678")


def test_the_latest_of_each_key_by_time_and_then_by_sequencer(client: FlaskClient):
    late = record("2.csv", "0F", eventTime="2026-01-02T03:04:06Z")
    send(client, record("1.csv", "10"), record("1.csv", "9"), late, record("2.csv", "FF"))
    latest = listed(client, "?latest=true")
    assert {event["key"]: event["sequencer"] for event in latest} == {"1.csv": "10", "2.csv": "0F"}
    assert [event["key"] for event in listed(client, "?latest=true&key=2.csv")] == ["2.csv"]


@pytest.mark.parametrize("query", ["?limit=3", "?limit=3&latest=true", "?limit=3&bucket=src"])
def test_pages_follow_each_other(client: FlaskClient, query: str):
    send(client, *(record(f"{number}.csv") for number in range(8)))
    keys, address = [], f"/events{query}"
    while address:
        response = client.get(address)
        keys += [event["key"] for event in response.json["events"]]
        link = response.headers.get("Link", "")
        address = link.partition(">")[0].removeprefix("<")
    assert sorted(keys) == [f"{number}.csv" for number in range(8)]


def test_events_list_shows_the_outcome_of_each_event(
    client: FlaskClient, engine: Engine, settings: Settings
):
    bucket = settings.source_bucket
    send(client, record("1.csv", bucket="other"), record("2.csv", bucket=bucket))
    send(client, record("3.csv", bucket=bucket))
    with engine.begin() as connection:
        connection.execute(text("UPDATE bucket_event SET handled_by_run = 7 WHERE key = '3.csv'"))
    states = [(event["state"], event["run_id"]) for event in listed(client)]
    assert states == [("handled", None), ("waiting", None), ("handled", 7)]


@pytest.mark.parametrize("query", ["?key=%00", "?after=x", "?limit=0", "?latest=1", "?other=1"])
def test_invalid_parameters_are_rejected(client: FlaskClient, query: str):
    assert is_problem(client.get(f"/events{query}"), 422, "wrong-parameters")
