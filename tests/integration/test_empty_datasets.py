"""Changed declarations of datasets without rows: tables get any shape, without a rebuild."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from etl.db import dataset_tables
from etl.model.dataset import USERS, Constraints, Dataset, Field, FieldType, UnknownColumns
from etl.model.errors import DatasetsFailed
from etl.model.values import RunReport, Trigger
from etl.settings import Settings
from etl.sync import apply
from etl.sync.manager import DataManager
from tests.conftest import TestBucket, minio_client
from tests.integration.conftest import Query
from tests.integration.test_changed_declarations import GOODS, REFUSED, without
from tests.integration.test_rebuilds import state

INTEGER = replace(
    GOODS, fields=(GOODS.fields[0], Field(name="code", type=FieldType.INTEGER)), indexes=()
)
COLUMNS = (
    "SELECT attrelid FROM pg_attribute"
    " WHERE attrelid IN (to_regclass('goods'), 'goods_retired'::regclass) AND attname = 'NAME'"
)
WITHOUT_ROWS = "id,code\n,x\n"  # no id, no number

Run = Callable[..., RunReport]
Execute = Callable[..., None]


@pytest.fixture
def run(settings: Settings) -> Run:
    def make(*datasets: Dataset) -> RunReport:
        return DataManager(settings, datasets=datasets).run(Trigger.CLI)

    return make


@pytest.fixture
def execute(engine: Engine) -> Execute:
    def run_all(*statements: str) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL search_path = public")
            for one in statements:
                connection.exec_driver_sql(one)

    return run_all


@pytest.mark.parametrize(
    ("name", "content"), [("another key", ""), *((one, WITHOUT_ROWS) for one in REFUSED)]
)
def test_any_change_is_made_by_the_next_run(  # noqa: PLR0913 - fixtures
    bucket: TestBucket,
    run: Run,
    query: Query,
    settings: Settings,
    *,
    fresh_database: Callable[[], Settings],
    name: str,
    content: str,
):
    """As if the dataset had been declared so from the start, in the same table."""
    changed, _ = REFUSED[name]
    changed = replace(
        changed, indexes=tuple(one for one in changed.indexes if {*one} <= {*changed.field_names})
    )
    if content:
        bucket.put("goods/1.csv", content)
    run(GOODS, USERS)
    oid = query("SELECT CAST(CAST('goods' AS regclass) AS oid)")
    bucket.put("goods/2.csv", "id,code,price,state,color\na,1,2,new,red\n")
    assert run(changed, USERS).dataset_counts["goods"].inserted == 1
    assert query(f"SELECT CAST(CAST('{changed.table}' AS regclass) AS oid)") == oid
    fresh = fresh_database()
    DataManager(fresh, datasets=(changed, USERS)).run(Trigger.CLI)
    assert state(settings, changed.table) == state(fresh, changed.table)
    assert run(changed, USERS).counts.rows_read == 0


def test_rows_that_a_draft_rejected_are_loaded_by_the_next_one(bucket: TestBucket, run: Run):
    bucket.put("goods/1.csv", "id,code\na,x\n")
    assert run(INTEGER, USERS).dataset_counts["goods"].rows_rejected == 1
    counts = run(replace(without("state"), indexes=()), USERS).dataset_counts["goods"]
    assert (counts.inserted, counts.rows_rejected) == (1, 0)


def test_what_others_added_to_the_tables_stays(run: Run, query: Query, execute: Execute):
    run(GOODS, USERS)
    execute(
        "GRANT SELECT ON goods TO PUBLIC",
        "GRANT UPDATE (state) ON goods TO PUBLIC",
        "COMMENT ON TABLE goods IS 'all goods'",
        "COMMENT ON COLUMN goods.state IS 'of the goods'",
        "ALTER TABLE goods ADD COLUMN remark text DEFAULT 'none'",
        "CREATE VIEW states AS SELECT id, state FROM goods",
        "CREATE INDEX theirs ON goods (state)",
    )
    kept = (
        "SELECT relacl::text, obj_description(oid), attacl::text, col_description(oid, attnum),"
        " indexdef FROM pg_class, pg_attribute, pg_indexes WHERE oid = to_regclass('goods')"
        " AND attrelid = oid AND attname = 'state' AND indexname = 'theirs'"
    )
    before = query(kept)
    assert len(before) == 1
    run(replace(without("code"), indexes=()), USERS)
    assert query(kept) == before
    assert query("SELECT id, state FROM states") == query("SELECT remark FROM goods") == []


@pytest.mark.parametrize("view", ["code FROM goods", "code FROM goods_retired"])
def test_a_view_of_what_changes_keeps_the_table_as_it_is(
    run: Run, query: Query, execute: Execute, view: str
):
    run(GOODS, USERS)
    execute(f"CREATE VIEW codes AS SELECT {view}")
    changed = replace(without("code"), indexes=())
    with pytest.raises(DatasetsFailed, match="needs a rebuild: The column code is no longer"):
        run(changed, USERS)
    assert query("SELECT goods.code FROM goods, codes") == []
    execute("DROP VIEW codes")
    run(changed, USERS)
    assert query(COLUMNS.replace("NAME", "code")) == []


@pytest.mark.parametrize("table", ["goods_retired", "goods_shadowed"])
def test_a_retired_or_shadowed_row_needs_a_rebuild(
    bucket: TestBucket, run: Run, query: Query, execute: Execute, *, table: str
):
    bucket.put("goods/1.csv", "id,state\na,new\na,old\n")
    run(GOODS, USERS)
    if table == "goods_retired":
        bucket.remove("goods/1.csv")
        run(GOODS, USERS)
    else:
        execute("DELETE FROM goods")
    assert query("SELECT count(*) FROM goods") == [(0,)]
    assert query(f"SELECT count(*) FROM {table}") == [(1,)]
    with pytest.raises(DatasetsFailed, match="needs a rebuild"):
        run(INTEGER, USERS)
    assert query(f"SELECT id FROM {table}") == [("a",)]


def test_columns_that_files_added_go(bucket: TestBucket, run: Run, query: Query):
    free = replace(GOODS, unknown_columns=UnknownColumns.ADD)
    bucket.put("goods/1.csv", "id,state,color\n,x,red\n")
    run(free, USERS)
    assert query("SELECT added_columns FROM dataset WHERE name = 'goods'") == [(["color"],)]
    run(INTEGER, USERS)
    assert query("SELECT added_columns FROM dataset WHERE name = 'goods'") == [([],)]
    assert query(COLUMNS.replace("NAME", "color")) == []


def test_a_dataset_that_was_not_declared_for_some_time_gets_its_new_shape(
    bucket: TestBucket, run: Run, query: Query
):
    """Columns that no declaration names any more are dropped."""
    run(GOODS, USERS)
    run(USERS)
    bucket.put("goods/1.csv", "id,code\na,1\n")
    assert run(INTEGER, USERS).dataset_counts["goods"].inserted == 1
    assert query("SELECT id, code FROM goods") == [("a", 1)]
    assert (
        "state"
        not in query(
            "SELECT string_agg(attname, ' ') FROM pg_attribute"
            " WHERE attrelid = to_regclass('goods')"
        )[0][0]
    )


def test_a_name_that_an_earlier_table_has_is_refused(bucket: TestBucket, run: Run):
    bucket.put("wares/1.csv", "id,state\na,new\n")
    run(GOODS, replace(GOODS, name="wares", table="wares", include=("wares/*",)), USERS)
    with pytest.raises(DatasetsFailed, match="needs a rebuild"):
        run(replace(GOODS, table="wares"), USERS)


def test_a_table_in_use_is_changed_by_a_later_run(
    run: Run, engine: Engine, query: Query, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dataset_tables, "LOCK_TIMEOUT", "50ms")
    run(GOODS, USERS)
    with engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM goods_retired"))
        with pytest.raises(DatasetsFailed, match="is in use"):
            run(INTEGER, USERS)
    run(INTEGER, USERS)
    assert query("SELECT code + 1 FROM goods") == []


def test_files_are_published_with_the_new_columns(run: Run, settings: Settings):
    note = Field(name="note", constraints=Constraints())
    for changed, header in (
        (GOODS, b"id,code,price,state,born\n"),
        (INTEGER, b"id,code\n"),
        (replace(INTEGER, fields=(*INTEGER.fields, note)), b"id,code,note\n"),
        (replace(INTEGER, fields=(note, *INTEGER.fields)), b"note,id,code\n"),
    ):
        run(replace(changed, publish=("goods.csv",)), USERS)
        found = minio_client(settings).get_object(settings.processed_bucket, "goods.csv")
        assert found.read() == header
        found.release_conn()


def test_apply_and_check_tell_that_no_rebuild_is_needed(settings: Settings, run: Run):
    run(GOODS, USERS)
    expected = [
        "The column price is no longer declared.",
        "Its tables have no rows, so they get their new shape without a rebuild.",
    ]
    for make in (apply.planned, apply.apply):
        changes, failures = make(settings, (INTEGER, USERS))
        assert not failures
        assert expected[0] in changes["goods"]
        assert changes["goods"][-1] == expected[1]
    changes, _ = apply.apply(settings, (INTEGER, USERS))
    assert changes["goods"] == []
