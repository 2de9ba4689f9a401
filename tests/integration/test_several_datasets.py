"""Runs over several datasets: routing, identity, removal, holds and failures of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event, text

from etl.db import runs
from etl.model.dataset import USERS, Dataset, OnRemoved
from etl.model.errors import DatasetsFailed, ObjectStoreUnavailable
from etl.model.values import DatasetCounts, RunState, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.listing import ListingPage
from etl.sync.manager import DataManager
from etl.sync.merge import Thresholds
from tests.conftest import TestBucket, minio_client
from tests.integration.conftest import Query
from tests.sample_datasets import ORDERS, PARTS, READINGS
from tests.stores import PRECISE_TIMES

ALL = (ORDERS, READINGS, PARTS, USERS)


@pytest.fixture
def several(settings: Settings) -> DataManager:
    return DataManager(settings, datasets=ALL)


def orders(*rows: str) -> str:
    return "order_id,amount,rank,updated\n" + "".join(f"{row}\n" for row in rows)


def readings(*rows: str) -> str:
    return "sensor,celsius\n" + "".join(f"{row}\n" for row in rows)


def counts(manager: DataManager, name: str) -> DatasetCounts:
    return manager.run(Trigger.CLI).dataset_counts[name]


def test_each_object_goes_to_its_dataset(bucket: TestBucket, several: DataManager, query: Query):
    bucket.put("orders/1.csv", orders("A,1.50,1,1"))
    bucket.put("sensors/Oslo/1.csv", readings("t1,20.5", "t1,20.5"))
    bucket.put("parts/x/1.csv", "number,drawing,made\n7,D1,0\n")
    bucket.put("parts/photos/7.png", "x")
    bucket.put("parts/plans/d1.png", "x")
    bucket.put("parts/plans/D1.jpg", "x")
    bucket.user("1.csv")
    report = several.run(Trigger.CLI)
    assert query("SELECT order_id, amount::text, rank, updated FROM orders") == [
        ("A", "1.50", 1, 1)
    ]
    assert query('SELECT site, sensor, celsius, _source_line FROM "Readings" ORDER BY 4') == [
        ("Oslo", "t1", 20.5, 2),
        ("Oslo", "t1", 20.5, 3),
    ]
    photo, plan = (f"{bucket.name}/parts/{name}" for name in ("photos/7.png", "plans/D1.jpg"))
    assert query("SELECT plant, number, made_on::text, photo, plan FROM parts") == [
        ("x", 7, "1970-01-01", photo, plan)
    ]
    assert query("SELECT user_id FROM users") == [("1",)]
    assert report.counts.rows_read == report.counts.rows_loaded == 5
    assert report.counts.users_live == 1
    assert {name: one.live for name, one in report.dataset_counts.items()} == {
        "orders": 1,
        "readings": 2,
        "parts": 1,
        "users": 1,
    }
    assert report.dataset_counts["parts"].attached == 2
    again = several.run(Trigger.CLI)
    assert again.counts.objects_changed == 0
    assert again.dataset_counts["parts"].attached == 2


@pytest.mark.store(PRECISE_TIMES)
@pytest.mark.parametrize("small", [0, 500], ids=["bulk", "small"])
def test_greatest_preferred_value_wins(
    bucket: TestBucket, settings: Settings, query: Query, small: int
):
    """Nulls come last; then the newest object wins."""
    manager = DataManager(settings, datasets=ALL, thresholds=Thresholds(small=small))
    bucket.put("orders/1.csv", orders("A,1,1,5", "B,1,1,", "C,1,1,1"))
    manager.run(Trigger.CLI)
    bucket.put("orders/2.csv", orders("A,2,2,4", "B,2,2,1", "C,2,2,1"))
    found = counts(manager, "orders")
    assert (found.rows_loaded, found.rows_shadowed, found.updated) == (2, 1, 2)
    assert query("SELECT order_id, rank FROM orders ORDER BY 1") == [("A", 1), ("B", 2), ("C", 2)]
    bucket.remove("orders/2.csv")
    manager.run(Trigger.CLI)
    assert query("SELECT order_id, rank FROM orders ORDER BY 1") == [("A", 1), ("B", 1), ("C", 1)]
    assert query("SELECT count(*) FROM orders_shadowed") == [(0,)]


@pytest.mark.parametrize("small", [0, 500], ids=["bulk", "small"])
def test_changed_object_without_key_replaces_exactly_its_rows(
    bucket: TestBucket, settings: Settings, query: Query, small: int
):
    manager = DataManager(settings, datasets=ALL, thresholds=Thresholds(small=small))
    bucket.put("sensors/a/1.csv", readings("t1,1", "t2,2", "t3,3"))
    bucket.put("sensors/b/1.csv", readings("t1,1"))
    manager.run(Trigger.CLI)
    before = query('SELECT _run_id, _updated_at FROM "Readings" ORDER BY _source_key, _source_line')
    bucket.put("sensors/a/1.csv", readings("t1,1", "t2,5"))
    found = counts(manager, "readings")
    assert (found.rows_unchanged, found.rows_loaded, found.updated, found.retired) == (1, 1, 1, 1)
    after = query('SELECT _run_id, _updated_at FROM "Readings" ORDER BY _source_key, _source_line')
    assert [after[0], after[2]] == [before[0], before[3]]
    assert query('SELECT sensor, celsius FROM "Readings_retired"') == [("t3", 3.0)]


def test_deleted_rows_are_not_kept(bucket: TestBucket, settings: Settings, query: Query):
    deleting = replace(ORDERS, on_removed=OnRemoved.DELETE)
    manager = DataManager(settings, datasets=(deleting, USERS))
    bucket.put("orders/1.csv", orders("A,1,1,1"))
    manager.run(Trigger.CLI)
    bucket.remove("orders/1.csv")
    assert counts(manager, "orders").retired == 1
    assert query("SELECT count(*) FROM orders") == query("SELECT count(*) FROM orders_retired")


def test_paused_dataset_stays_as_it_is(bucket: TestBucket, settings: Settings, query: Query):
    bucket.put("orders/1.csv", orders("A,1,1,1"))
    DataManager(settings, datasets=ALL).run(Trigger.CLI)
    bucket.remove("orders/1.csv")
    bucket.put("orders/2.csv", orders("B,1,1,1"))
    paused = DataManager(settings, datasets=(replace(ORDERS, is_paused=True), *ALL[1:]))
    assert counts(paused, "orders").live == 1
    assert query("SELECT order_id FROM orders") == [("A",)]
    resumed = DataManager(settings, datasets=ALL)
    assert counts(resumed, "orders").retired == 1
    assert query("SELECT order_id FROM orders") == [("B",)]


def test_objects_follow_a_changed_declaration(bucket: TestBucket, settings: Settings, query: Query):
    """They leave the table of one dataset and enter that of the other."""
    other = replace(ORDERS, name="refunds", table="refunds", include=("orders/back/**/*.csv",))
    bucket.put("orders/1.csv", orders("A,1,1,1"))
    bucket.put("orders/back/2.csv", orders("B,1,1,1"))
    DataManager(settings, datasets=(ORDERS, USERS)).run(Trigger.CLI)
    manager = DataManager(settings, datasets=(other, ORDERS, USERS))
    manager.run(Trigger.CLI)
    assert query("SELECT order_id FROM orders") == [("A",)]
    assert query("SELECT order_id FROM orders_retired") == [("B",)]
    assert query("SELECT order_id FROM refunds") == [("B",)]
    assert manager.run(Trigger.CLI).counts.objects_changed == 0
    back = DataManager(settings, datasets=(ORDERS, USERS))
    back.run(Trigger.CLI)
    assert query("SELECT order_id FROM orders ORDER BY 1") == [("A",), ("B",)]
    assert query("SELECT count(*) FROM orders_retired") == [(0,)]
    assert back.run(Trigger.CLI).counts.objects_changed == 0


def test_objects_that_no_dataset_includes_any_more_leave(
    bucket: TestBucket, settings: Settings, query: Query
):
    bucket.put("orders/1.csv", orders("A,1,1,1"))
    bucket.put("orders/2.csv", orders("B,1,1,1"))
    DataManager(settings, datasets=(ORDERS,)).run(Trigger.CLI)
    manager = DataManager(settings, datasets=(replace(ORDERS, exclude=("orders/2*",)),))
    manager.run(Trigger.CLI)
    assert query("SELECT order_id FROM orders") == [("A",)]
    assert query("SELECT key FROM source_object") == [("orders/1.csv",)]
    assert manager.run(Trigger.CLI).counts.objects_changed == 0


def test_changed_declaration_is_read_by_the_next_full_run_only(
    bucket: TestBucket, settings: Settings, query: Query
):
    bucket.put("orders/1.csv", orders("A,1,1,1"))
    bucket.put("sensors/a/1.csv", readings("t1,1"))
    DataManager(settings, datasets=ALL).run(Trigger.CLI)
    changed = replace(ORDERS, missing_values=("", "A"))
    manager = DataManager(settings, datasets=(changed, *ALL[1:]))
    report = manager.run(Trigger.CLI)
    assert report.counts.objects_modified == 1
    assert report.dataset_counts["orders"].retired == 1
    assert query("SELECT count(*) FROM orders") == [(0,)]


def test_a_dataset_that_postgresql_refuses_leaves_the_others(
    bucket: TestBucket, several: DataManager, query: Query
):
    several.run(Trigger.CLI)
    query("ALTER TABLE orders ADD CONSTRAINT small CHECK (rank < 10)")
    bucket.put("orders/1.csv", orders("A,1,50,1"))
    bucket.user("1.csv")
    with pytest.raises(DatasetsFailed, match=r"'orders': constraint small.*Committed: .*users"):
        several.run(Trigger.CLI)
    assert query("SELECT user_id FROM users") == [("1",)]
    assert query("SELECT count(*) FROM orders") == [(0,)]
    assert query(
        "SELECT state, error->>'code', counts->>'users_live' FROM run ORDER BY id DESC LIMIT 1"
    ) == [("failed", "DatasetsFailed", "1")]
    assert query("SELECT key FROM source_object") == [("1.csv",)]
    query("ALTER TABLE orders DROP CONSTRAINT small")
    report = several.run(Trigger.CLI)
    assert report.state is RunState.SUCCEEDED
    assert (report.counts.users_live, report.dataset_counts["orders"].live) == (1, 1)


def test_deferred_constraint_fails_its_dataset_only(
    bucket: TestBucket, several: DataManager, query: Query
):
    several.run(Trigger.CLI)
    query("CREATE TABLE public.ranks (rank bigint PRIMARY KEY)")
    query(
        "ALTER TABLE orders ADD FOREIGN KEY (rank) REFERENCES ranks DEFERRABLE INITIALLY DEFERRED"
    )
    bucket.put("orders/1.csv", orders("A,1,50,1"))
    bucket.user("1.csv")
    with pytest.raises(DatasetsFailed, match="orders_rank_fkey"):
        several.run(Trigger.CLI)
    assert query("SELECT user_id FROM users") == [("1",)]


# -- holds


@pytest.fixture
def crowd(bucket: TestBucket, several: DataManager) -> TestBucket:
    for file in range(4):
        rows = (f"{file}-{number},1,1,1" for number in range(100))
        bucket.put(f"orders/{file}.csv", orders(*rows))
    bucket.user("1.csv")
    several.run(Trigger.CLI)
    return bucket


def test_mass_retirement_waits_for_permission(
    crowd: TestBucket, several: DataManager, query: Query
):
    for file in range(3):
        crowd.remove(f"orders/{file}.csv")
    crowd.remove("1.csv")
    crowd.user("2.csv")
    report = several.run(Trigger.CLI)
    assert report.state is RunState.SUCCEEDED
    assert (report.counts.objects_held, report.counts.objects_removed) == (3, 1)
    assert report.dataset_counts["orders"].live == 400
    assert query("SELECT user_id FROM users") == [("2",)]
    assert query("SELECT dataset, rows, live FROM hold") == [("orders", 300, 400)]
    assert len(query("SELECT FROM held_object")) == 3
    assert (report.counts.rows_held, report.counts.retirements_held) == (0, 300)
    still = several.run(Trigger.CLI)
    assert still.counts.objects_held == 3
    few = several.run(Trigger.CLI, allowed_retirements={"orders": 299})
    assert few.counts.objects_held == 3
    allowed = several.run(Trigger.CLI, allowed_retirements={"orders": 300})
    assert allowed.dataset_counts["orders"].retired == 300
    assert (allowed.counts.rows_retired, allowed.counts.users_retired) == (300, 0)
    assert query("SELECT count(*) FROM hold") == query("SELECT count(*) FROM held_object") == [(0,)]
    assert several.run(Trigger.CLI).counts.objects_changed == 0


def test_every_retirement_joins_an_open_hold(crowd: TestBucket, several: DataManager, query: Query):
    """Modified objects that lose rows are held as a whole; others are merged."""
    for file in range(3):
        crowd.remove(f"orders/{file}.csv")
    several.run(Trigger.CLI)
    crowd.put("orders/3.csv", orders("3-0,1,1,1", "new,1,1,1"))
    crowd.put("orders/4.csv", orders("more,1,1,1"))
    found = several.run(Trigger.CLI)
    assert (found.counts.objects_held, found.counts.rows_held) == (4, 2)
    assert found.dataset_counts["orders"].live == 401
    for file in range(3):
        crowd.put(
            f"orders/{file}.csv", orders(*(f"{file}-{number},1,1,1" for number in range(100)))
        )
    released = several.run(Trigger.CLI)
    assert released.counts.objects_held == 1
    crowd.put("orders/3.csv", orders(*(f"3-{number},1,1,1" for number in range(100))))
    assert several.run(Trigger.CLI).counts.objects_held == 0
    assert query("SELECT count(*) FROM hold") == [(0,)]


def test_row_that_moved_to_a_held_object_is_not_retired(
    crowd: TestBucket, several: DataManager, query: Query
):
    """Without the held object, the other one would lose the row."""
    crowd.remove("orders/0.csv")
    crowd.remove("orders/1.csv")
    crowd.put("orders/2.csv", orders("3-0,1,1,1"))
    crowd.put("orders/3.csv", orders(*(f"3-{number},1,1,1" for number in range(1, 100))))
    report = several.run(Trigger.CLI)
    assert report.counts.objects_held == 4
    assert report.dataset_counts["orders"].live == 400
    assert query("SELECT count(*) FROM orders_retired") == [(0,)]


def test_renamed_objects_without_a_key_are_not_held(
    bucket: TestBucket, several: DataManager, query: Query
):
    rows = readings(*(f"t{number},1" for number in range(300)))
    bucket.put("sensors/a/1.csv", rows)
    several.run(Trigger.CLI)
    bucket.remove("sensors/a/1.csv")
    bucket.put("sensors/a/2.csv", rows)
    report = several.run(Trigger.CLI)
    assert (report.counts.objects_held, report.dataset_counts["readings"].retired) == (0, 300)
    bucket.remove("sensors/a/2.csv")
    assert several.run(Trigger.CLI).counts.objects_held == 1
    assert query('SELECT count(*) FROM "Readings"') == [(300,)]


def test_hold_ends_once_its_objects_are_back(crowd: TestBucket, several: DataManager, query: Query):
    kept = {f"orders/{file}.csv": crowd.get(f"orders/{file}.csv") for file in range(3)}
    for key in kept:
        crowd.remove(key)
    assert several.run(Trigger.CLI).counts.objects_held == 3
    for key, content in kept.items():
        crowd.put(key, content)
    report = several.run(Trigger.CLI)
    assert (report.counts.objects_held, report.dataset_counts["orders"].live) == (0, 400)
    assert query("SELECT count(*) FROM hold") == [(0,)]


# -- foreign keys


@pytest.mark.parametrize(
    "action", ["NO ACTION", "RESTRICT", "NO ACTION DEFERRABLE INITIALLY DEFERRED"]
)
def test_only_referenced_rows_are_kept(
    crowd: TestBucket, several: DataManager, query: Query, action: str
):
    query(
        'CREATE TABLE public.invoices (order_id text COLLATE "C" CONSTRAINT of_order'
        f" REFERENCES orders ON DELETE {action})"
    )
    query("INSERT INTO invoices VALUES ('0-7'), ('0-99'), ('1-0')")
    crowd.remove("orders/0.csv")
    crowd.put("orders/1.csv", orders(*(f"1-{number},1,1,1" for number in range(1, 100))))
    for _ in range(2):
        found = several.run(Trigger.CLI)
        assert found.state is RunState.SUCCEEDED
        assert found.dataset_counts["orders"].live == 302
        blocked = query(
            "SELECT DISTINCT value, severity FROM problem"
            " JOIN source_object USING (bucket, key, run_id)"
            " WHERE code = 'retirement-blocked'"
        )
        assert blocked == [("of_order", "warning")]
        assert query(
            "SELECT order_id FROM orders WHERE order_id LIKE '0-%' OR order_id = '1-0' ORDER BY 1"
        ) == [("0-7",), ("0-99",), ("1-0",)]
    query("DELETE FROM invoices")
    assert counts(several, "orders").retired == 3
    assert query(
        "SELECT count(*) FROM problem JOIN source_object USING (bucket, key, run_id)"
        " WHERE code = 'retirement-blocked'"
    ) == [(0,)]


def test_cascade_is_the_wish_of_the_other_table(
    crowd: TestBucket, several: DataManager, query: Query
):
    query(
        'CREATE TABLE public.invoices (order_id text COLLATE "C"'
        " REFERENCES orders ON DELETE CASCADE)"
    )
    query("INSERT INTO invoices VALUES ('0-7'), ('1-7')")
    crowd.remove("orders/0.csv")
    assert counts(several, "orders").retired == 100
    assert query("SELECT order_id FROM invoices") == [("1-7",)]


# -- buckets


@pytest.fixture
def second(settings: Settings) -> TestBucket:
    found = TestBucket(settings)
    found.name = f"second-{settings.source_bucket}"
    minio_client(settings).make_bucket(found.name)
    return found


def in_bucket(dataset: Dataset, name: str) -> Dataset:
    return replace(dataset, bucket=name)


def test_same_key_in_two_buckets_is_two_objects(
    bucket: TestBucket, second: TestBucket, settings: Settings, query: Query
):
    manager = DataManager(settings, datasets=(in_bucket(ORDERS, second.name), USERS))
    bucket.put("orders/1.csv", "first_name,last_name,birthts\nAnn,Lee,0\n")
    second.put("orders/1.csv", orders("A,1,1,1"))
    second.user("1.csv")
    report = manager.run(Trigger.CLI)
    assert query("SELECT user_id FROM users") == [("1",)]
    assert query("SELECT order_id FROM orders") == [("A",)]
    assert report.counts.objects_ignored == 1
    second.remove("orders/1.csv")
    assert counts(manager, "orders").retired == 1
    assert query("SELECT user_id FROM users") == [("1",)]


def test_dataset_moves_to_another_bucket(
    bucket: TestBucket, second: TestBucket, settings: Settings, query: Query
):
    bucket.put("orders/1.csv", orders("A,1,1,1", "B,1,1,1"))
    DataManager(settings, datasets=(ORDERS, USERS)).run(Trigger.CLI)
    bucket.remove("orders/1.csv")
    second.put("orders/1.csv", orders("A,1,1,1", "C,1,1,1"))
    manager = DataManager(settings, datasets=(in_bucket(ORDERS, second.name), USERS))
    manager.run(Trigger.CLI)
    assert query("SELECT order_id FROM orders ORDER BY 1") == [("A",), ("C",)]
    assert manager.run(Trigger.CLI).counts.objects_changed == 0
    home = DataManager(settings, datasets=(USERS,))
    home.run(Trigger.CLI)
    assert query("SELECT key FROM source_object") == []


def test_unreachable_bucket_skips_its_datasets(
    bucket: TestBucket, second: TestBucket, settings: Settings, query: Query
):
    class Partial(ObjectStore):
        def list_pages(
            self, bucket: str, split_points: Iterable[str] = (), *more: Callable[[str], bool]
        ) -> Iterator[ListingPage]:
            yield from super().list_pages(bucket, split_points, *more)
            if bucket == second.name and is_down:
                raise ObjectStoreUnavailable("The bucket did not respond.")

    is_down = False
    datasets = (in_bucket(ORDERS, second.name), USERS)
    manager = DataManager(settings, store=Partial(settings), datasets=datasets)
    second.put("orders/1.csv", orders("A,1,1,1"))
    manager.run(Trigger.CLI)
    is_down = True
    second.put("orders/2.csv", orders("B,1,1,1"))
    bucket.user("1.csv")
    with pytest.raises(DatasetsFailed, match="did not respond"):
        manager.run(Trigger.CLI)
    assert query("SELECT order_id FROM orders") == [("A",)]
    assert query("SELECT user_id FROM users") == [("1",)]
    is_down = False
    assert manager.run(Trigger.CLI).dataset_counts["orders"].live == 2


def test_missing_declared_bucket_is_an_error(bucket: TestBucket, settings: Settings):
    bucket.user("1.csv")
    manager = DataManager(settings, datasets=(in_bucket(ORDERS, "no-such-bucket-here"), USERS))
    with pytest.raises(DatasetsFailed, match=r"'no-such-bucket-here' of dataset orders"):
        manager.run(Trigger.CLI)
    assert not minio_client(settings).bucket_exists("no-such-bucket-here")


# -- cost


def test_event_run_does_not_depend_on_the_number_of_datasets(
    bucket: TestBucket, settings: Settings, fresh_database: Callable[[], Settings]
):
    many = tuple(
        replace(ORDERS, name=f"d{number}", table=f"d{number}", include=(f"d{number}/*.csv",))
        for number in range(30)
    )
    assert statements_of_event_run(bucket, fresh_database(), (USERS, *many)) == (
        statements_of_event_run(bucket, settings, (USERS,))
    )


def statements_of_event_run(
    bucket: TestBucket, settings: Settings, datasets: tuple[Dataset, ...]
) -> int:
    manager = DataManager(settings, datasets=datasets)
    bucket.user("1.csv", "Ann")
    manager.run(Trigger.CLI)
    bucket.user("1.csv", "Bob")
    engine = manager.engine
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO bucket_event (bucket, key, mark, event_name, record)"
                " VALUES (:bucket, '1.csv', 'm', 's3:ObjectCreated:Put', '{}')"
            ),
            {"bucket": settings.source_bucket},
        )
    executed: list[str] = []
    event.listen(
        manager.run_engine, "before_cursor_execute", lambda *found: executed.append(found[2])
    )
    assert manager.run_events() is not None
    return len(executed)


def test_permissions_of_joined_requests_are_joined(engine: Engine):
    with engine.begin() as connection:
        runs.request_run(connection, Trigger.REQUEST, allowed_retirements={"a": 5, "b": 7})
        runs.request_run(connection, Trigger.REQUEST, allowed_retirements={"a": 9, "b": None})
        runs.request_run(connection, Trigger.INTERVAL)
    with engine.connect() as connection:
        claimed = runs.claim_run(connection)
    assert claimed is not None
    assert claimed[2] == {"a": 9, "b": None}


# -- published files


def test_each_dataset_publishes_its_files(bucket: TestBucket, settings: Settings, query: Query):
    """In the order of the key, or of object and line; without columns of ours."""
    listed = replace(READINGS, publish=("readings.csv", "readings.parquet"))
    manager = DataManager(settings, datasets=(ORDERS, listed, USERS))
    bucket.put("orders/1.csv", orders("B,2,1,1", "A,1.5,1,1"))
    bucket.put("sensors/b/1.csv", readings("t2,1", "t1,2"))
    bucket.put("sensors/a/1.csv", readings("t3,3"))
    manager.run(Trigger.CLI)
    published = TestBucket(settings)
    published.name = settings.processed_bucket
    assert published.get("orders.csv").decode() == (
        "order_id,amount,rank,updated\nA,1.50,1,1\nB,2.00,1,1\n"
    )
    assert published.get("readings.csv").decode() == (
        "sensor,celsius,site\nt3,3,a\nt2,1,b\nt1,2,b\n"
    )
    assert set(published.keys()) == {"orders.csv", "readings.csv", "readings.parquet", "output.csv"}
    before = query("SELECT name, run_id FROM publication ORDER BY 1")
    bucket.put("orders/1.csv", orders("A,1.5,1,1"))
    run_id = manager.run(Trigger.CLI).id
    after = query("SELECT name, run_id FROM publication ORDER BY 1")
    assert after == [(name, run_id if name == "orders.csv" else run) for name, run in before]
    DataManager(settings, datasets=(replace(ORDERS, publish=()), listed, USERS)).run(Trigger.CLI)
    assert not published.has("orders.csv")


def test_each_dataset_has_its_revision(bucket: TestBucket, several: DataManager, query: Query):
    several.run(Trigger.CLI)
    before = dict(query("SELECT noun, number FROM revision"))
    bucket.put("orders/1.csv", orders("A,1,1,1"))
    several.run(Trigger.CLI)
    after = dict(query("SELECT noun, number FROM revision"))
    assert {noun for noun in after if after[noun] != before.get(noun)} == {"dataset:orders"}
