"""GET /health, with the database and the object store up and down."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, text

from api import create_app
from api.state.services import Timeouts
from etl.db.tables import run
from tests.api_client import get, put_run
from tests.conftest import wait_until
from tests.user_rows import NOW, person, put_users

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings


def test_health_answers_while_the_database_hangs(settings: Settings, engine: Engine):
    """A lock that is never released simulates a server that accepts queries and never replies."""
    app = create_app(settings, timeouts=Timeouts(probe=0.2))
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE run"))
        for _ in range(20):
            response = app.test_client().get("/health")
            assert response.status_code == 503
            assert response.get_json()["database"]["status"] == "down"
    wait_until(lambda: app.test_client().get("/health").status_code == 200)
    app.extensions["bucketline"].engine.dispose()


def test_health_shows_the_run_that_began_last(client: FlaskClient, engine: Engine):
    """A requested run may start after one that was requested later."""
    with engine.begin() as connection:
        for state, started in (("failed", NOW), ("succeeded", NOW - timedelta(minutes=1))):
            connection.execute(
                insert(run).values(
                    trigger="request", state=state, started_at=started, finished_at=started
                )
            )
    assert get(client, "/health")["last_run"]["state"] == "failed"


def test_health_is_ok_when_all_services_respond(client: FlaskClient, engine: Engine):
    run_id = put_run(engine)
    put_run(engine, state="requested")
    body = get(client, "/health")
    assert (body["status"], body["database"]["status"]) == ("ok", "ok")
    assert body["object_store"]["status"] == "ok"
    assert body["last_run"]["id"] == run_id


def test_health_is_degraded_after_a_failed_run(client: FlaskClient, engine: Engine):
    put_run(engine, state="failed")
    assert get(client, "/health")["status"] == "degraded"


def test_health_is_degraded_and_data_served_without_the_store(
    without_store: FlaskClient, engine: Engine
):
    put_users(engine, person("1"))
    assert get(without_store, "/health")["status"] == "degraded"
    assert list(get(without_store, "/data")) == ["1"]
    assert without_store.post("/data").status_code == 202


def test_health_is_down_without_the_database(without_database: FlaskClient):
    response = without_database.get("/health")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    body = response.get_json()
    assert (body["status"], body["object_store"]["status"]) == ("down", "ok")
    assert "hunter2" not in response.text
