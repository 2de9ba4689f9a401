"""The overview: what it says in each state, what it lists, and what its buttons do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api import create_app
from etl.model.errors import ObjectStoreUnavailable
from etl.model.roles import Role, entry_for, new_key
from etl.model.values import Trigger
from tests.conftest import TestBucket
from tests.dataset_rows import install
from tests.sample_datasets import ORDERS
from tests.ui_client import BROWSER, read, send, visit
from tests.user_rows import generate_users

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings
    from etl.sync.manager import DataManager

PANEL = "/ui/overview/now?shown=overview"


def test_before_the_first_run_it_waits(client: FlaskClient):
    seen = visit(client, "/ui/")
    assert seen.h1 == "No run has committed yet."
    assert seen.title == "Waiting · Bucketline"


def test_an_empty_bucket_has_a_page_that_says_what_to_do(
    client: FlaskClient, manager: DataManager, settings: Settings, bucket: TestBucket
):
    manager.run(Trigger.CLI)
    seen = visit(client, "/ui/")
    assert seen.h1 == f"{settings.source_bucket} is empty."
    assert "Add data" in seen.text
    unchanged = client.get("/ui/overview/now?shown=empty")
    assert (unchanged.status_code, unchanged.headers.get("HX-Refresh")) == (204, None)
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    assert client.get("/ui/overview/now?shown=empty").headers["HX-Refresh"] == "true"


def test_the_sample_is_loaded_only_into_an_empty_bucket(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    manager.run(Trigger.CLI)
    seen = visit(client, "/ui/")
    bucket.user("1.csv")
    refused = read("/ui/", send(client, seen, "/ui/sample"))
    assert refused.status == 409
    assert "is not empty" in refused.text
    assert bucket.keys() == ["1.csv"]
    bucket.remove("1.csv")
    assert send(client, seen, "/ui/sample").status_code == 303
    assert len(bucket.keys()) > 100


def test_all_in_sync(client: FlaskClient, manager: DataManager, bucket: TestBucket):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    seen = visit(client, "/ui/")
    assert seen.h1.startswith("All in sync since ")
    assert "Needs attention" not in seen.text
    assert "Runs, last 24 h 1 succeeded" in seen.text
    assert "icons/state-ok.svg" in seen.response.text


def test_objects_with_errors_are_listed_with_their_reason(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.put("a/2.csv", "first_name,last_name,birthts\nAda,Lovelace,soon\n")
    manager.run(Trigger.CLI)
    seen = visit(client, "/ui/")
    assert "1 object needs attention." in seen.h1
    assert "Needs attention 1" in seen.text
    assert "a/2.csv: 1 of 1 row rejected: 1 not-an-integer" in seen.text
    assert "1 error" in seen.text
    assert "icons/state-warn.svg" in seen.response.text


def test_a_hold_comes_before_errors(client: FlaskClient, manager: DataManager, bucket: TestBucket):
    rows = "".join(f"{index},A,B,0\n" for index in range(300))
    bucket.put("many.csv", f"user_id,first_name,last_name,birthts\n{rows}")
    bucket.put("bad.csv", "first_name,last_name,birthts\nAda,Lovelace,soon\n")
    manager.run(Trigger.CLI)
    bucket.remove("many.csv")
    manager.run(Trigger.CLI)
    seen = visit(client, "/ui/")
    assert seen.h1 == "300 retirements of users are held. 1 object needs attention."
    assert seen.title == "Held: users · Bucketline"
    assert "300 of 300 rows would be retired" in seen.text
    assert "2 = 1 succeeded + 1 held" in seen.text


def test_a_failed_run_comes_before_holds_and_offers_to_try_again(
    client: FlaskClient,
    manager: DataManager,
    bucket: TestBucket,
    monkeypatch: pytest.MonkeyPatch,
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)

    def refuse(*_: object) -> None:
        raise ObjectStoreUnavailable("The store is <full>.")

    with monkeypatch.context() as patched:
        patched.setattr(manager, "_stage_all", refuse)
        with pytest.raises(ObjectStoreUnavailable):
            manager.run(Trigger.CLI)
    seen = visit(client, "/ui/")
    assert seen.h1.endswith("Nothing was changed.")
    assert "The store is <full>." in seen.text
    assert seen.form("/ui/run").buttons == ["Try now"]
    assert "2 = 1 succeeded + 1 failed" in seen.text


def test_run_now_requests_one_run_and_shows_it_until_it_has_ended(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    response = send(client, visit(client, "/ui/"), "/ui/run")
    assert response.status_code == 303
    url = response.headers["Location"]
    waiting = visit(client, url)
    assert "was requested" in waiting.text
    assert 'http-equiv="refresh" content="2"' in waiting.response.text
    assert not any(one.action.endswith("/ui/run") for one in waiting.forms)
    assert 'hx-trigger="every 1s' in waiting.response.text
    bucket.user("2.csv")
    manager.run_requested()
    ended = visit(client, url)
    assert "It read 1 row of 1 changed object: 1 inserted." in ended.text
    assert 'http-equiv="refresh"' not in ended.response.text
    panel = client.get(url.replace("/ui/?", "/ui/overview/progress?"))
    assert "succeeded in" in panel.text
    assert "hx-trigger" not in panel.text


def test_an_active_run_shows_its_steps(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        run_id = connection.scalar(
            text(
                "INSERT INTO run (trigger, state, started_at, progress) VALUES ('request',"
                ' \'running\', now(), \'{"step": "read", "done": 318, "total": 521}\')'
                " RETURNING id"
            )
        )
    seen = visit(client, f"/ui/?run={run_id}")
    assert f"Run {run_id} has begun." in seen.text


@pytest.mark.parametrize(
    ("given", "status"), [("x", 422), ("-1", 422), ("9" * 19, 422), ("123456", 404), ("", 200)]
)
def test_an_unknown_run_is_an_error_page(client: FlaskClient, given: str, status: int):
    seen = visit(client, f"/ui/?run={given}")
    assert seen.status == status
    assert seen.faults == []
    assert seen.h1


# -- outages


def test_without_the_store_the_page_says_so_and_nothing_is_in_sync(
    without_store: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    seen = visit(without_store, "/ui/")
    assert seen.status == 200
    assert seen.h1 == "The object store does not answer."
    assert "Unknown" in seen.text
    assert "In sync" not in seen.text
    assert seen.faults == []
    assert without_store.get(PANEL).headers["HX-Refresh"] == "true"


def test_without_the_database_the_page_says_so(without_database: FlaskClient):
    seen = visit(without_database, "/ui/")
    assert seen.status == 503
    assert seen.h1 == "The database does not answer."
    assert seen.faults == []
    assert seen.response.headers["Retry-After"]
    assert "hunter2" not in seen.response.text
    assert without_database.get(PANEL).headers["HX-Refresh"] == "true"


def test_newer_tables_have_an_error_page(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    seen = visit(client, "/ui/")
    assert seen.status == 503
    assert seen.h1 == "A newer Bucketline has changed the tables."


# -- roles


def test_buttons_exist_only_for_those_who_may_use_them(
    settings: Settings, manager: DataManager, bucket: TestBucket
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    keys = {role: new_key() for role in Role}
    entries = ",".join(str(entry_for(f"a-{role}", role, key)) for role, key in keys.items())
    app = create_app(settings.model_copy(update={"api_keys": SecretStr(entries)}))
    clients = {role: app.test_client() for role in Role}
    for role, client in clients.items():
        send(client, visit(client, "/ui/sign-in"), "/sign-in", key=keys[role])
        seen = visit(client, "/ui/")
        has_button = any(one.action.endswith("/ui/run") for one in seen.forms)
        assert has_button == role.includes(Role.WRITER)
    for role, client in clients.items():
        token = visit(client, "/ui/").form("/sign-out").fields["csrf"]
        sent = client.post("/ui/run", data={"csrf": token}, headers=BROWSER)
        assert sent.status_code == (303 if role.includes(Role.WRITER) else 403)
    app.extensions["bucketline"].engine.dispose()


def test_a_limited_key_sees_only_its_datasets(
    settings: Settings, engine: Engine, manager: DataManager, bucket: TestBucket
):
    generate_users(engine, 5)
    install(engine, ORDERS)
    bucket.put("secret-name.csv", "first_name,last_name,birthts\nAda,Lovelace,soon\n")
    manager.run(Trigger.CLI)
    key = new_key()
    entry = entry_for("shop", Role.ADMIN, key, ["orders"])
    app = create_app(settings.model_copy(update={"api_keys": SecretStr(str(entry))}))
    client = app.test_client()
    send(client, visit(client, "/ui/sign-in"), "/sign-in", key=key)
    for url in ("/ui/", PANEL):
        seen = visit(client, url)
        assert seen.status == 200
        assert "orders" in seen.text
        assert "secret-name" not in seen.response.text
        assert "users" not in seen.text.replace("output.csv", "")
    app.extensions["bucketline"].engine.dispose()
