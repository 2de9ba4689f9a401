"""After a run, the tables depend only on the contents of the bucket.

Random histories of puts, replacements, removals, renames and runs, on a real database. After
each run the tables must equal those of a single run over the same bucket in a fresh database,
the independent verifier must find no difference either, and each tally must equal a count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from etl.db.engine import connect
from etl.model.dataset import USERS
from etl.model.values import Trigger
from etl.sync.manager import DataManager
from etl.sync.merge import THRESHOLDS, Thresholds
from etl.verify import verify
from tests.conftest import FreshDatabases, TestBucket
from tests.sample_datasets import ORDERS, READINGS
from tests.tallies import wrong_tallies

DATASETS = (ORDERS, READINGS, USERS)

# Without run ids, timestamps and retired rows, which depend on the history.
STATE = {
    "users": "SELECT user_id, first_name, last_name, birthts, birthdate, img_path, _extra,"
    " _source_key, _source_line FROM users ORDER BY user_id",
    "users_shadowed": "SELECT _source_key, _source_line, user_id, first_name, last_name, birthts,"
    " _extra FROM users_shadowed ORDER BY 1, 2",
    "orders": "SELECT order_id, amount, rank, updated, _extra, _source_key, _source_line"
    " FROM orders ORDER BY order_id",
    "orders_shadowed": "SELECT order_id, amount, rank, updated, _extra, _source_key, _source_line"
    " FROM orders_shadowed ORDER BY _source_key, _source_line",
    "readings": 'SELECT sensor, celsius, site, _extra, _source_key, _source_line FROM "Readings"'
    " ORDER BY _source_key, _source_line",
    "source_object": "SELECT bucket, key, dataset, kind, attachment, attachment_id, etag, size,"
    " last_modified, state, rows_read, rows_rejected, reread_on, reading_hash"
    " FROM source_object ORDER BY bucket, key",
    "problem": 'SELECT bucket, key, problem.dataset, problem.etag, line, "column", code, severity,'
    " value, note FROM problem JOIN source_object USING (bucket, key, run_id)"
    " ORDER BY 1, 2, 5, 6, 7",
}

NFC, NFD, MIXED = "\u1ebf", "e\u0302\u0301", "\xea\u0301"
CSVS = ["1.csv", "2.csv", "a/1.csv", "b/2.csv", "many.csv", "0/many.csv"]
KEYS = st.sampled_from([*CSVS, f"{NFD}.csv", f"{MIXED}.csv"])
IMAGES = st.sampled_from(
    ["1.png", "2.jpg", "a/1.PNG", "3.gif", "._1.png", f"{NFC}.png", f"{NFD}.gif"]
)
NAMES = st.sampled_from(["Ann", "Bob", " Zoë ", '"Q, ""x"""', "", "two\twords"])
BIRTHS = st.sampled_from(
    ["0", "-1", "631152000000", "soon", "99999999999999", "", "612302400", "1970-01-01"]
)
ROWS = st.lists(st.tuples(st.sampled_from(["1", "2", "3", NFC]), NAMES, BIRTHS), max_size=4)


def plain(rows: list[tuple[str, str, str]]) -> str:
    return "first_name, last_name, birthts\n" + "".join(f"{n}, Lee, {b}\n" for _, n, b in rows)


def with_ids(rows: list[tuple[str, str, str]]) -> str:
    return "birthts;user_id;Last_Name;first_name;note\r\n" + "".join(
        f"{b};{user};Lee;{n};x\r\n" for user, n, b in rows
    )


CONTENTS = st.one_of(
    ROWS.map(plain),
    ROWS.map(with_ids),
    st.sampled_from(
        ["", "first_name,last_name\nA,B\n", 'first_name,last_name,birthts\n"A,B,1\nC,D,2\n']
    ),
)
ORDER_KEYS = st.sampled_from(["orders/1.csv", "orders/a/2.csv", "orders/3.csv"])
READING_KEYS = st.sampled_from(["sensors/Oslo/1.csv", "sensors/rome/2.csv", "sensors/3.csv"])
FEW = st.sampled_from(["", "1", "2", "1.50", "x"])
ORDER_ROWS = st.lists(st.tuples(st.sampled_from("ABC"), FEW, FEW, FEW), max_size=4)
READING_ROWS = st.lists(st.tuples(st.sampled_from(["t1", "t2", ""]), FEW), max_size=4)


def csv_of(header: str) -> Callable[[list[tuple[str, ...]]], str]:
    return lambda rows: "\n".join([header, *map(",".join, rows), ""])


ORDERS_CSV = ORDER_ROWS.map(csv_of("order_id,amount,rank,updated"))
READINGS_CSV = READING_ROWS.map(csv_of("sensor,celsius"))
STEPS = st.one_of(
    st.tuples(st.just("put"), ORDER_KEYS, ORDERS_CSV),
    st.tuples(st.just("put"), READING_KEYS, READINGS_CSV),
    st.tuples(st.just("remove"), st.one_of(ORDER_KEYS, READING_KEYS), st.just("")),
    st.tuples(st.just("rename"), READING_KEYS, READING_KEYS),
    st.tuples(st.just("put"), KEYS, CONTENTS),
    st.tuples(st.just("put"), KEYS, ROWS.filter(bool).map(plain)),
    st.tuples(st.just("image"), IMAGES, st.sampled_from(["x", "y"])),
    st.tuples(st.just("remove"), st.one_of(KEYS, IMAGES), st.just("")),
    st.tuples(st.just("rename"), KEYS, KEYS),
    st.tuples(st.just("run"), st.just(""), st.just("")),
)


def apply(bucket: TestBucket, step: tuple[str, str, str]) -> None:
    what, key, detail = step
    if what in ("put", "image"):
        bucket.put(key, detail)
    elif what == "remove":
        bucket.remove(key)
    elif what == "rename" and key != detail and bucket.has(key):
        bucket.put(detail, bucket.get(key))
        bucket.remove(key)


def state(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(text(query))]
            for name, query in STATE.items()
        }


def check_history(
    steps: list[tuple[str, str, str]],
    fresh_database: FreshDatabases,
    thresholds: Thresholds = THRESHOLDS,
) -> None:
    settings = fresh_database()
    bucket = TestBucket(settings)
    bucket.clear()
    manager, engine = (
        DataManager(settings, thresholds=thresholds, datasets=DATASETS),
        connect(settings),
    )
    try:
        for step in [*steps, ("run", "", "")]:
            if step[0] != "run":
                apply(bucket, step)
                continue
            manager.run(Trigger.CLI)
            assert verify(settings, engine, datasets=DATASETS) == []
            assert wrong_tallies(engine) == {}
            assert state(engine) == state_of_one_run(fresh_database, thresholds)
    finally:
        engine.dispose()
        fresh_database.drop(settings)


def state_of_one_run(
    fresh_database: FreshDatabases, thresholds: Thresholds
) -> dict[str, list[tuple[Any, ...]]]:
    settings = fresh_database()
    DataManager(settings, thresholds=thresholds, datasets=DATASETS).run(Trigger.CLI)
    engine = connect(settings)
    try:
        return state(engine)
    finally:
        engine.dispose()
        fresh_database.drop(settings)


@given(steps=st.lists(STEPS, min_size=3, max_size=14))
@hypothesis_settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_incremental_runs_equal_a_fresh_run(
    steps: list[tuple[str, str, str]], fresh_database: FreshDatabases
):
    check_history(steps, fresh_database)


@given(steps=st.lists(STEPS, min_size=3, max_size=8))
@hypothesis_settings(max_examples=5, suppress_health_check=list(HealthCheck))
def test_first_load_of_many_users_equals_a_fresh_run(
    steps: list[tuple[str, str, str]], fresh_database: FreshDatabases
):
    check_history(steps, fresh_database, Thresholds(small=0, many=1))


@given(steps=st.lists(STEPS, min_size=3, max_size=14))
@hypothesis_settings(max_examples=5, suppress_health_check=list(HealthCheck))
def test_bulk_merge_equals_a_fresh_run(
    steps: list[tuple[str, str, str]], fresh_database: FreshDatabases
):
    check_history(steps, fresh_database, Thresholds(small=0))


@pytest.mark.usefixtures("compared")
@given(steps=st.lists(STEPS, min_size=3, max_size=14))
@hypothesis_settings(max_examples=5, suppress_health_check=list(HealthCheck))
def test_comparison_with_stored_rows_equals_a_fresh_run(
    steps: list[tuple[str, str, str]], fresh_database: FreshDatabases
):
    check_history(steps, fresh_database, Thresholds(small=0))


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as its examples take
@pytest.mark.usefixtures("compared")
@pytest.mark.parametrize("thresholds", [THRESHOLDS, Thresholds(small=0)])
@given(steps=st.lists(STEPS, min_size=3, max_size=40))
@hypothesis_settings(max_examples=400, suppress_health_check=list(HealthCheck))
def test_long_histories_with_comparison_equal_a_fresh_run(
    thresholds: Thresholds,
    steps: list[tuple[str, str, str]],
    fresh_database: FreshDatabases,
):
    check_history(steps, fresh_database, thresholds)


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as its examples take
@pytest.mark.parametrize(
    "thresholds", [THRESHOLDS, Thresholds(small=0, many=1), Thresholds(small=0)]
)
@given(steps=st.lists(STEPS, min_size=3, max_size=40))
@hypothesis_settings(max_examples=400, suppress_health_check=list(HealthCheck))
def test_long_histories_equal_a_fresh_run(
    thresholds: Thresholds,
    steps: list[tuple[str, str, str]],
    fresh_database: FreshDatabases,
):
    check_history(steps, fresh_database, thresholds)
