"""The merge: small runs scan no table, and users are counted only in large runs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, text

from etl.db.dataset_sql import DatasetSql
from etl.db.engine import connect_unpooled
from etl.model.dataset import USERS
from etl.model.values import Change, ChangeKind, Counts, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync import batch, counting, merge, stage, staging_tables
from etl.sync.manager import DataManager
from etl.sync.merge_run import RunMerge
from etl.sync.reading import BucketReading
from etl.sync.run import CurrentRun
from etl.sync.stats import RunStats
from tests.conftest import TestBucket, wait_until

USERS_SQL = DatasetSql(USERS, "public")
MANY = merge.THRESHOLDS.many
ALWAYS_BULK = merge.Thresholds(small=0)
MANY_USERS = "user_id,first_name,last_name,birthts\n" + "".join(
    f"{number:05},Ann,Lee,{number}\n" for number in range(500)
)
SCANS = (
    "SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_xact_user_tables"
    " WHERE relname IN ('users', 'source_object', 'users_shadowed', 'problem')"
)
ENTRIES = (  # most of the entries that a full index scan reads
    "SELECT coalesce(sum(idx_tup_fetch + seq_tup_read), 0) FROM pg_stat_xact_user_tables"
    " WHERE relname IN ('users', 'source_object', 'users_shadowed', 'problem')"
)


@pytest.fixture
def of_one_object(engine: Engine) -> None:
    """100,000 users of one object, with current statistics."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text(
                "INSERT INTO users (user_id, first_name, last_name, birthts, _source_key,"
                " _source_line, _run_id, _updated_at)"
                " SELECT lpad(number::text, 6, '0'), 'Ann', 'Lee', number, 'many.csv',"
                " number + 1, 1, now() FROM generate_series(1, 100000) AS number"
            )
        )
        connection.execute(text("VACUUM ANALYZE"))


def merge_one(
    connection: Connection, store: ObjectStore, bucket: TestBucket, key: str, kind: ChangeKind
) -> Counts:
    """Merge one object as a run does, without a commit."""
    (source,) = (found for found in store.list_objects(bucket.name) if found.key == key)
    return stage_and_merge(connection, store, bucket, [Change(kind, source)])


def stage_and_merge(
    connection: Connection,
    store: ObjectStore,
    bucket: TestBucket,
    changes: list[Change],
    thresholds: merge.Thresholds = merge.THRESHOLDS,
) -> Counts:
    staging_tables.empty_staging(connection, [USERS_SQL])
    reading = BucketReading.of((USERS,), bucket.name, datetime.now(UTC).date())
    fetched = batch.fetch(store, reading, changes)
    stage.stage(connection, batch.check(fetched, reading))
    run = CurrentRun(99, Trigger.CLI, connection, RunStats(staged=len(changes)))
    staged = counting.staged(connection, len(changes), thresholds.small)
    task = RunMerge(run, [USERS_SQL], bucket.name, staged, thresholds=thresholds)
    return task.merge().committed.counts


@pytest.mark.planner
@pytest.mark.usefixtures("of_one_object")
@pytest.mark.parametrize("user_id", ["new-user", "000007"])
def test_a_run_of_one_row_scans_no_table(
    settings: Settings,
    store: ObjectStore,
    bucket: TestBucket,
    user_id: str,
):
    bucket.user(f"{user_id}.csv", "Bob")
    with connect_unpooled(settings).connect() as connection:
        counts = merge_one(connection, store, bucket, f"{user_id}.csv", ChangeKind.ADDED)
        assert counts.rows_loaded == 1
        assert connection.scalar(text(SCANS)) == 0
        assert int(connection.scalar(text(ENTRIES)) or 0) < 100
        connection.rollback()


def totals(counts: Counts) -> tuple[int, int]:
    return counts.users_live, counts.users_with_image


def found(engine: Engine) -> tuple[int, int]:
    with engine.connect() as connection:
        row = connection.execute(text("SELECT count(*), count(img_path) FROM users")).one()
    return row[0], row[1]


@pytest.mark.parametrize("thresholds", [ALWAYS_BULK, merge.THRESHOLDS], ids=["counted", "added up"])
def test_user_counts_of_runs_match_the_table(
    settings: Settings, bucket: TestBucket, engine: Engine, thresholds: merge.Thresholds
):
    """Users and images are added, removed and restored."""
    manager = DataManager(settings, thresholds=thresholds)
    steps = [
        lambda: (bucket.user("1.csv"), bucket.user("2.csv"), bucket.put("1.png", "x")),
        lambda: bucket.put("2.jpg", "x"),
        lambda: bucket.put("2.png", "x"),
        lambda: (bucket.remove("1.csv"), bucket.remove("2.jpg")),
        lambda: (bucket.user("1.csv", "Bob"), bucket.remove("2.png")),
        lambda: (bucket.remove("1.png"), bucket.user("a/2.csv")),
        lambda: (bucket.remove("a/2.csv"), bucket.put("2.gif", "x")),
        lambda: None,
    ]
    for step in steps:
        step()
        assert totals(manager.run(Trigger.CLI).counts) == found(engine)


def test_large_run_recounts_a_table_changed_by_another_client(
    settings: Settings, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.user("1.csv")
    bucket.user("2.csv")
    manager.run(Trigger.CLI)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM users WHERE user_id = '1'"))
    bucket.user("3.csv")
    assert totals(manager.run(Trigger.CLI).counts) == (3, 0)
    bulk = DataManager(settings, thresholds=ALWAYS_BULK)
    bucket.user("4.csv")
    assert totals(bulk.run(Trigger.CLI).counts) == found(engine) == (3, 0)


def test_rows_moved_to_other_lines_change_only_their_lines(
    manager: DataManager, bucket: TestBucket, engine: Engine
):
    """With a row inserted at the top, each user keeps the values and moves down a line."""
    bucket.put("many.csv", MANY_USERS)
    manager.run(Trigger.CLI)
    header, rows = MANY_USERS.split("\n", 1)
    bucket.put("many.csv", f"{header}\nnew,Bob,Lee,0\n{rows}")
    counts = manager.run(Trigger.CLI).counts
    assert (counts.users_inserted, counts.users_updated) == (1, 500)
    with engine.connect() as connection:
        lines = connection.scalars(
            text("SELECT _source_line FROM users ORDER BY _source_line")
        ).all()
    assert lines == list(range(2, 503))


def test_repeated_row_of_an_unchanged_user_leaves_one_shadow(
    manager: DataManager, bucket: TestBucket, engine: Engine
):
    """If a later line repeats the row of a stored user, the last line wins."""
    first = "user_id,first_name,last_name,birthts\n1,Ann,Lee,0\n2,Bob,Lee,0\n"
    bucket.put("many.csv", first)
    manager.run(Trigger.CLI)
    bucket.put("many.csv", first + "1,Zoë,Lee,0\n")
    counts = manager.run(Trigger.CLI).counts
    assert (counts.rows_loaded, counts.rows_unchanged, counts.rows_shadowed) == (1, 1, 1)
    with engine.connect() as connection:
        shadows = connection.execute(text("SELECT user_id, _source_line FROM users_shadowed")).all()
    assert [tuple(row) for row in shadows] == [("1", 2)]


@pytest.mark.planner
@pytest.mark.parametrize("keys", [["gone.csv"], ["1.csv", "gone.csv"]], ids=["users", "shadows"])
def test_many_removed_rows_use_hash_joins(
    settings: Settings,
    store: ObjectStore,
    bucket: TestBucket,
    keys: list[str],
):
    """A removed object with many rows is merged in bulk."""
    for key in reversed(keys):
        rows = "".join(f"{number},Ann,Lee,0\n" for number in range(6))
        bucket.put(key, f"user_id,first_name,last_name,birthts\n{rows}")
        DataManager(settings).run(Trigger.CLI)
    (source,) = (found for found in store.list_objects(bucket.name) if found.key == keys[-1])
    removed = [Change(ChangeKind.REMOVED, source)]
    with connect_unpooled(settings).connect() as connection:
        assert hash_joins_after(connection, store, bucket, removed)
        connection.rollback()


def hash_joins_after(
    connection: Connection, store: ObjectStore, bucket: TestBucket, changes: list[Change]
) -> bool:
    """Whether a merge of these changes allows hash joins, without a commit."""
    stage_and_merge(connection, store, bucket, changes, merge.Thresholds(small=5))
    return connection.scalar(text("SHOW enable_hashjoin")) == "on"


@pytest.mark.planner
def test_stale_statistics_do_not_make_the_merge_quadratic(
    settings: Settings,
    store: ObjectStore,
    manager: DataManager,
    bucket: TestBucket,
    engine: Engine,
):
    """The table was last analyzed when it was empty."""
    rows = [f"{number:05},Ann,Lee,{number}\n" for number in range(2000)]
    bucket.put("many.csv", "user_id,first_name,last_name,birthts\n" + "".join(rows))
    manager.run(Trigger.CLI)
    with engine.begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE kept AS TABLE users"))
        connection.execute(text("ALTER TABLE kept DROP COLUMN birthdate"))
        connection.execute(text("DELETE FROM users"))
        connection.execute(text("ANALYZE users"))
        names = connection.scalar(
            text(
                "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute"
                " WHERE attrelid = 'kept'::regclass AND attnum > 0 AND NOT attisdropped"
            )
        )
        connection.execute(text(f"INSERT INTO users ({names}) SELECT {names} FROM kept"))
    rows += [f"new{number},Ann,Lee,{number}\n" for number in range(50)]
    renamed = "".join(rows).replace("Ann", "Bob")
    bucket.put("many.csv", "user_id,first_name,last_name,birthts\n" + renamed)
    with connect_unpooled(settings).connect() as connection:
        merge_one(connection, store, bucket, "many.csv", ChangeKind.MODIFIED)
        read = connection.scalar(
            text(
                "SELECT sum(seq_tup_read) FROM pg_stat_xact_user_tables"
                " WHERE relname IN ('changed_rows', 'conflicts', 'candidate', 'upserts')"
            )
        )
        connection.rollback()
    assert int(read or 0) < 20 * len(rows)


@pytest.mark.planner
@pytest.mark.parametrize("rows_of_the_first", [1, 2], ids=["one row each", "a user with two"])
def test_a_large_first_load_leaves_users_analyzed(
    bucket: TestBucket, manager: DataManager, engine: Engine, rows_of_the_first: int
):
    """One first load creates the indexes after the rows; the other has to be merged."""
    user_rows = "".join(f"{number:06},Ann,Lee,{number}\n" for number in range(MANY))
    again = "000000,Ann,Lee,0\n" * (rows_of_the_first - 1)
    bucket.put("many.csv", f"user_id,first_name,last_name,birthts\n{user_rows}{again}")
    assert manager.run(Trigger.CLI).counts.users_live == MANY
    asked = text("SELECT last_analyze IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'users'")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        wait_until(lambda: connection.scalar(asked))
        estimated = connection.scalar(
            text("SELECT reltuples FROM pg_class WHERE relname = 'users'")
        )
    assert estimated == MANY


@pytest.mark.parametrize("step", [1, -1], ids=["in key order", "in another order"])
@pytest.mark.parametrize("images", [False, True], ids=["no image", "an image each"])
def test_a_first_load_stores_rows_in_key_order(
    bucket: TestBucket, settings: Settings, engine: Engine, step: int, *, images: bool
):
    rows = [f"{number:02},Ann,Lee,{number}\n" for number in range(40)][::step]
    bucket.put("many.csv", "user_id,first_name,last_name,birthts\n" + "".join(rows))
    for number in range(40 * images):
        bucket.put(f"{number:02}.png", "x")
    thresholds = merge.Thresholds(small=0, many=1)
    manager = DataManager(settings, datasets=(USERS,), thresholds=thresholds)
    assert manager.run(Trigger.CLI).counts.users_with_image == 40 * images
    with engine.connect() as connection:
        stored = connection.scalars(text("SELECT user_id FROM users ORDER BY ctid")).all()
    assert stored == [f"{number:02}" for number in range(40)]
