"""Problem details and headers that do not depend on the route."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.api_client import expect_problem

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine


def test_unexpected_error_is_a_500_without_secrets(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO users (user_id, first_name, last_name, birthts, _source_key,"
                " _source_line, _run_id, _updated_at) VALUES ('1', 'A', 'B', 0, 'a', 1, 1, now())"
            )
        )
        connection.execute(text("ALTER TABLE users RENAME TO people"))
        divided = "1 / length(substr(user_id, 1, 0))"
        connection.execute(text(f"CREATE VIEW users AS SELECT * FROM people WHERE {divided} = 1"))
    response = client.get("/data")
    expect_problem(response, 500)
    assert "SELECT" not in response.text
    assert "psycopg2" not in response.text


def test_an_unknown_address_is_a_problem(client: FlaskClient):
    assert expect_problem(client.get("/nowhere"), 404)["instance"] == "/nowhere"


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(client: FlaskClient):
    response = client.delete("/data")
    expect_problem(response, 405)
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_a_large_body_is_refused(client: FlaskClient):
    expect_problem(client.post("/data", data=b"x" * 100_000), 413)


@pytest.mark.parametrize("url", ["/", "/data", "/nowhere", "/openapi.json", "/docs"])
def test_every_answer_carries_the_security_headers(client: FlaskClient, url: str):
    with client.get(url) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "unsafe" not in response.headers["Content-Security-Policy"]


def test_responses_are_private_and_revalidated(client: FlaskClient):
    assert client.get("/data").headers["Cache-Control"] == "private, no-cache"
    assert client.get("/runs").headers["Cache-Control"] == "no-store"
