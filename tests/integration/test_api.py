"""The API over a real database and object store; rows are put there by SQL."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import event, insert, select, text, update

from api import create_app
from api.rows.filters import Filters, age_in_sql, age_on, conditions
from api.rows.streaming import WHOLE_BYTES
from api.server import listen
from api.state.services import MAX_STREAMS
from etl.db.runs import REQUEST_CHANNEL
from etl.db.tables import problem, run, source_object, users
from etl.model.errors import ConfigurationError, TransientError
from etl.model.values import RunState, Trigger
from tests.conftest import wait_until
from tests.people import NOW, birthts, person, put_many, put_users
from tests.processes import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apiflask import APIFlask
    from flask.testing import FlaskClient
    from sqlalchemy import Engine
    from werkzeug.test import TestResponse

    from etl.settings import Settings

TODAY = date(2026, 6, 15)

AWKWARD_NAMES = [
    'O"Neil',
    "back\\slash",
    "two\nlines",
    "tab\tand\rreturn",
    "emoji 😀",
    "\u2028 separator",
    "'; DROP TABLE users; --",
    "%s :name {}",
    "</script>",
    "",
]
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


# -- what a test needs


@pytest.fixture
def app(settings: Settings) -> Iterator[APIFlask]:
    app = create_app(settings, today=lambda: TODAY)
    yield app
    app.extensions["bucketline"].engine.dispose()


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    return app.test_client()


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of ours on which nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def without_database(settings: Settings) -> Iterator[FlaskClient]:
    with closed_port() as port:
        url = f"postgresql://somebody:hunter2@127.0.0.1:{port}/nowhere"
        lost = settings.model_copy(update={"database_url": SecretStr(url)})
        yield create_app(lost, today=lambda: TODAY).test_client()


@pytest.fixture
def without_store(settings: Settings) -> Iterator[FlaskClient]:
    with closed_port() as port:
        lost = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{port}"})
        app = create_app(lost, today=lambda: TODAY)
        yield app.test_client()
        app.extensions["bucketline"].engine.dispose()


MANY = 4 * WHOLE_BYTES // 100  # of them need more than 100 bytes each: too many for one piece


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


# -- GET /data


def test_no_users_are_an_empty_object(client: FlaskClient):
    assert get(client, "/data") == {}
    assert get(client, "/data?limit=5") == {}


def test_users_are_keyed_by_id_with_exactly_four_fields(client: FlaskClient, engine: Engine):
    put_users(engine, person("1000", img_path="src-data/1000.png"), person("1001", birthts=-1))
    assert get(client, "/data") == {
        "1000": {
            "first_name": "Ann",
            "last_name": "Smith",
            "birthts": birthts(date(1990, 6, 15)),
            "img_path": "src-data/1000.png",
        },
        "1001": {"first_name": "Ann", "last_name": "Smith", "birthts": -1, "img_path": None},
    }


def test_users_come_in_byte_order_of_their_ids(client: FlaskClient, engine: Engine):
    put_users(engine, *(person(name) for name in AWKWARD_IDS))
    assert list(get(client, "/data")) == sorted(AWKWARD_IDS, key=str.encode)


def test_awkward_names_survive_as_json(client: FlaskClient, engine: Engine):
    put_users(
        engine,
        *(person(str(n), first_name=name, last_name=name) for n, name in enumerate(AWKWARD_NAMES)),
    )
    answer = get(client, "/data")
    assert [answer[str(n)]["first_name"] for n in range(len(AWKWARD_NAMES))] == AWKWARD_NAMES
    assert [answer[str(n)]["last_name"] for n in range(len(AWKWARD_NAMES))] == AWKWARD_NAMES


@pytest.mark.parametrize("kind", ["json", "ndjson"])
def test_an_older_postgres_writes_the_same_json(
    client: FlaskClient, engine: Engine, monkeypatch: pytest.MonkeyPatch, kind: str
):
    people = zip(AWKWARD_IDS, itertools.cycle(AWKWARD_NAMES), strict=False)
    put_users(engine, *(person(name, first_name=other) for name, other in people))
    new = client.get(f"/data?format={kind}").data
    monkeypatch.setattr("api.rows.statements.KNOWS_JSON_SCALAR", 10**9)
    assert client.get(f"/data?format={kind}").data == new
    assert len(new) > len(AWKWARD_IDS)


def test_retired_users_are_not_served(client: FlaskClient, engine: Engine):
    put_users(engine, person("here"), person("gone", retired_at=NOW))
    assert list(get(client, "/data")) == ["here"]
    assert get(client, "/stats")["count"] == 1


@pytest.mark.parametrize("text_", ["true", "TRUE", "True", "tRuE"])
def test_image_filter_reads_any_case(client: FlaskClient, engine: Engine, text_: str):
    put_users(engine, person("with", img_path="b/with.png"), person("without"))
    assert list(get(client, f"/data?is_image_exists={text_}")) == ["with"]


def test_image_filter_false_wants_those_without(client: FlaskClient, engine: Engine):
    put_users(engine, person("with", img_path="b/with.png"), person("without"))
    assert list(get(client, "/data?is_image_exists=False")) == ["without"]


def test_age_filters_are_inclusive(client: FlaskClient, engine: Engine):
    put_users(
        engine,
        person("35", date(1990, 6, 16)),  # the birthday is tomorrow
        person("36", date(1990, 6, 15)),  # today
        person("36 too", date(1990, 6, 14)),  # was yesterday
        person("37", date(1989, 6, 15)),
    )
    assert list(get(client, "/data?min_age=36&max_age=36")) == ["36", "36 too"]
    assert list(get(client, "/data?min_age=37")) == ["37"]
    assert list(get(client, "/data?max_age=35")) == ["35"]


@pytest.mark.parametrize(
    ("today", "age"), [(date(2026, 2, 28), 25), (date(2026, 3, 1), 26), (date(2028, 2, 29), 28)]
)
def test_leap_day_birthdays_fall_on_the_first_of_march(
    settings: Settings, engine: Engine, today: date, age: int
):
    put_users(engine, person("leap", date(2000, 2, 29)))
    client = create_app(settings, today=lambda: today).test_client()
    assert get(client, "/data/leap")["age"] == age
    assert get(client, f"/data?min_age={age}&max_age={age}").keys() == {"leap"}
    assert get(client, f"/data?min_age={age + 1}") == {}
    assert get(client, f"/data?max_age={age - 1}") == {}
    assert get(client, "/stats")["average_age"] == age


@given(
    birthdates=st.lists(st.dates(date(1900, 1, 1), date(2026, 6, 15)), min_size=1, max_size=20),
    today=st.dates(date(2026, 6, 15), date(2040, 12, 31)),
    low=st.integers(0, 100),
    high=st.integers(0, 150),
)
def test_postgres_agrees_about_every_age(
    engine: Engine, birthdates: list[date], today: date, low: int, high: int
):
    wanted = Filters(min_age=low, max_age=high)
    with engine.connect() as connection:
        connection.execute(insert(users), [person(str(n), day) for n, day in enumerate(birthdates)])
        rows = connection.execute(
            select(users.c.birthdate, age_in_sql(today), text("age(:today, birthdate)")),
            {"today": today},
        ).all()
        found = connection.execute(
            select(users.c.birthdate).where(*conditions(wanted, today))
        ).scalars()
        assert [age for _, age, _ in rows] == [age_on(today, day) for day, _, _ in rows]
        assert sorted(found) == sorted(d for d in birthdates if low <= age_on(today, d) <= high)
        connection.rollback()


def test_pages_join_to_the_whole(client: FlaskClient, engine: Engine):
    put_users(engine, *(person(name) for name in AWKWARD_IDS))
    url: str | None = "/data?limit=5"
    seen: list[str] = []
    sizes = []
    while url:
        response = client.get(url)
        seen += response.get_json()
        sizes.append(len(response.get_json()))
        url = next_url(response)
    assert seen == sorted(AWKWARD_IDS, key=str.encode)
    assert sizes == [5, 5, 2]


def test_last_page_has_no_next_even_if_it_is_full(client: FlaskClient, engine: Engine):
    put_users(engine, person("1"), person("2"))
    assert next_url(client.get("/data?limit=2")) is None
    assert next_url(client.get("/data?limit=1&min_age=1")) == "/data?limit=1&min_age=1&after=1"


def test_after_alone_gives_all_the_rest(client: FlaskClient, engine: Engine):
    put_users(engine, person("1"), person("2"), person("3"))
    assert list(get(client, "/data?after=1")) == ["2", "3"]


def test_many_pieces_make_one_object(client: FlaskClient, engine: Engine):
    put_many(engine, MANY)
    response = client.get("/data")
    assert "Content-Length" not in response.headers
    assert len(response.get_json()) == MANY


def test_a_short_answer_tells_its_length(client: FlaskClient, engine: Engine):
    put_many(engine, 100)
    response = client.get("/data")
    assert int(response.headers["Content-Length"]) == len(response.data)


def test_head_answers_without_a_body_and_keeps_no_connection(
    app: APIFlask, client: FlaskClient, engine: Engine
):
    put_many(engine, MANY)
    with client.head("/data") as response:
        assert response.status_code == 200
        assert response.data == b""
    assert app.extensions["bucketline"].engine.pool.checkedout() == 0


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("min_age=x", {"min_age"}),
        ("min_age=-1", {"min_age"}),
        ("min_age=1.5", {"min_age"}),
        ("min_age=%2B5", {"min_age"}),
        ("min_age=1_0", {"min_age"}),
        ("min_age=%D9%A3", {"min_age"}),
        ("min_age=151", {"min_age"}),
        ("max_age=99999999999999999999999", {"max_age"}),
        ("min_age=40&max_age=30", {"max_age"}),
        ("min_age=", {"min_age"}),
        ("min_age=1&min_age=2", {"min_age"}),
        ("min_age=1&min_age=1", {"min_age"}),
        ("is_image_exists=1", {"is_image_exists"}),
        ("is_image_exists=yes", {"is_image_exists"}),
        ("is_image_exist=true", {"is_image_exist"}),
        ("Min_Age=1", {"Min_Age"}),
        ("min_age=x&max_age=y", {"min_age", "max_age"}),
    ],
)
def test_senseless_filters_are_named(client: FlaskClient, query: str, named: set[str]):
    assert parameters_at_fault(client.get(f"/data?{query}")) == named
    assert parameters_at_fault(client.get(f"/stats?{query}")) == named


@pytest.mark.parametrize(
    ("method", "url", "message"),
    [
        ("GET", "/data?min_age=-1", "must be 0 or more"),
        ("GET", "/data?min_age=151", "must be 150 or less"),
        ("GET", "/stats?max_age=-30", "must be 0 or more"),
        ("GET", "/data?limit=-5", "must be 1 or more"),
        ("GET", "/data?limit=-x", "must be a whole number"),
        ("POST", "/data?wait=-1", "must be 0 or more"),
        ("POST", "/data?wait=-0.5", "must be 0 or more"),
        ("POST", "/data?wait=601", "must be 600 or less"),
        ("POST", "/data?wait=--1", "must be a number of seconds"),
    ],
)
def test_a_number_out_of_bounds_is_told_them(
    client: FlaskClient, method: str, url: str, message: str
):
    response = client.open(url, method=method)
    assert response.status_code == 422
    assert [error["message"] for error in response.get_json()["errors"]] == [message]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=10001",
        "limit=x",
        "after=",
        "after=%00",
        "after=%ff",
        "after=a%c3",
        "after=%ed%a0%80",
    ],
)
def test_senseless_pages_are_named(client: FlaskClient, query: str):
    assert parameters_at_fault(client.get(f"/data?{query}")) == {query.partition("=")[0]}


@pytest.mark.parametrize("query", [b"after=\xff", b"after=%ff&after=x", b"%ff=x", b"\xff=x"])
def test_what_is_not_utf8_is_said_not_to_be(client: FlaskClient, query: bytes):
    response = client.get("/data", environ_overrides={"QUERY_STRING": query.decode("latin-1")})
    assert response.status_code == 422
    (fault,) = response.get_json()["errors"]
    assert fault["parameter"] in ("after", "?")
    assert "is not UTF-8" in fault["message"]


def test_what_is_utf8_is_taken_percent_encoded_or_not(client: FlaskClient, engine: Engine):
    put_users(engine, person("a"), person("ü"), person("ÿ"))
    for query in ("after=%C3%BC", "after=ü".encode().decode("latin-1")):
        response = client.get("/data", environ_overrides={"QUERY_STRING": query})
        assert list(response.get_json()) == ["ÿ"]


# -- GET /data/<user_id>


@pytest.mark.parametrize("user_id", AWKWARD_IDS)
def test_any_id_can_be_asked_for(client: FlaskClient, engine: Engine, user_id: str):
    put_users(engine, *(person(name) for name in AWKWARD_IDS))
    assert get(client, f"/data/{quote(user_id, safe='')}")["user_id"] == user_id


def test_user_shows_age_and_lineage(client: FlaskClient, engine: Engine, settings: Settings):
    put_users(engine, person("1000", source_key="a/1000.csv", extra={"city": "Oslo"}, run_id=7))
    with engine.begin() as connection:
        connection.execute(
            insert(source_object).values(
                bucket=settings.source_bucket,
                key="a/1000.csv",
                kind="csv",
                user_id="1000",
                etag="abc",
                size=60,
                last_modified=NOW,
                state="loaded",
                rows_read=1,
                rows_rejected=0,
                run_id=7,
            )
        )
    assert get(client, "/data/1000") == {
        "user_id": "1000",
        "first_name": "Ann",
        "last_name": "Smith",
        "birthts": birthts(date(1990, 6, 15)),
        "birthdate": "1990-06-15",
        "age": 36,
        "img_path": None,
        "extra": {"city": "Oslo"},
        "image": None,
        "lineage": {
            "bucket": settings.source_bucket,
            "key": "a/1000.csv",
            "etag": "abc",
            "line": 2,
            "run_id": 7,
            "updated_at": "2026-06-15T12:00:00Z",
        },
    }


def test_an_unknown_user_is_not_found(client: FlaskClient, engine: Engine):
    put_users(engine, person("1"))
    assert "'0001'" in expect_problem(client.get("/data/0001"), 404)["detail"]
    expect_problem(client.get("/data/a%00b"), 404)


def test_a_retired_user_is_not_found_and_said_to_be_retired(client: FlaskClient, engine: Engine):
    put_users(engine, person("1", retired_at=NOW))
    body = expect_problem(client.get("/data/1"), 404)
    assert body["type"].endswith("retired-user")
    assert "2026-06-15T12:00:00Z" in body["detail"]


def test_a_slash_at_the_end_is_part_of_an_id_and_of_nothing_else(
    client: FlaskClient, engine: Engine
):
    put_users(engine, person("1"), person("a/"))
    assert client.get("/data/1/").status_code == 404
    assert get(client, "/data/a%2F")["user_id"] == "a/"
    assert get(client, "/data/") == get(client, "/data")


def test_readers_who_stall_leave_room_for_everybody_else(app: APIFlask, engine: Engine):
    """Given as many long answers under way as are allowed, others are still served."""
    put_many(engine, MANY)
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


def test_a_stalled_reader_loses_its_connection_to_the_database(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("api.IDLE_TIMEOUT_SECONDS", 0.2)
    app = create_app(settings)
    put_many(engine, 4 * MANY)
    stalled = app.test_client().get("/data")
    wait_until(lambda: not copies(engine))
    with pytest.raises(TransientError, match="Nobody read"):
        stalled.get_data()
    assert app.test_client().get("/data?limit=1").status_code == 200
    app.extensions["bucketline"].engine.dispose()


def copies(engine: Engine) -> int:
    """How many COPYs others have under way in this database."""
    with engine.connect() as connection:
        return connection.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND state <> 'idle' AND query LIKE 'COPY%'"
            )
        ).scalar_one()


def test_health_answers_while_the_database_hangs(
    app: APIFlask, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    """A lock that nobody gives up stands for a server that takes questions and answers none."""
    monkeypatch.setattr("api.state.services.PROBE_SECONDS", 0.2)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE run"))
        for _ in range(20):
            response = app.test_client().get("/health")
            assert response.status_code == 503
            assert response.get_json()["database"]["status"] == "down"
    wait_until(lambda: app.test_client().get("/health").status_code == 200)


def test_health_shows_the_run_that_began_last(client: FlaskClient, engine: Engine):
    """A request may wait longer than a run that was asked for after it."""
    with engine.begin() as connection:
        for state, started in (("failed", NOW), ("succeeded", NOW - timedelta(minutes=1))):
            connection.execute(
                insert(run).values(
                    trigger="request", state=state, started_at=started, finished_at=started
                )
            )
    assert get(client, "/health")["last_run"]["state"] == "failed"


# -- GET /stats


def test_stats_of_nobody_have_no_average(client: FlaskClient):
    nobody = {"count": 0, "average_age": None, "with_image": 0, "without_image": 0}
    assert get(client, "/stats") == nobody


def test_stats_average_whole_years_to_two_decimals(client: FlaskClient, engine: Engine):
    put_users(
        engine,
        person("a", date(1990, 6, 16), img_path="b/a.png"),  # 35
        person("b", date(1990, 6, 15), img_path="b/b.png"),  # 36
        person("c", date(1990, 6, 14)),  # 36
    )
    assert get(client, "/stats") == {
        "count": 3,
        "average_age": 35.67,
        "with_image": 2,
        "without_image": 1,
    }
    assert get(client, "/stats?is_image_exists=true&min_age=36") == {
        "count": 1,
        "average_age": 36,
        "with_image": 1,
        "without_image": 0,
    }


# -- POST /data


def test_a_request_is_accepted_and_can_be_followed(client: FlaskClient, engine: Engine):
    response = client.post("/data")
    assert response.status_code == 202
    body = response.get_json()
    assert (body["trigger"], body["state"], body["error"]) == ("request", "requested", None)
    assert response.headers["Location"] == f"/runs/{body['id']}"
    assert get(client, response.headers["Location"]) == body
    with engine.connect() as connection:
        assert connection.scalar(select(run.c.state)) == "requested"


def test_requests_at_once_join_one_run(app: APIFlask):
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
        assert connection.scalar(select(run.c.allow_mass_retirement)) is True


def test_waiting_gives_the_finished_run(app: APIFlask, engine: Engine):
    """Given a client that waits, when the run is finished elsewhere, then it gets that run."""
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


def test_waiting_in_vain_gives_the_run_as_it_stands(client: FlaskClient):
    response = client.post("/data?wait=0.2")
    assert response.status_code == 202
    assert response.get_json()["state"] == "requested"


def test_too_many_waiting_clients_get_their_answer_at_once(app: APIFlask):
    """Given no place left to wait, when a client asks to, then it is not kept."""
    waiting = app.extensions["bucketline"].waiting
    while waiting.acquire(blocking=False):
        pass
    assert app.test_client().post("/data?wait=600").status_code == 202


@pytest.mark.parametrize("wait", ["-1", "601", "x", "nan", "inf", "1e9", "1e999", "e2", ""])
def test_senseless_waits_are_named(client: FlaskClient, wait: str):
    assert parameters_at_fault(client.post(f"/data?wait={wait}")) == {"wait"}
    assert get(client, "/runs") == {"runs": []}


# -- /runs


def test_runs_come_newest_first_in_pages(client: FlaskClient, engine: Engine):
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
    }


@pytest.mark.parametrize("run_id", ["0", "7", "9223372036854775807", "9" * 30, "-1", "x"])
def test_an_unknown_run_is_not_found(client: FlaskClient, run_id: str):
    expect_problem(client.get(f"/runs/{run_id}"), 404)
    expect_problem(client.get(f"/runs/{run_id}/problems"), 404)


def test_problems_of_a_run_come_in_pages_and_by_code(client: FlaskClient, engine: Engine):
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
                    key="1000.csv",
                    etag="abc",
                    line=line,
                    column="birthts",
                    code=code,
                    severity="error",
                    value="x",
                    note="Mend it.",
                )
            )
    first = client.get(f"/runs/{run_id}/problems?limit=2")
    found = first.get_json()["problems"]
    assert [row["code"] for row in found] == ["not-an-integer", "missing-cell"]
    assert {name: value for name, value in found[0].items() if name != "id"} == {
        "line": 2,
        "column": "birthts",
        "key": "1000.csv",
        "etag": "abc",
        "code": "not-an-integer",
        "severity": "error",
        "value": "x",
        "note": "Mend it.",
    }
    url = next_url(first)
    assert url is not None
    assert [row["line"] for row in get(client, url)["problems"]] == [None]
    by_code = get(client, f"/runs/{run_id}/problems?code=missing-cell")["problems"]
    assert [row["line"] for row in by_code] == [3]
    assert parameters_at_fault(client.get(f"/runs/{run_id}/problems?code=odd")) == {"code"}


# -- health and outages


def test_health_is_ok_when_everything_answers(client: FlaskClient, engine: Engine):
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
    assert "somebody" not in response.text


def test_health_is_down_without_the_database(without_database: FlaskClient):
    response = without_database.get("/health")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    body = response.get_json()
    assert (body["status"], body["object_store"]["status"]) == ("down", "ok")
    assert "hunter2" not in response.text


def test_the_api_recovers_when_its_connections_were_cut(client: FlaskClient, engine: Engine):
    put_users(engine, person("1"))
    get(client, "/data")
    terminate_others(engine)
    assert list(get(client, "/data")) == ["1"]


def test_missing_tables_are_a_503_that_says_so(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE users"))
    assert "migrate" in expect_problem(client.get("/data"), 503)["hint"]


def test_tables_without_a_version_are_an_older_schema(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE users, alembic_version"))
    body = expect_problem(client.get("/data"), 503)
    assert body["type"] == "urn:bucketline:problem:older-schema"
    assert "migrate" in body["hint"]


def test_a_fault_of_ours_is_a_500_without_secrets(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE users DROP COLUMN first_name"))
    response = client.get("/data")
    expect_problem(response, 500)
    assert "SELECT" not in response.text
    assert "psycopg2" not in response.text


def test_a_query_that_takes_too_long_is_stopped(app: APIFlask, engine: Engine):
    """Given a reader behind a lock, when its time is up, then it hears so instead of hanging."""
    api_engine = app.extensions["bucketline"].engine

    @event.listens_for(api_engine, "begin")
    def hurry(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
        connection.exec_driver_sql("SET LOCAL statement_timeout = 100")

    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        body = expect_problem(app.test_client().get("/data?limit=1"), 503)
    assert "limit" in body["hint"]


def test_a_long_answer_that_does_not_begin_in_time_is_stopped(
    client: FlaskClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("api.rows.streaming.STATEMENT_TIMEOUT_SECONDS", 0.2)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        body = expect_problem(client.get("/data"), 503)
        wait_until(lambda: not copies(engine))
    assert "limit" in body["hint"]


# -- errors and headers


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


def test_what_is_kept_is_private_and_asked_for_again(client: FlaskClient):
    assert client.get("/data").headers["Cache-Control"] == "private, no-cache"
    assert client.get("/runs").headers["Cache-Control"] == "no-store"


# -- description


def test_openapi_describes_every_route_and_no_other(client: FlaskClient):
    spec = get(client, "/openapi.json")
    assert spec["openapi"] == "3.1.0"
    described = {
        (path, method.upper()) for path, methods in spec["paths"].items() for method in methods
    }
    listed = {
        (route["path"], method)
        for route in get(client, "/")["routes"]
        for method in route["methods"]
    }
    assert listed - described == {("/openapi.json", "GET"), ("/docs", "GET")}
    assert described <= listed


def test_openapi_references_resolve(client: FlaskClient):
    spec = get(client, "/openapi.json")
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(spec)))
    assert references <= spec["components"]["schemas"].keys()


def test_openapi_describes_parameters_as_they_are_checked(client: FlaskClient):
    operation = get(client, "/openapi.json")["paths"]["/data"]["get"]
    by_name = {parameter["name"]: parameter for parameter in operation["parameters"]}
    assert by_name.keys() == {
        *("is_image_exists", "image", "min_age", "max_age"),
        *("limit", "after", "fields", "format"),
    }
    assert by_name["min_age"]["schema"] == {"type": "integer", "minimum": 0, "maximum": 150}
    assert all(parameter["description"] for parameter in by_name.values())


def test_every_operation_describes_its_errors_and_gives_an_example(client: FlaskClient):
    for methods in get(client, "/openapi.json")["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                for mimetype, content in response.get("content", {}).items():
                    assert content["example"], operation["operationId"]
                    is_problem = mimetype == "application/problem+json"
                    is_health = "Health" in content["schema"].get("$ref", "")
                    assert is_problem == (int(status) >= 400 and not is_health)
                assert bool(response.get("content")) == (status not in ("204", "304"))


def test_docs_page_asks_nobody_else(client: FlaskClient):
    with client.get("/docs") as response:
        page = response.text
    assert "//" not in page.replace("<!doctype html>", "")
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        with client.get(address) as response:
            assert response.status_code == 200, address
    with client.get("/docs/oauth2-redirect.html") as response:
        expect_problem(response, 404)


def test_every_route_is_documented_with_curl(client: FlaskClient):
    words = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
    for route in get(client, "/")["routes"]:
        for method in route["methods"]:
            assert f"{method} {route['path']}" in words
    assert words.count("curl") >= len(get(client, "/")["routes"])


# -- the server


def terminate_others(engine: Engine) -> int:
    """Cut every other connection to this database; return how many there were."""
    with engine.connect() as connection:
        return connection.execute(
            text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalar_one()


def test_server_answers_and_ends_cleanly_on_sigterm(settings: Settings):
    with serving(settings) as (host, port, process):
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.request("GET", "/data")
        assert connection.getresponse().read() == b"{}\n"
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_server_refuses_in_problem_documents_what_the_app_never_sees(settings: Settings):
    with serving(settings) as (host, port, _):
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.putrequest("POST", "/data")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == 413
        assert response.headers["Content-Type"] == "application/problem+json"
        assert json.loads(response.read())["status"] == 413
        connection.close()


def test_a_failure_in_mid_stream_breaks_the_connection(settings: Settings, engine: Engine):
    put_many(engine, 150_000)
    with serving(settings) as (host, port, _):
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("GET", "/data")
        response = connection.getresponse()
        assert response.status == 200
        assert response.read(1) == b"{"
        assert terminate_others(engine) > 0
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        connection.close()


def test_next_free_port_is_taken():
    with listen("127.0.0.1", 20_000) as first, listen("127.0.0.1", 20_000) as second:
        assert second.getsockname()[1] > first.getsockname()[1]


def test_an_address_that_is_not_ours_is_a_wrong_setting():
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 20_000)
