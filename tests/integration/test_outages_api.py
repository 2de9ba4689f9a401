"""Responses of the API while its database or a client is slow, broken or gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from api import create_app
from api.state.services import MAX_STREAMS, Timeouts
from etl.model.errors import TransientError
from tests.api_client import MANY, copies, expect_problem, get, terminate_others
from tests.conftest import wait_until
from tests.user_rows import generate_users, person, put_users

if TYPE_CHECKING:
    from apiflask import APIFlask
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings


def test_stalled_clients_do_not_block_other_requests(app: APIFlask, engine: Engine):
    """While the allowed number of long responses stalls, other requests are still served."""
    generate_users(engine, MANY)
    client = app.test_client()
    stalled = [client.get("/data") for _ in range(MAX_STREAMS)]
    refused = client.get("/data")
    assert refused.status_code == 503
    assert "Retry-After" in refused.headers
    assert client.get("/data?limit=10").status_code == 200
    assert client.get("/health").status_code == 200
    for response in stalled:
        response.close()
    assert len(client.get("/data").get_json()) == MANY


def test_a_stalled_reader_loses_its_connection_to_the_database(settings: Settings, engine: Engine):
    app = create_app(settings, timeouts=Timeouts(idle=0.2))
    generate_users(engine, 4 * MANY)
    stalled = app.test_client().get("/data")
    wait_until(lambda: not copies(engine))
    with pytest.raises(TransientError, match="The client read no data"):
        stalled.get_data()
    assert app.test_client().get("/data?limit=1").status_code == 200
    app.extensions["bucketline"].engine.dispose()


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/data"),
        ("GET", "/data?limit=1"),
        ("GET", "/data/1"),
        ("POST", "/data"),
        ("POST", "/data?wait=1"),
        ("GET", "/stats"),
        ("GET", "/runs"),
        ("GET", "/runs/1"),
        ("GET", "/runs/1/problems"),
    ],
)
def test_an_outage_of_the_database_is_a_503(without_database: FlaskClient, method: str, url: str):
    response = without_database.open(url, method=method)
    body = expect_problem(response, 503)
    assert body["type"].endswith("database-unavailable")
    assert response.headers["Retry-After"] == "5"
    assert "hunter2" not in response.text
    assert "db_user" not in response.text


def test_the_api_recovers_when_its_connections_were_cut(client: FlaskClient, engine: Engine):
    put_users(engine, person("1"))
    get(client, "/data")
    terminate_others(engine)
    assert list(get(client, "/data")) == ["1"]


def test_missing_tables_are_a_503_with_a_hint(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE users"))
    assert "migrate" in expect_problem(client.get("/data"), 503)["hint"]


def test_tables_without_a_version_are_an_older_schema(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE users, alembic_version"))
    body = expect_problem(client.get("/data"), 503)
    assert body["type"] == "urn:bucketline:problem:older-schema"
    assert "migrate" in body["hint"]


def test_a_query_that_takes_too_long_is_stopped(settings: Settings, engine: Engine):
    """A query that waits for a lock fails when its time is up."""
    app = create_app(settings, timeouts=Timeouts(statement=0.2))
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        body = expect_problem(app.test_client().get("/data?limit=1"), 503)
    assert "limit" in body["hint"]
    app.extensions["bucketline"].engine.dispose()


def test_a_long_answer_that_does_not_begin_in_time_is_stopped(settings: Settings, engine: Engine):
    app = create_app(settings, timeouts=Timeouts(statement=0.2))
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        body = expect_problem(app.test_client().get("/data"), 503)
        wait_until(lambda: not copies(engine))
    assert "limit" in body["hint"]
    app.extensions["bucketline"].engine.dispose()
