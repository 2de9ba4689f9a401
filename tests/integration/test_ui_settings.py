"""The page of settings: health, versions, the datasets file, alerts, and the API keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api import create_app
from etl import __version__
from etl.db import datasets_file
from etl.model.errors import ConfigurationError
from etl.model.roles import Role, entry_for, new_key
from etl.settings import key_file
from tests.ui_client import BROWSER, read, send, visit

if TYPE_CHECKING:
    from apiflask import APIFlask
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings

URL = "/ui/settings"
MOST_QUERIES = 16


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With a key file of its own."""
    return settings.model_copy(update={"api_keys_file": tmp_path / "api-keys"})


def test_page_shows_health_versions_and_settings(client: FlaskClient, settings: Settings):
    seen = visit(client, URL)
    assert seen.faults == []
    assert seen.h1 == "Settings and health"
    assert "Object store Reachable" in seen.text
    assert "Scheduler Not running" in seen.text
    assert f"Bucketline {__version__}" in seen.text
    assert "No process has read a datasets file." in seen.text
    assert "ALERT_URL is not set" in seen.text
    assert f"SOURCE_BUCKET {settings.source_bucket} set by Bucketline" in seen.text
    at = seen.text.index("RETIRED_RETENTION")
    assert seen.text[at:].startswith("RETIRED_RETENTION forever default")


def test_no_secret_is_on_the_page(client: FlaskClient, settings: Settings):
    shown = visit(client, URL).response.text
    assert settings.s3_secret_key is not None
    assert settings.database_url is not None
    assert settings.s3_secret_key.get_secret_value() not in shown
    assert settings.database_url.get_secret_value() not in shown
    assert "set, not shown" in shown


def test_outage_of_the_store_is_shown(without_store: FlaskClient):
    seen = visit(without_store, URL)
    assert seen.status == 200
    assert "Object store Down" in seen.text


def test_fault_of_the_datasets_file_is_shown_until_it_is_corrected(
    client: FlaskClient, engine: Engine
):
    error = ConfigurationError("Line 3: <b>unknown</b> type.\nLine 9: no key.", hint="Correct it.")
    for stored in (error.as_dict(), None):
        with engine.begin() as connection:
            datasets_file.record(connection, path="/srv/datasets.toml", digest="0", error=stored)
        seen = visit(client, URL)
        assert "/srv/datasets.toml" in seen.text
        for part in ("Line 3: <b>unknown</b> type.", "Line 9: no key.", "Correct it."):
            assert (part in seen.text) is (stored is not None)


def test_incidents_and_alerts_are_listed(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO incident (event, dataset, code, opened_at, facts)"
                " VALUES ('new-problems', 'users', 'not-a-date', now(), '{}')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO alert (event, recovers, incidents, attempts, last_error, sent_at,"
                " given_up_at) VALUES"
                " ('new-problems', NULL, CAST(:incidents AS jsonb), 3, NULL, now(), NULL),"
                " ('recovered', 'late', '[]', 7, 'refused <i>', NULL, now()),"
                " ('late', NULL, '[]', 0, NULL, NULL, NULL)"
            ),
            {"incidents": '[{"dataset": "users", "code": "not-a-date"}]'},
        )
    shown = visit(client, URL).text
    assert "1 open incident" in shown
    assert "new-problems users not-a-date" in shown
    assert "Sent" in shown
    assert "recovered: late" in shown
    assert "Given up 7 attempts: refused <i>" in shown
    assert "Waiting 0 attempts" in shown


def test_alerts_are_explained_without_their_secret_url(settings: Settings, engine: Engine):
    url = SecretStr("https://hooks.example.com/services/hunter2")
    app = create_app(settings.model_copy(update={"alert_url": url}))
    client = app.test_client()
    seen = visit(client, URL)
    assert "An alert is posted to hooks.example.com when a run fails" in seen.text
    assert "not signed, because ALERT_SECRET is not set" in seen.text
    assert "None has been delivered yet." in seen.text
    assert "hunter2" not in seen.response.text
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO alert (event, incidents, sent_at) VALUES ('late', '[]', now())")
        )
    assert ": late." in visit(client, URL).text.partition("The last one arrived at ")[2]
    app.extensions["bucketline"].engine.dispose()


def test_page_reads_only_what_it_shows(client: FlaskClient):
    visit(client, URL)
    queries = re.search(r"(\d+) queries,", visit(client, URL).text)
    assert queries is not None
    assert int(queries[1]) <= MOST_QUERIES


# -- keys


@pytest.fixture
def signed_in(app: APIFlask, settings: Settings) -> FlaskClient:
    """A client that is signed in as an admin."""
    key = new_key()
    key_file.add(settings.key_file, entry_for("the-admin", Role.ADMIN, key))
    client = app.test_client()
    send(client, visit(client, "/ui/sign-in"), "/sign-in", key=key)
    return client


def test_created_key_is_shown_once_and_works(signed_in: FlaskClient, app: APIFlask):
    fields = {"name": "bi", "role": "reader", "datasets": "users, orders"}
    response = send(signed_in, visit(signed_in, URL), "/settings/keys", **fields)
    seen = read("/ui/settings/keys", response)
    assert seen.h1 == "Key bi is created"
    assert response.headers["Cache-Control"] == "no-store"
    key = next(word for word in seen.text.split() if word.startswith("bl_"))
    listed = visit(signed_in, URL)
    assert "bi reader orders and users" in listed.text
    assert key not in listed.response.text
    client = app.test_client()
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get("/problems", headers=headers).status_code == 200
    assert send(signed_in, listed, "/settings/keys/revoke", name="bi").status_code == 303
    assert client.get("/problems", headers=headers).status_code == 401
    assert "bi reader" not in visit(signed_in, URL).text


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "", "role": "reader"},
        {"name": "bl_x", "role": "reader"},
        {"name": "a:b", "role": "reader"},
        {"name": "x", "role": "owner"},
        {"name": "x", "role": "reader", "datasets": "a-b"},
        {"name": "the-admin", "role": "reader"},
    ],
)
def test_key_that_is_not_valid_is_refused(
    signed_in: FlaskClient, settings: Settings, fields: dict[str, str]
):
    before = key_file.load(settings.key_file)
    assert send(signed_in, visit(signed_in, URL), "/settings/keys", **fields).status_code == 422
    assert key_file.load(settings.key_file) == before


def test_keys_of_the_settings_can_only_be_listed(settings: Settings):
    key = new_key()
    fixed = SecretStr(str(entry_for("of-settings", Role.ADMIN, key)))
    app = create_app(settings.model_copy(update={"api_keys": fixed}))
    client = app.test_client()
    send(client, visit(client, "/ui/sign-in"), "/sign-in", key=key)
    seen = visit(client, URL)
    assert "of-settings yours admin all API_KEYS" in seen.text
    assert not any(form.action.endswith("/revoke") for form in seen.forms)
    fields = {"name": "of-settings", "csrf": seen.form("/settings/keys").fields["csrf"]}
    response = client.post("/ui/settings/keys/revoke", data=fields, headers=BROWSER)
    assert response.status_code == 422
    app.extensions["bucketline"].engine.dispose()


def test_revoking_the_own_key_signs_out(signed_in: FlaskClient):
    assert send(signed_in, visit(signed_in, URL), "/settings/keys/revoke").status_code == 303
    assert visit(signed_in, URL).response.headers["Location"].startswith("/ui/sign-in")


def test_faulty_key_file_is_reported(signed_in: FlaskClient, settings: Settings):
    with settings.key_file.open("a") as file:
        file.write("nonsense\n")
    assert "cannot be read in line 3" in visit(signed_in, URL).text


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("role", [Role.READER, Role.WRITER])
def test_others_see_health_only(app: APIFlask, settings: Settings, role: Role):
    key = new_key()
    key_file.add(settings.key_file, entry_for("someone", role, key))
    client = app.test_client()
    send(client, visit(client, "/ui/sign-in"), "/sign-in", key=key)
    seen = visit(client, URL)
    assert seen.status == 200
    assert "Settings and keys need an admin." in seen.text
    for hidden in ("the-admin", "SOURCE_BUCKET", "S3_ENDPOINT", str(settings.key_file)):
        assert hidden not in seen.response.text
    token = {"csrf": seen.form("/sign-out").fields["csrf"], "name": "x", "role": "admin"}
    for path in ("/ui/settings/keys", "/ui/settings/keys/revoke"):
        assert client.post(path, data=token, headers=BROWSER).status_code == 403
