"""POST /data, which requests runs, and /runs, which shows them and their problems."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, insert, select, text, update

from etl.db.runs import REQUEST_CHANNEL
from etl.db.tables import problem, run
from etl.model.dataset import USERS
from tests.api_client import expect_problem, get, next_url, parameters_at_fault, put_run
from tests.dataset_rows import install
from tests.sample_datasets import ORDERS
from tests.user_rows import NOW

if TYPE_CHECKING:
    from apiflask import APIFlask
    from flask.testing import FlaskClient
    from sqlalchemy import Engine


def test_a_request_is_accepted_and_can_be_followed(client: FlaskClient, engine: Engine):
    response = client.post("/data")
    assert response.status_code == 202
    body = response.get_json()
    assert (body["trigger"], body["state"], body["error"]) == ("request", "requested", None)
    assert response.headers["Location"] == f"/runs/{body['id']}"
    assert get(client, response.headers["Location"]) == body
    with engine.connect() as connection:
        assert connection.scalar(select(run.c.state)) == "requested"


def test_simultaneous_requests_join_one_run(app: APIFlask):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.test_client().post("/data").get_json(), range(24)))
    assert len({answer["id"] for answer in answers}) == 1


def test_a_request_wakes_the_scheduler(client: FlaskClient, engine: Engine):
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"LISTEN {REQUEST_CHANNEL}"))
        client.post("/data")
        connection.execute(text("SELECT 1"))
        assert connection.connection.driver_connection.notifies


def test_mass_retirement_is_allowed_by_name_only(client: FlaskClient, engine: Engine):
    assert parameters_at_fault(client.post("/data?allow=everything")) == {"allow"}
    client.post("/data?allow=mass-retirement")
    with engine.connect() as connection:
        assert connection.scalar(select(run.c.allowed_retirements)) == {"users": None}


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ("", {"users": None, "orders": None}),
        ("&dataset=orders", {"orders": None}),
        ("&dataset=orders&at_most=5", {"orders": 5}),
        ("&dataset=orders,users&at_most=0", {"orders": 0, "users": 0}),
        ("&dataset=orders&dataset=users", {"orders": None, "users": None}),
    ],
)
def test_mass_retirement_is_allowed_by_dataset(
    client: FlaskClient, engine: Engine, query: str, allowed: dict[str, int | None]
):
    install(engine, USERS, ORDERS)
    assert client.post(f"/data?allow=mass-retirement{query}").status_code == 202
    with engine.connect() as connection:
        assert connection.scalar(select(run.c.allowed_retirements)) == allowed


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("dataset=users", {"dataset"}),
        ("at_most=5", {"at_most"}),
        ("allow=mass-retirement&dataset=none", {"dataset"}),
        ("allow=mass-retirement&dataset=users,", {"dataset"}),
        ("allow=mass-retirement&at_most=-1", {"at_most"}),
        ("wait=0&wait=1", {"wait"}),
    ],
)
def test_wrong_permissions_request_no_run(
    client: FlaskClient, engine: Engine, query: str, parameters: set[str]
):
    assert parameters_at_fault(client.post(f"/data?{query}")) == parameters
    with engine.connect() as connection:
        assert connection.execute(select(run)).all() == []


def test_waiting_returns_the_finished_run(app: APIFlask, engine: Engine):
    """A waiting client gets the run that another process finished."""
    asked = threading.Event()
    api_engine = app.extensions["bucketline"].engine

    @event.listens_for(api_engine, "after_cursor_execute")
    def notice(_c: object, _k: object, statement: str, *_: object) -> None:
        if "FROM run WHERE id" in statement:
            asked.set()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(app.test_client().post, "/data?wait=60")
        assert asked.wait(30)
        with engine.begin() as connection:
            connection.execute(
                update(run).values(
                    state="succeeded",
                    finished_at=NOW,
                    counts={"rows_read": 3},
                    step_seconds={"merge": 0.1},
                )
            )
        response = waiting.result(30)
    assert response.status_code == 200
    assert response.get_json()["state"] == "succeeded"
    assert response.get_json()["counts"] == {"rows_read": 3}
    assert response.headers["Location"] == f"/runs/{response.get_json()['id']}"


def test_waiting_in_vain_returns_the_run_in_its_current_state(client: FlaskClient):
    response = client.post("/data?wait=0.2")
    assert response.status_code == 202
    assert response.get_json()["state"] == "requested"


def test_too_many_waiting_clients_get_their_answer_at_once(app: APIFlask):
    """If all places to wait are taken, the response is sent immediately."""
    waiting = app.extensions["bucketline"].waiting
    while waiting.acquire(blocking=False):
        pass
    assert app.test_client().post("/data?wait=600").status_code == 202


@pytest.mark.parametrize("wait", ["-1", "601", "x", "nan", "inf", "1e9", "1e999", "e2", ""])
def test_invalid_wait_is_named(client: FlaskClient, wait: str):
    assert parameters_at_fault(client.post(f"/data?wait={wait}")) == {"wait"}
    assert get(client, "/runs") == {"runs": []}


def test_runs_are_paged_newest_first(client: FlaskClient, engine: Engine):
    ids = [put_run(engine) for _ in range(5)]
    first = client.get("/runs?limit=3")
    assert [row["id"] for row in first.get_json()["runs"]] == ids[:1:-1]
    url = next_url(first)
    assert url is not None
    rest = client.get(url)
    assert [row["id"] for row in rest.get_json()["runs"]] == ids[1::-1]
    assert next_url(rest) is None


def test_runs_are_filtered_by_state_and_trigger(client: FlaskClient, engine: Engine):
    failed = put_run(engine, state="failed", error={"code": "X", "message": "m", "hint": "h"})
    by_event = put_run(engine, trigger="event")
    assert [row["id"] for row in get(client, "/runs?state=failed")["runs"]] == [failed]
    assert [row["id"] for row in get(client, "/runs?trigger=event")["runs"]] == [by_event]
    assert parameters_at_fault(client.get("/runs?state=done&trigger=me")) == {"state", "trigger"}


def test_a_run_shows_everything_about_it(client: FlaskClient, engine: Engine):
    run_id = put_run(
        engine,
        started_at=NOW,
        finished_at=NOW + timedelta(milliseconds=500),
        published_at=NOW + timedelta(seconds=1),
        counts={"rows_read": 3},
        step_seconds={"merge": 0.25},
        step_rows={"merge": 3},
        step_spans={"merge": [0.25, 0.5]},
    )
    assert get(client, f"/runs/{run_id}") == {
        "id": run_id,
        "trigger": "cli",
        "state": "succeeded",
        "requested_at": "2026-06-15T12:00:00Z",
        "started_at": "2026-06-15T12:00:00Z",
        "finished_at": "2026-06-15T12:00:00.500000Z",
        "counts": {"rows_read": 3},
        "error": None,
        "published_at": "2026-06-15T12:00:01Z",
        "step_seconds": {"merge": 0.25},
        "step_rows": {"merge": 3},
        "step_spans": {"merge": [0.25, 0.5]},
    }


@pytest.mark.parametrize("run_id", ["0", "7", "9223372036854775807", "9" * 30, "-1", "x"])
def test_an_unknown_run_is_not_found(client: FlaskClient, run_id: str):
    expect_problem(client.get(f"/runs/{run_id}"), 404)
    expect_problem(client.get(f"/runs/{run_id}/problems"), 404)


def test_problems_of_a_run_are_paged_and_filtered_by_code(client: FlaskClient, engine: Engine):
    run_id, other = put_run(engine), put_run(engine)
    with engine.begin() as connection:
        for owner, line, code in [
            (run_id, 2, "not-an-integer"),
            (other, 2, "short-row"),
            (run_id, 3, "missing-cell"),
            (run_id, None, "no-rows"),
        ]:
            connection.execute(
                insert(problem).values(
                    run_id=owner,
                    bucket="src-data",
                    key="1000.csv",
                    etag="abc",
                    line=line,
                    column="birthts",
                    code=code,
                    severity="error",
                    value="x",
                    note="Fix it.",
                )
            )
    first = client.get(f"/runs/{run_id}/problems?limit=2")
    found = first.get_json()["problems"]
    assert [row["code"] for row in found] == ["not-an-integer", "missing-cell"]
    assert {name: value for name, value in found[0].items() if name != "id"} == {
        "line": 2,
        "column": "birthts",
        "bucket": "src-data",
        "dataset": None,
        "key": "1000.csv",
        "etag": "abc",
        "code": "not-an-integer",
        "severity": "error",
        "value": "x",
        "note": "Fix it.",
    }
    url = next_url(first)
    assert url is not None
    assert [row["line"] for row in get(client, url)["problems"]] == [None]
    by_code = get(client, f"/runs/{run_id}/problems?code=missing-cell")["problems"]
    assert [row["line"] for row in by_code] == [3]
    assert parameters_at_fault(client.get(f"/runs/{run_id}/problems?code=odd")) == {"code"}
