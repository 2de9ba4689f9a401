"""Statements without a result are sent with the next one, as if each had been sent alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from etl.db import events
from etl.db.bundling import ALONE
from etl.db.engine import connect, driver
from etl.db.events import BucketEvent
from etl.db.round_trips import Question, ask, later
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.conftest import TestBucket
from tests.round_trips import CountingProxy, counting_round_trips


@pytest.fixture
def counted(settings: Settings) -> Iterator[CountingProxy]:
    with counting_round_trips(settings) as proxy:
        yield proxy


@pytest.fixture
def bundling(counted: CountingProxy) -> Iterator[Connection]:
    """A connection with an empty table `number`."""
    engine = connect(counted.settings)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE number (value integer PRIMARY KEY)"))
        connection.commit()
        yield connection
    engine.dispose()


def values(engine: Engine) -> list[int]:
    """What others see."""
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT value FROM number ORDER BY 1")))


# -- how many


def pending(bucket: TestBucket, mark: str) -> BucketEvent:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return BucketEvent(
        bucket.name, "1.csv", mark, "s3:ObjectCreated:Put", mark, at, "1", 9, None, {"mark": mark}
    )


def test_event_run_makes_ten_round_trips(
    bucket: TestBucket, engine: Engine, counted: CountingProxy
):
    manager = DataManager(counted.settings)
    bucket.user("1.csv", "Ann")
    manager.run(Trigger.CLI)
    taken = []
    for name in ("Bob", "Cid", "Dan"):
        bucket.user("1.csv", name)
        with engine.begin() as connection:
            events.store(connection, [pending(bucket, name)], source_bucket=bucket.name)
        before = counted.round_trips
        report = manager.run_events()
        assert report is not None
        assert report.counts.users_updated == 1
        taken.append(counted.round_trips - before)
    assert min(taken) == 10  # a run that takes long records its progress, too


def test_transaction_with_savepoints_takes_a_round_trip_per_result(
    bundling: Connection, counted: CountingProxy
):
    before = counted.round_trips
    with bundling.begin_nested():
        later(bundling, "INSERT INTO number VALUES (:value)", {"value": 1})
        assert bundling.scalar(text("SELECT count(*) FROM number")) == 1
    bundling.execute(text("SET LOCAL work_mem = '1MB'"))
    later(bundling, "INSERT INTO number VALUES (2)")
    bundling.commit()
    assert counted.round_trips - before == 2


def test_transaction_without_a_statement_takes_none(bundling: Connection, counted: CountingProxy):
    before = counted.round_trips
    with bundling.begin_nested():
        pass
    bundling.commit()
    bundling.rollback()
    assert counted.round_trips == before


def test_statement_alone_leaves_no_transaction_open(
    bundling: Connection, counted: CountingProxy, engine: Engine
):
    before = counted.round_trips
    later(bundling, "INSERT INTO number VALUES (1)")
    found = ask(bundling, {"one": Question("SELECT value FROM number", {})}, is_alone=True)
    assert counted.round_trips - before == 1
    assert found == {"one": [{"value": 1}]}
    assert values(engine) == [1]
    idle = text("SELECT state FROM pg_stat_activity WHERE pid = :pid")
    with engine.connect() as connection:
        pid = driver(bundling).info.backend_pid
        assert connection.scalar(idle, {"pid": pid}) == "idle"


# -- the same as sent one by one


def insert(connection: Connection, value: int) -> None:
    connection.execute(text("INSERT INTO number VALUES (:value)"), {"value": value})


def insert_later(connection: Connection, value: int) -> None:
    later(connection, "INSERT INTO number VALUES (:value)", {"value": value})


def insert_many(connection: Connection, value: int) -> None:
    rows = [{"value": value}, {"value": value + 100}]
    connection.execute(text("INSERT INTO number VALUES (:value)"), rows)


def copy(connection: Connection, value: int) -> None:
    with driver(connection).cursor() as cursor:
        cursor.copy_expert("COPY number FROM STDIN", io.StringIO(f"{value}\n"))


def look(connection: Connection, value: int) -> None:
    connection.execute(text("SELECT :value"), {"value": value})


def set_locally(connection: Connection, value: int) -> None:
    connection.execute(text(f"SET LOCAL work_mem = '{value + 1}MB'"))


STEPS: tuple[Callable[[Connection, int], None], ...] = (
    insert,
    insert_later,
    insert_many,
    copy,
    look,
    set_locally,
)
steps = st.tuples(st.sampled_from(STEPS), st.integers(0, 5))
nested = st.recursive(
    st.lists(steps, max_size=3),
    lambda inner: st.lists(st.one_of(steps, st.tuples(inner, st.booleans())), max_size=4),
    max_leaves=8,
)


def play(connection: Connection, script: list[tuple[object, object]]) -> None:
    """Make the steps; those of an inner list under a savepoint, which a failure rolls back."""
    for step, value in script:
        if isinstance(step, list):
            with suppress(ArithmeticError, DBAPIError, psycopg2.Error), connection.begin_nested():
                play(connection, step)
                look(connection, 0)  # the inserts that were to follow are checked here
                if not value:
                    raise ArithmeticError
        else:
            step(connection, value)  # type: ignore[operator]


@given(script=nested, is_committed=st.booleans())
def test_transactions_end_as_with_the_driver_alone(
    bundling: Connection,
    engine: Engine,
    script: list[tuple[object, object]],
    is_committed: bool,  # noqa: FBT001 - given by name
):
    ended = []
    for connection in (bundling, engine.connect()):
        connection.execute(text("TRUNCATE number"))
        connection.commit()
        transaction = connection.begin()
        try:
            play(connection, script)
            transaction.commit() if is_committed else transaction.rollback()
            outcome = "ended"
        except (DBAPIError, psycopg2.Error):
            transaction.rollback()
            outcome = "failed"
        ended.append((outcome, values(engine)))
    connection.close()
    assert ended[0] == ended[1]


# -- errors


def test_error_of_a_deferred_statement_is_raised_by_the_next(bundling: Connection):
    later(bundling, "INSERT INTO number VALUES (1), (1)")
    with pytest.raises(IntegrityError, match="number_pkey"):
        bundling.execute(text("SELECT 1"))


def test_error_of_a_deferred_statement_is_raised_by_the_commit(
    bundling: Connection, engine: Engine
):
    later(bundling, "INSERT INTO number VALUES (1), (1)")
    with pytest.raises(IntegrityError, match="number_pkey"):
        bundling.commit()
    bundling.rollback()
    insert(bundling, 2)
    bundling.commit()
    assert values(engine) == [2]


def test_rollback_forgets_what_was_to_be_sent(bundling: Connection, engine: Engine):
    later(bundling, "INSERT INTO number VALUES (1)")
    bundling.rollback()
    later(bundling, "INSERT INTO number VALUES (2)")
    bundling.commit()
    assert values(engine) == [2]


def test_rollback_to_a_savepoint_forgets_only_what_followed_it(
    bundling: Connection, engine: Engine
):
    later(bundling, "INSERT INTO number VALUES (1)")
    savepoint = bundling.begin_nested()
    later(bundling, "INSERT INTO number VALUES (2)")
    savepoint.rollback()
    later(bundling, "INSERT INTO number VALUES (3)")
    bundling.commit()
    assert values(engine) == [1, 3]


# -- transactions of other kinds


def test_isolation_level_is_that_of_the_transaction(counted: CountingProxy):
    engine = connect(counted.settings)
    for level in ("REPEATABLE READ", "SERIALIZABLE", "READ COMMITTED"):
        with engine.connect().execution_options(isolation_level=level) as connection:
            assert connection.scalar(text("SHOW transaction_isolation")) == level.lower()
    engine.dispose()


def test_each_statement_is_committed_with_autocommit(bundling: Connection, engine: Engine):
    bundling.execution_options(isolation_level="AUTOCOMMIT")
    insert(bundling, 1)
    assert values(engine) == [1]
    insert_later(bundling, 2)
    assert values(engine) == [1, 2]


def test_server_sends_the_rows_of_a_cursor_in_parts(bundling: Connection, counted: CountingProxy):
    with driver(bundling).cursor(name="numbers") as cursor:
        cursor.execute("SELECT * FROM generate_series(1, %s)", (5_000,))
        before = counted.round_trips
        assert cursor.fetchone() == (1,)
        assert cursor.fetchmany(2) == [(2,), (3,)]
        assert counted.round_trips - before == 2
        assert sum(number for (number,) in cursor) == sum(range(4, 5_001))
        assert cursor.fetchall() == []
    streamed = text("SELECT * FROM generate_series(1, 5000)").execution_options(yield_per=1_000)
    assert sum(bundling.scalars(streamed)) == sum(range(5_001))


def test_statement_alone_within_a_transaction_is_part_of_it(bundling: Connection, engine: Engine):
    insert(bundling, 1)
    bundling.execute(text(f"{ALONE}INSERT INTO number VALUES (2)"))
    bundling.rollback()
    assert values(engine) == []
