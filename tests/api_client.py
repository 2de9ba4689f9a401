"""Helpers for tests that call the API through its test client."""

from __future__ import annotations

import re
import socket
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, text

from api.rows.streaming import BUFFERED_BYTES
from etl.db.tables import run
from etl.model.values import RunState, Trigger
from tests.user_rows import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient
    from sqlalchemy import Engine
    from werkzeug.test import TestResponse


TODAY = date(2026, 6, 15)


AWKWARD_IDS = [
    "0001",
    "1",
    "a/b",
    "50% off",
    "%2F",
    "ä ö",
    "😀",
    'q"uote',
    "a+b&c=d",
    "?x=1#y",
    "/leading",
    "two\nlines",
]


@contextmanager
def closed_port() -> Iterator[int]:
    """A reserved port on which no process listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


MANY = 4 * BUFFERED_BYTES // 100  # of them need more than 100 bytes each: too many for one piece


def put_run(engine: Engine, **values: object) -> int:
    row = {"trigger": Trigger.CLI, "state": RunState.SUCCEEDED, "requested_at": NOW} | values
    if row["state"] != RunState.REQUESTED:
        row.setdefault("started_at", NOW)
    with engine.begin() as connection:
        return connection.execute(insert(run).values(row).returning(run.c.id)).scalar_one()


def get(client: FlaskClient, url: str) -> Any:  # noqa: ANN401 - JSON is any
    response = client.get(url)
    assert response.status_code == 200, response.text
    return response.get_json()


def expect_problem(response: TestResponse, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body = response.get_json()
    assert body["status"] == status
    assert body.keys() >= {"type", "title", "detail", "instance", "hint"}
    assert "Traceback" not in response.text
    return body


def next_url(response: TestResponse) -> str | None:
    match = re.fullmatch(r'<(.+)>; rel="next"', response.headers.get("Link", ""))
    return match[1] if match else None


def parameters_at_fault(response: TestResponse) -> set[str]:
    return {fault["parameter"] for fault in expect_problem(response, 422)["errors"]}


def copies(engine: Engine) -> int:
    """The number of COPY statements that other connections are running in this database."""
    with engine.connect() as connection:
        return connection.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND state <> 'idle' AND query LIKE '%COPY (%'"
            )
        ).scalar_one()


def terminate_others(engine: Engine) -> int:
    """Terminate every other connection to this database; return their number."""
    with engine.connect() as connection:
        return connection.execute(
            text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalar_one()
