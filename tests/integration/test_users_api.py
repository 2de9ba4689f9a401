"""GET /data and /data/<user_id> over rows that the tests insert with SQL."""

from __future__ import annotations

import itertools
from datetime import date
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, text

from api import create_app
from api.rows.columns import age_in_sql
from api.rows.filters import Filters, age_on, conditions
from etl.db.tables import source_object, users
from tests.api_client import AWKWARD_IDS, MANY, expect_problem, get, next_url, parameters_at_fault
from tests.user_rows import NOW, birthts, generate_users, person, put_users, retire_users

if TYPE_CHECKING:
    from apiflask import APIFlask
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings

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


def test_users_are_sorted_by_the_bytes_of_their_ids(client: FlaskClient, engine: Engine):
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
    client: FlaskClient, settings: Settings, engine: Engine, kind: str
):
    named_users = zip(AWKWARD_IDS, itertools.cycle(AWKWARD_NAMES), strict=False)
    put_users(engine, *(person(name, first_name=other) for name, other in named_users))
    new = client.get(f"/data?format={kind}").data
    app = create_app(settings, json_scalar_version=10**9)
    assert app.test_client().get(f"/data?format={kind}").data == new
    app.extensions["bucketline"].engine.dispose()
    assert len(new) > len(AWKWARD_IDS)


def test_retired_users_are_not_served(client: FlaskClient, engine: Engine):
    put_users(engine, person("here"))
    retire_users(engine, person("gone"))
    assert list(get(client, "/data")) == ["here"]
    assert get(client, "/stats")["count"] == 1


@pytest.mark.parametrize("text_", ["true", "TRUE", "True", "tRuE"])
def test_image_filter_accepts_any_case(client: FlaskClient, engine: Engine, text_: str):
    put_users(engine, person("with", img_path="b/with.png"), person("without"))
    assert list(get(client, f"/data?is_image_exists={text_}")) == ["with"]


def test_image_filter_false_returns_users_without_image(client: FlaskClient, engine: Engine):
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
    asked_filters = Filters(min_age=low, max_age=high)
    with engine.connect() as connection:
        connection.execute(insert(users), [person(str(n), day) for n, day in enumerate(birthdates)])
        rows = connection.execute(
            select(
                users.c.birthdate,
                age_in_sql(users.c.birthdate, today),
                text("age(:today, birthdate)"),
            ),
            {"today": today},
        ).all()
        found = connection.execute(
            select(users.c.birthdate).where(*conditions(asked_filters, today))
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


def test_after_without_limit_returns_all_remaining_users(client: FlaskClient, engine: Engine):
    put_users(engine, person("1"), person("2"), person("3"))
    assert list(get(client, "/data?after=1")) == ["2", "3"]


def test_many_chunks_make_one_json_object(client: FlaskClient, engine: Engine):
    generate_users(engine, MANY)
    response = client.get("/data")
    assert "Content-Length" not in response.headers
    assert len(response.get_json()) == MANY


def test_short_response_has_a_content_length(client: FlaskClient, engine: Engine):
    generate_users(engine, 100)
    response = client.get("/data")
    assert int(response.headers["Content-Length"]) == len(response.data)


def test_head_answers_without_a_body_and_keeps_no_connection(
    app: APIFlask, client: FlaskClient, engine: Engine
):
    generate_users(engine, MANY)
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
def test_invalid_filters_are_named(client: FlaskClient, query: str, named: set[str]):
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
def test_number_out_of_bounds_is_rejected_with_its_bound(
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
def test_invalid_page_parameters_are_named(client: FlaskClient, query: str):
    assert parameters_at_fault(client.get(f"/data?{query}")) == {query.partition("=")[0]}


@pytest.mark.parametrize("query", [b"after=\xff", b"after=%ff&after=x", b"%ff=x", b"\xff=x"])
def test_query_that_is_not_utf8_is_rejected(client: FlaskClient, query: bytes):
    response = client.get("/data", environ_overrides={"QUERY_STRING": query.decode("latin-1")})
    assert response.status_code == 422
    (fault,) = response.get_json()["errors"]
    assert fault["parameter"] in ("after", "?")
    assert "is not UTF-8" in fault["message"]


def test_utf8_query_is_accepted_percent_encoded_or_raw(client: FlaskClient, engine: Engine):
    put_users(engine, person("a"), person("ü"), person("ÿ"))
    for query in ("after=%C3%BC", "after=ü".encode().decode("latin-1")):
        response = client.get("/data", environ_overrides={"QUERY_STRING": query})
        assert list(response.get_json()) == ["ÿ"]


@pytest.mark.parametrize("user_id", AWKWARD_IDS)
def test_user_with_any_id_is_returned(client: FlaskClient, engine: Engine, user_id: str):
    put_users(engine, *(person(name) for name in AWKWARD_IDS))
    assert get(client, f"/data/{quote(user_id, safe='')}")["user_id"] == user_id


def test_user_shows_age_and_lineage(client: FlaskClient, engine: Engine, settings: Settings):
    put_users(engine, person("1000", _source_key="a/1000.csv", _extra={"city": "Oslo"}, _run_id=7))
    with engine.begin() as connection:
        connection.execute(
            insert(source_object).values(
                bucket=settings.source_bucket,
                key="a/1000.csv",
                kind="data",
                dataset="users",
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


def test_retired_user_is_a_404_of_its_own_type(client: FlaskClient, engine: Engine):
    retire_users(engine, person("1"))
    body = expect_problem(client.get("/data/1"), 404)
    assert body["type"].endswith("retired-user")
    assert "2026-06-15T12:00:00Z" in body["detail"]


def test_trailing_slash_counts_only_within_an_id(client: FlaskClient, engine: Engine):
    put_users(engine, person("1"), person("a/"))
    assert client.get("/data/1/").status_code == 404
    assert get(client, "/data/a%2F")["user_id"] == "a/"
    assert get(client, "/data/") == get(client, "/data")
