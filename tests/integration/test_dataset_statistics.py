"""GET /datasets/<dataset>/stats: computed once per revision, whichever process is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text

from api import create_app
from api.state.services import MAX_WAITING_REQUESTS, Timeouts, services_of
from etl.db import statistics
from etl.model.dataset import Dataset, Field, FieldType
from etl.settings import Settings
from tests.api_client import TODAY, expect_problem, get
from tests.dataset_rows import install, put_rows
from tests.sample_datasets import ORDERS, REQUIRED

URL = "/datasets/orders/stats"
MadeClient = Callable[[Timeouts], FlaskClient]


@pytest.fixture
def make(settings: Settings) -> Iterator[MadeClient]:
    """A function that creates clients of other API processes with the same database."""
    made = []

    def client(timeouts: Timeouts) -> FlaskClient:
        made.append(create_app(settings, today=lambda: TODAY, timeouts=timeouts))
        return made[-1].test_client()

    yield client
    for app in made:
        services_of(app).engine.dispose()


@contextmanager
def aggregates(client: FlaskClient) -> Iterator[list[str]]:
    """The statements of a client's app that compute distinct values."""
    found: list[str] = []
    engine = services_of(client.application).engine

    def note(*executed: object) -> None:
        if "count(DISTINCT" in str(executed[2]):
            found.append(str(executed[2]))

    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def test_other_processes_use_what_one_has_computed(
    client: FlaskClient, make: MadeClient, engine: Engine
):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "A", "amount": "1234567890.12"}, {"order_id": "B"})
    with aggregates(client) as computed:
        first = client.get(URL)
        assert len(computed) == 4
        assert client.get(URL).text == first.text
        assert len(computed) == 4
    other = make(Timeouts())
    with aggregates(other) as computed:
        second = other.get(URL)
        assert computed == []
    assert (second.text, second.headers["ETag"]) == (first.text, first.headers["ETag"])
    put_rows(engine, ORDERS, {"order_id": "C"})
    with aggregates(other) as computed:
        assert get(other, URL)["count"] == 3
        assert len(computed) == 4


def test_numbers_are_the_same_when_they_were_saved(client: FlaskClient, engine: Engine):
    floats = Dataset(
        name="orders",
        table="orders",
        include=("orders/*.csv",),
        primary_key=("id",),
        fields=(
            Field(name="id", constraints=REQUIRED),
            Field(name="large", type=FieldType.NUMBER, sql="double precision"),
            Field(name="exact", type=FieldType.NUMBER),
        ),
    )
    install(engine, floats)
    put_rows(
        engine,
        floats,
        {"id": "a", "large": 1e300, "exact": "12345678901234567890.123"},
        {"id": "b", "large": "NaN", "exact": "5.0"},
    )
    first = client.get(URL).text
    assert client.get(URL).text == first
    assert "1e+300" in first
    assert '"12345678901234567890.123"' in first


def test_while_another_process_computes_the_others_wait(
    make: MadeClient, client: FlaskClient, engine: Engine
):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "A"})
    impatient = make(Timeouts(statistics=0))
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        statistics.computing(connection, "orders", when=True) as is_ours,
    ):
        assert is_ours
        with aggregates(impatient) as computed:
            busy = impatient.get(URL)
            assert computed == []
        assert "being computed" in expect_problem(busy, 503)["detail"]
        assert busy.headers["Retry-After"]
    assert get(client, URL)["count"] == 1
    assert get(impatient, URL)["count"] == 1


def test_only_a_few_requests_wait(client: FlaskClient, engine: Engine):
    install(engine, ORDERS)
    waiting = services_of(client.application).waiting
    for _ in range(MAX_WAITING_REQUESTS):
        assert waiting.acquire(blocking=False)
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        statistics.computing(connection, "orders", when=True),
    ):
        expect_problem(client.get(URL), 503)


def test_an_interrupted_computation_goes_on_where_it_was(make: MadeClient, engine: Engine):
    """The third column takes longer than the limit, at first."""
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "A", "rank": 7})
    client = make(Timeouts(statement=1))
    with engine.begin() as connection:
        for statement in (
            "ALTER TABLE orders RENAME TO orders_table",
            (
                "CREATE FUNCTION public.slow(value bigint) RETURNS bigint LANGUAGE plpgsql STABLE"
                " AS 'BEGIN PERFORM pg_sleep(60); RETURN value; END'"
            ),
            (
                "CREATE VIEW public.orders AS SELECT order_id, amount, updated, slow(rank) AS rank"
                " FROM orders_table"
            ),
        ):
            connection.exec_driver_sql(statement)
    slow = expect_problem(client.get(URL), 503)
    assert "'rank' took longer than 1 s" in slow["detail"]
    with engine.begin() as connection:
        connection.execute(text("DROP VIEW public.orders"))
        connection.execute(text("ALTER TABLE orders_table RENAME TO orders"))
    patient = make(Timeouts())
    with aggregates(patient) as computed:
        assert get(patient, URL)["columns"]["rank"]["max"] == 7
        assert len(computed) == 2
