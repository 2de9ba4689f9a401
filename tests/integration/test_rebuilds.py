"""Rebuilds of datasets whose tables a run cannot alter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, event, text

from etl.db.engine import connect
from etl.db.table_locks import Patience
from etl.model.dataset import (
    USERS,
    Attachment,
    Constraints,
    Dataset,
    Derived,
    DerivedAs,
    Field,
    FieldType,
    OnRemoved,
    UnknownColumns,
)
from etl.model.errors import (
    ConfigurationError,
    DatasetRefused,
    DatasetsFailed,
    RebuildRefused,
    RunAlreadyActive,
    UnreadableObject,
)
from etl.model.values import RunState, SourceObject, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from etl.sync.rebuild import Rebuilt
from tests.conftest import TestBucket
from tests.integration.conftest import Query
from tests.integration.test_changed_declarations import GOODS, REFUSED, with_fields, without
from tests.stores import PRECISE_TIMES

REQUIRED = Constraints(required=True)
DERIVED = Derived(name="day", source="born", computed_as=DerivedAs.DATE)
PHOTO = Attachment(column="photo", match="photos/{id}.png")
# By name, the former declaration and the new one.
CHANGES: dict[str, tuple[Dataset, Dataset]] = {
    **{name: (GOODS, changed) for name, (changed, _) in REFUSED.items() if "er text" not in name},
    "no change": (GOODS, GOODS),
    "a text that becomes a number": (
        GOODS,
        with_fields(Field(name="code", type=FieldType.INTEGER)),
    ),
    "a key of another type": (
        GOODS,
        with_fields(Field(name="id", sql="varchar(20)", constraints=REQUIRED)),
    ),
    "a key that many rows share": (GOODS, replace(GOODS, primary_key=("state",))),
    "a key that rows lack": (
        GOODS,
        replace(with_fields(Field(name="code", constraints=REQUIRED)), primary_key=("code",)),
    ),
    "a key where was none": (replace(GOODS, primary_key=()), GOODS),
    "a new key of the path": (
        GOODS,
        replace(GOODS, path_columns="goods/{shop}/**", primary_key=("shop", "id")),
    ),
    "a derived column whose source has gone": (
        replace(GOODS, derived=(DERIVED,)),
        without("born"),
    ),
    "an attachment less": (replace(GOODS, attachments=(PHOTO,)), GOODS),
    "another attachment": (
        replace(GOODS, attachments=(PHOTO,)),
        replace(GOODS, attachments=(replace(PHOTO, column="image"),)),
    ),
    "columns of the data again": (
        replace(GOODS, unknown_columns=UnknownColumns.ADD),
        replace(without("price"), unknown_columns=UnknownColumns.ADD),
    ),
    # What a run would change in place
    "a field, an index and an attachment more": (
        without("born"),
        replace(GOODS, attachments=(PHOTO,), indexes=(("born",),)),
    ),
    "a column of the path without a key": (
        replace(GOODS, primary_key=()),
        replace(GOODS, primary_key=(), path_columns="goods/{shop}/**"),
    ),
    "other patterns": (GOODS, replace(GOODS, include=("goods/a/*.csv",))),
    "everything at once": (
        replace(GOODS, attachments=(PHOTO,), derived=(DERIVED,)),
        Dataset(
            name="goods",
            table="wares",
            include=("goods/a/*.csv", "goods/c/*.csv"),
            primary_key=("state", "id"),
            fields=(
                Field(name="id", constraints=REQUIRED),
                Field(name="state", constraints=REQUIRED),
                Field(name="price", type=FieldType.NUMBER, sql="double precision"),
                Field(name="color", constraints=Constraints(enum=("red",))),
                Field(name="born"),
            ),
            indexes=(("price",),),
        ),
    ),
}
VOLATILE = "{_run_id,_updated_at,_retired_at,run_id,id,created_at,installed_at}"


@pytest.fixture
def objects(bucket: TestBucket) -> TestBucket:
    bucket.put("goods/a/1.csv", "id,code,price,state,born\na,1234,1.50,new,0\nb,,2,old,86400000\n")
    bucket.put("goods/b/2.csv", "id,code,price,state,color\nc,56,3,new,red\nd,0x,3.25,gone,blue\n")
    bucket.put("goods/c/3.csv", "id,code,price,state,color\na,99,7,new,red\ne,7,8,old,red\n")
    bucket.put("photos/a.png", "x")
    bucket.user("1.csv")
    return bucket


def indexed(dataset: Dataset) -> Dataset:
    """The dataset with those of its indexes of which it has the columns."""
    kept = [one for one in dataset.indexes if {*one} <= {*dataset.field_names}]
    return replace(dataset, indexes=tuple(kept))


def run(settings: Settings, *datasets: Dataset) -> None:
    DataManager(settings, datasets=datasets).run(Trigger.CLI)


def rebuild(settings: Settings, *datasets: Dataset, allowed: bool = False) -> Rebuilt:
    (name, *_) = (one.name for one in datasets)
    permission = {name: None} if allowed else None
    return DataManager(settings, datasets=datasets).rebuild(name, allowed_retirements=permission)


def state(settings: Settings, table: str) -> dict[str, list[str]]:
    """The rows and the shapes of the tables, the manifest and the open problems."""
    engine = connect(settings)
    queries = {
        "objects": f"SELECT to_jsonb(o) - CAST('{VOLATILE}' AS text[]) FROM source_object o",
        "datasets": f"SELECT to_jsonb(d) - CAST('{VOLATILE}' AS text[]) FROM dataset d",
        "problems": f"SELECT to_jsonb(p) - CAST('{VOLATILE}' AS text[]) FROM problem p"
        " JOIN source_object USING (bucket, key, run_id)",
        "tables": "SELECT relname, relkind FROM pg_class"
        " WHERE relnamespace IN (to_regnamespace('public'), to_regnamespace(current_schema()))",
    }
    for name in (table, f"{table}_shadowed", f"{table}_retired"):
        queries |= {
            f"columns of {name}": "SELECT attname, format_type(atttypid, atttypmod), attnotnull,"
            " attgenerated, attcollation FROM pg_attribute WHERE NOT attisdropped AND attnum > 0"
            f" AND attrelid = to_regclass('public.{name}')",
            f"indexes of {name}": f"SELECT indexdef FROM pg_indexes WHERE tablename = '{name}'",
        }
    with engine.connect() as connection:
        for name in (table, f"{table}_shadowed"):
            if connection.scalar(text(f"SELECT to_regclass('public.{name}')")) is not None:
                row = f"to_jsonb(t) - CAST('{VOLATILE}' AS text[])"
                queries[name] = f"SELECT {row} FROM public.{name} t"
        found = {
            name: sorted(str(tuple(row)) for row in connection.execute(text(one)))
            for name, one in queries.items()
        }
    engine.dispose()
    return found


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize("name", CHANGES)
def test_a_rebuilt_dataset_equals_a_new_one(
    settings: Settings,
    query: Query,
    fresh_database: Callable[[], Settings],
    name: str,
):
    """But for what it retired, and the table stays the same one."""
    before, after = map(indexed, CHANGES[name])
    run(settings, before, USERS)
    oid = query("SELECT CAST(CAST('goods' AS regclass) AS oid)")
    done = rebuild(settings, after, USERS)
    assert query(f"SELECT CAST(CAST('{after.table}' AS regclass) AS oid)") == oid
    fresh = fresh_database()
    run(fresh, after, USERS)
    expected = state(fresh, after.table)
    # The next run reads the objects that go to another dataset.
    moved = {name: expected[name] for name in ("objects", "problems")}
    assert state(settings, after.table) | moved == expected
    assert (
        done.report.dataset_counts["goods"].live
        == query(f"SELECT count(*) FROM {after.table}")[0][0]
    )
    counts = DataManager(settings, datasets=(after, USERS)).run(Trigger.CLI).dataset_counts["goods"]
    assert (counts.rows_read, counts.changed) == (0, 0)
    assert state(settings, after.table) == expected


# -- what others made of the tables


NARROW = with_fields(Field(name="price", type=FieldType.NUMBER, sql="numeric(5,2)"))
FEWER = indexed(without("code"))


@pytest.fixture
def execute(engine: Engine) -> Callable[..., None]:
    def run_all(*statements: str) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL search_path = public")
            for one in statements:
                connection.exec_driver_sql(one)

    return run_all


Execute = Callable[..., None]


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize("changed", [NARROW, FEWER], ids=["retyped", "dropped"])
def test_views_grants_indexes_triggers_and_comments_survive(
    settings: Settings, query: Query, execute: Execute, changed: Dataset
):
    run(settings, GOODS, USERS)
    execute(
        "CREATE VIEW states AS SELECT id, state FROM goods",
        "GRANT SELECT ON goods TO PUBLIC",
        "GRANT UPDATE (state) ON goods TO PUBLIC",
        "CREATE INDEX theirs ON goods (price, state)",
        "ALTER TABLE goods ADD CONSTRAINT cheap CHECK (price < 900)",
        "COMMENT ON TABLE goods IS 'all goods'",
        "ALTER TABLE goods ADD COLUMN remark text DEFAULT 'none'",
        'CREATE TABLE sales (id text COLLATE "C" REFERENCES goods)',
        "INSERT INTO sales VALUES ('a')",
        "ALTER TABLE goods_retired SET (fillfactor = 50)",
    )
    kept = (
        "SELECT relacl::text, obj_description(pg_class.oid), indexdef, conname, attacl::text,"
        " remark FROM pg_class, pg_indexes, pg_constraint, pg_attribute, goods"
        " WHERE pg_class.oid = 'goods'::regclass AND indexname = 'theirs' AND contype = 'c'"
        " AND conrelid = pg_class.oid AND attrelid = pg_class.oid AND attname = 'state'"
    )
    before = query(kept)
    assert len(before) == 5
    rebuild(settings, changed, USERS)
    assert query(kept) == before
    assert len(query("SELECT * FROM states")) == 5
    assert query("SELECT reloptions FROM pg_class WHERE relname = 'goods_retired'") == [
        (["fillfactor=50"],)
    ]
    assert query("SELECT count(*) FROM pg_constraint WHERE confrelid = 'goods'::regclass") == [(1,)]


FUNCTION = "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
KEPT = {
    "nothing of others": (True, []),
    "a view and a check": (
        True,
        [
            "CREATE VIEW states AS SELECT id, state FROM goods",
            "ALTER TABLE goods ADD CHECK (price < 900)",
        ],
    ),
    "a column": (False, ["ALTER TABLE goods ADD COLUMN remark text DEFAULT 'none'"]),
    "a foreign key": (
        False,
        [
            'CREATE TABLE sales (id text COLLATE "C" REFERENCES goods ON DELETE CASCADE)',
            "INSERT INTO sales VALUES ('a')",
        ],
    ),
    "a trigger": (
        False,
        [
            f"CREATE TRIGGER theirs BEFORE UPDATE ON goods {FUNCTION}",
        ],
    ),
    "a table that inherits": (False, ["CREATE TABLE heirs () INHERITS (goods)"]),
}


@pytest.mark.usefixtures("objects")
@pytest.mark.store(PRECISE_TIMES)
@pytest.mark.parametrize("name", KEPT)
def test_a_table_whose_rows_change_is_emptied_if_others_lose_nothing(
    settings: Settings, query: Query, execute: Execute, engine: Engine, name: str
):
    is_emptied, made = KEPT[name]
    run(settings, GOODS, USERS)
    (last,) = query("SELECT _run_id FROM goods WHERE id = 'b'")
    execute(*made, "UPDATE goods SET price = price + 1 WHERE id <> 'b'")
    seen: list[str] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def note(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if connection.engine is not engine:
            seen.append(statement)

    try:
        done = rebuild(settings, NARROW, USERS)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    emptied = [one for one in seen if one.startswith("TRUNCATE") and '"public"."goods"' in one]
    assert bool(emptied) == is_emptied
    assert done.report.dataset_counts["goods"].updated == 4
    assert query("SELECT id, price FROM goods ORDER BY 1") == [
        ("a", 7),
        ("b", 2),
        ("c", 3),
        ("d", Decimal("3.25")),
        ("e", 8),
    ]
    assert query("SELECT _run_id FROM goods WHERE id = 'b'") == [last]
    if name == "a column":
        assert query("SELECT DISTINCT remark FROM goods") == [("none",)]
    if name == "a foreign key":
        assert query("SELECT id FROM sales") == [("a",)]


DEPENDENTS = {
    "a view of a column that goes": (
        FEWER,
        "CREATE VIEW codes AS SELECT code FROM goods",
        "DROP VIEW public.codes;",
    ),
    "a view of a column of another type": (
        NARROW,
        "CREATE MATERIALIZED VIEW prices AS SELECT sum(price) AS total FROM goods",
        "DROP MATERIALIZED VIEW public.prices;",
    ),
    "a view of retired rows": (
        NARROW,
        "CREATE VIEW old_prices AS SELECT price FROM goods_retired",
        "DROP VIEW public.old_prices;",
    ),
    "an index of a column that goes": (
        FEWER,
        "CREATE INDEX theirs ON goods (code, state)",
        "DROP INDEX public.theirs;",
    ),
    "a foreign key to another key": (
        indexed(replace(GOODS, primary_key=("id", "state"))),
        "CREATE TABLE sales (id text REFERENCES goods)",
        "ALTER TABLE public.sales DROP CONSTRAINT sales_id_fkey;",
    ),
    "a policy": (
        FEWER,
        "CREATE POLICY theirs ON goods USING (code <> 'x')",
        "DROP POLICY theirs ON public.goods;",
    ),
    "a trigger of a column": (
        NARROW,
        f"CREATE TRIGGER theirs BEFORE UPDATE OF price ON goods {FUNCTION}",
        "DROP TRIGGER theirs ON public.goods;",
    ),
    "a view of shadowed rows that will be none": (
        replace(GOODS, primary_key=()),
        "CREATE VIEW losers AS SELECT id FROM goods_shadowed",
        "DROP VIEW public.losers;",
    ),
}


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize("name", DEPENDENTS)
def test_what_depends_on_changed_columns_is_listed_and_must_go_first(
    settings: Settings, query: Query, execute: Execute, name: str
):
    changed, made, dropped = DEPENDENTS[name]
    run(settings, GOODS, USERS)
    execute(made)
    before = query("SELECT CAST(goods AS text) FROM goods ORDER BY 1")
    with pytest.raises(ConfigurationError, match="Other objects depend on") as caught:
        rebuild(settings, changed, USERS)
    assert dropped in caught.value.hint.splitlines()
    assert query("SELECT CAST(goods AS text) FROM goods ORDER BY 1") == before
    execute(*(one for one in caught.value.hint.splitlines()[1:] if not one.startswith("--")))
    found = rebuild(settings, changed, USERS).report.dataset_counts["goods"]
    assert found.live == (5 if changed.primary_key else 6)


@pytest.mark.store(PRECISE_TIMES)
@pytest.mark.usefixtures("objects")
def test_a_table_that_had_too_many_columns_is_replaced(
    settings: Settings, query: Query, execute: Execute
):
    """PostgreSQL counts the columns that were dropped; nothing but a new table has room."""
    run(settings, GOODS, USERS)
    numbers = range(
        1_599  # and another one, which stays
        - len(
            query(
                "SELECT attnum FROM pg_attribute WHERE attrelid = 'goods'::regclass AND attnum > 0"
            )
        )
    )
    added = ", ".join(f"ADD COLUMN c{number} int" for number in numbers)
    execute(
        f"ALTER TABLE goods {added}",
        "ALTER TABLE goods " + added.replace("ADD", "DROP").replace(" int", ""),
        "ALTER TABLE goods ADD COLUMN remark text",
        "GRANT SELECT ON goods TO PUBLIC",
        "GRANT UPDATE (state) ON goods TO PUBLIC",
        "COMMENT ON COLUMN goods.state IS 'of the goods'",
        "COMMENT ON TABLE goods IS 'all goods'",
        "ALTER TABLE goods SET (fillfactor = 70)",
        "CREATE VIEW states AS SELECT state FROM goods",
        "CREATE INDEX theirs ON goods (state)",
        f"CREATE TRIGGER theirs BEFORE UPDATE ON goods {FUNCTION}",
        "CREATE PUBLICATION goods_only FOR TABLE goods",
    )
    oid = query("SELECT 'goods'::regclass::oid")
    changed = with_fields(
        Field(name="color", constraints=Constraints()),
        Field(name="born", type=FieldType.EPOCH_MS, constraints=Constraints()),
    )
    with pytest.raises(DatasetsFailed, match="as many as PostgreSQL allows"):
        run(settings, changed, USERS)
    with pytest.raises(ConfigurationError) as caught:
        rebuild(settings, changed, USERS)
    statements = [one for one in caught.value.hint.splitlines()[1:] if not one.startswith("--")]
    assert sorted(statements) == [
        "ALTER PUBLICATION goods_only DROP TABLE public.goods;",
        'ALTER TABLE "public"."goods" DROP COLUMN "remark";',
        "DROP INDEX public.theirs;",
        "DROP TRIGGER theirs ON public.goods;",
        "DROP VIEW public.states;",
    ]
    execute(*statements)
    rebuild(settings, changed, USERS)
    assert query("SELECT 'goods'::regclass::oid") != oid
    assert query(
        "SELECT max(attnum) < 20 FROM pg_attribute WHERE attrelid = 'goods'::regclass"
    ) == [(True,)]
    assert query(
        "SELECT relacl::text LIKE '%=r/%', obj_description(oid), reloptions, attacl IS NOT NULL,"
        " col_description(oid, attnum) FROM pg_class JOIN pg_attribute ON attrelid = oid"
        " WHERE oid = 'goods'::regclass AND attname = 'state'"
    ) == [(True, "all goods", ["fillfactor=70"], True, "of the goods")]
    assert query("SELECT id, color FROM goods WHERE color IS NOT NULL ORDER BY 1") == [
        ("a", "red"),
        ("c", "red"),
        ("d", "blue"),
        ("e", "red"),
    ]
    run(settings, changed, USERS)


# -- retired rows


def test_retired_rows_keep_what_fits(objects: TestBucket, settings: Settings, query: Query):
    run(settings, GOODS, USERS)
    objects.put("goods/b/2.csv", "id,code,price,state\nc,56,3,new\n")
    objects.put("goods/c/3.csv", "id,code,price,state\n")
    run(settings, GOODS, USERS)
    changed = with_fields(
        Field(name="code", type=FieldType.INTEGER),
        Field(name="price", type=FieldType.NUMBER, sql="numeric(3,0)"),
    )
    objects.put("goods/a/1.csv", "id,code,price,state\na,1234,1,new\nb,,2,old\n")
    done = rebuild(settings, changed, USERS)
    assert done.notes[-2:] == [
        "The value of code becomes null in 1 retired row, because it does not fit the new type.",
        "The value of price becomes null in 1 retired row, because it does not fit the new type.",
    ]
    assert query("SELECT id, code, price FROM goods_retired ORDER BY 1") == [
        ("d", None, None),
        ("e", 7, 8),
    ]


def test_retired_rows_follow_to_a_new_key(objects: TestBucket, settings: Settings, query: Query):
    """If they have it, and no live row or newer retired row has the same."""
    run(settings, GOODS, USERS)
    for content in ("id,code,state\nx,1,old\ny,2,gone\nz,,lost\n", "id,state\n"):
        objects.put("goods/d/4.csv", content)
        run(settings, GOODS, USERS)
    objects.put("goods/d/4.csv", "id,code,state\nw,2,gone\n")
    run(settings, GOODS, USERS)
    objects.remove("goods/d/4.csv")
    run(settings, GOODS, USERS)
    assert query("SELECT count(*) FROM goods_retired") == [(4,)]
    done = rebuild(
        settings,
        replace(with_fields(Field(name="code", constraints=REQUIRED)), primary_key=("code",)),
        USERS,
    )
    assert "drops 2 retired rows" in done.notes[-1]
    assert query("SELECT code, id FROM goods_retired ORDER BY 1") == [("1", "x"), ("2", "w")]


# -- permission


def many(count: int) -> str:
    return "id,state\n" + "".join(f"g{number},s{number % 4}\n" for number in range(count))


STATES = replace(indexed(without("code")), primary_key=("state",))


@pytest.mark.parametrize(
    ("changed", "left"), [(STATES, 4), (replace(GOODS, include=("nothing/*.csv",)), 0)]
)
def test_most_rows_are_not_retired_without_permission(
    bucket: TestBucket, settings: Settings, query: Query, changed: Dataset, left: int
):
    bucket.put("goods/1.csv", many(300))
    run(settings, GOODS, USERS)
    everything = "SELECT CAST(goods AS text) FROM goods UNION ALL SELECT CAST(dataset AS text)"
    before = query(f"{everything} FROM dataset ORDER BY 1")
    with pytest.raises(RebuildRefused, match=f"of 300 rows and leave {left}") as caught:
        rebuild(settings, changed, USERS)
    assert "--rebuild goods --allow-mass-retirement goods`" in caught.value.hint
    assert query(f"{everything} FROM dataset ORDER BY 1") == before
    assert query("SELECT count(*) FROM hold") == [(0,)]
    assert query("SELECT state FROM run ORDER BY id DESC LIMIT 1") == [("failed",)]
    done = rebuild(settings, changed, USERS, allowed=True)
    assert done.report.dataset_counts["goods"].live == left
    assert query("SELECT count(*) FROM goods") == [(left,)]


def test_an_open_hold_refuses_a_rebuild_that_retires_rows(
    bucket: TestBucket, settings: Settings, query: Query
):
    bucket.put("goods/1.csv", many(300))
    bucket.put("goods/2.csv", "id,state\nx,new\n")
    run(settings, GOODS, USERS)
    bucket.remove("goods/1.csv")
    run(settings, GOODS, USERS)
    assert query("SELECT count(*) FROM hold") == [(1,)]
    with pytest.raises(RebuildRefused, match="would retire 300 of 301 rows"):
        rebuild(settings, FEWER, USERS)
    assert query("SELECT rows FROM hold") == [(300,)]
    bucket.put("goods/1.csv", many(300))
    assert rebuild(settings, FEWER, USERS).report.dataset_counts["goods"].live == 301
    assert query("SELECT count(*) FROM hold") == query("SELECT count(*) FROM held_object") == [(0,)]


# -- other sessions and processes


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.db.table_locks.PATIENCE", Patience(0.05, 2, 0.05))


@pytest.mark.usefixtures("objects", "impatient")
def test_a_session_that_keeps_a_table_is_named_and_nothing_changes(
    settings: Settings, engine: Engine, query: Query
):
    run(settings, GOODS, USERS)
    before = state(settings, "goods")
    with engine.connect() as reader:
        reader.execute(text("SET application_name = 'a long report'"))
        reader.execute(text("SELECT count(*) FROM goods_retired"))
        with pytest.raises(DatasetsFailed, match=r"in use by other .*\(a long report\)") as caught:
            rebuild(settings, NARROW, USERS)
        assert "pg_terminate_backend" in caught.value.hint
        assert query("SELECT count(*) FROM goods") == [(5,)]  # readers do not wait
    assert state(settings, "goods") == before
    rebuild(settings, NARROW, USERS)
    assert query("SELECT max(price) FROM goods") == [(8,)]


@pytest.mark.usefixtures("objects")
def test_readers_see_the_old_table_and_declaration_until_the_rebuild_commits(
    settings: Settings, engine: Engine, query: Query
):
    """Also while it writes the rows, because only then a dropped column needs a lock."""
    run(settings, GOODS, USERS)
    seen: list[list[tuple[Any, ...]]] = []
    installed = "SELECT declaration->'fields'->1->>'name' FROM dataset WHERE name = 'goods'"

    def look(*_: object) -> None:
        with engine.connect() as reader:
            reader.execute(text("SET lock_timeout = '1s'"))
            questions = ("SELECT count(code) FROM goods", installed)
            seen.extend([tuple(row) for row in reader.execute(text(one))] for one in questions)

    @event.listens_for(Engine, "after_cursor_execute")
    def look_at_last(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        is_last = statement.startswith('UPDATE "public"."goods"')
        if connection.engine is not engine and (is_last or "TABLE upserts" in statement):
            look()

    try:
        DataManager(settings, datasets=(FEWER, USERS), progress=look).rebuild("goods")
    finally:
        event.remove(Engine, "after_cursor_execute", look_at_last)
    assert len(seen) >= 6
    assert seen == [[(4,)], [("code",)]] * (len(seen) // 2)
    assert query(installed) == [("price",)]


@pytest.mark.usefixtures("objects")
def test_other_runs_are_refused_while_a_dataset_is_rebuilt(settings: Settings):
    run(settings, GOODS, USERS)
    refused: list[str] = []

    def other_run(step: str, _done: int) -> None:
        if step == "read":
            for make in (
                lambda: DataManager(settings).run(Trigger.INTERVAL),
                lambda: DataManager(settings).run_events(),
                lambda: DataManager(settings, datasets=(NARROW, USERS)).rebuild("goods"),
            ):
                with pytest.raises(RunAlreadyActive) as caught:
                    make()
                refused.append(caught.value.message)

    manager = DataManager(settings, datasets=(FEWER, USERS), progress=other_run)
    assert manager.rebuild("goods").report.state is RunState.SUCCEEDED
    assert len(refused) >= 3


def test_a_process_with_the_former_file_runs_on_what_was_rebuilt(
    objects: TestBucket, settings: Settings, query: Query
):
    """It has installed its file already, as a scheduler does when it starts."""
    other = DataManager(settings, datasets=(GOODS, USERS))
    other.run(Trigger.INTERVAL)
    rebuild(settings, FEWER, USERS)
    objects.put("goods/d/4.csv", "id,code,state\nz,1,new\n")
    assert other.run(Trigger.INTERVAL).dataset_counts["goods"].inserted == 1
    assert query("SELECT _extra FROM goods WHERE id = 'z'") == [({"code": "1"},)]


def test_a_process_with_the_new_file_runs_on_after_the_rebuild(
    objects: TestBucket, settings: Settings
):
    run(settings, GOODS, USERS)
    scheduler = DataManager(settings, datasets=(FEWER, USERS))
    with pytest.raises(DatasetsFailed, match="needs a rebuild") as caught:
        scheduler.run(Trigger.INTERVAL)
    assert "`./run.sh datasets apply --rebuild goods`" in caught.value.hint
    rebuild(settings, FEWER, USERS)
    objects.put("goods/d/4.csv", "id,state\nz,new\n")
    assert scheduler.run(Trigger.INTERVAL).dataset_counts["goods"].inserted == 1


@pytest.mark.usefixtures("objects")
def test_events_wait_for_the_full_run_that_follows(settings: Settings, query: Query):
    """Objects that go from another dataset to the rebuilt one are read by that run."""
    run(settings, GOODS, USERS)
    rebuild(settings, FEWER, USERS)
    manager = DataManager(settings)
    assert manager.run_events() is None
    assert query("SELECT count(*) FROM run WHERE state = 'requested'") == [(1,)]
    manager.run_requested()
    assert manager.run_events() is None
    assert query("SELECT count(*) FROM run WHERE state = 'requested'") == [(0,)]


def test_an_object_that_cannot_be_read_stops_the_rebuild(
    objects: TestBucket, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """Its rows would be lost, because the old ones do not have the new columns."""
    run(settings, GOODS, USERS)
    before = state(settings, "goods")
    fetch = ObjectStore.fetch

    def deny(store: ObjectStore, bucket: str, source: SourceObject) -> bytes:
        if source.key == "goods/b/2.csv":
            raise UnreadableObject("Access is denied.")
        return fetch(store, bucket, source)

    monkeypatch.setattr(ObjectStore, "fetch", deny)
    with pytest.raises(DatasetRefused, match=r"'goods/b/2[.]csv'"):
        rebuild(settings, FEWER, USERS)
    assert state(settings, "goods") == before
    objects.remove("goods/b/2.csv")
    assert rebuild(settings, FEWER, USERS).report.dataset_counts["goods"].retired == 2


@pytest.mark.store(PRECISE_TIMES)
@pytest.mark.usefixtures("objects")
def test_a_request_that_finds_other_columns_can_be_repeated(
    settings: Settings, client: FlaskClient, execute: Execute
):
    """As one does that began before a rebuild and waited for its lock."""
    run(settings, GOODS, USERS)
    execute("ALTER TABLE goods RENAME price TO cost")
    refused = client.get("/datasets/goods/rows")
    assert refused.status_code == 503
    assert "rebuilt" in refused.get_json()["hint"]
    rebuild(settings, GOODS, USERS)
    rows = client.get("/datasets/goods/rows").get_json()
    assert [row["price"] for row in rows] == [7, 2, 3, 3.25, 8]


@pytest.mark.usefixtures("objects")
def test_a_dataset_that_waits_for_a_rebuild_has_attention(settings: Settings, client: FlaskClient):
    run(settings, GOODS, USERS)
    with pytest.raises(DatasetsFailed):
        run(settings, FEWER, USERS)
    (item,) = client.get("/health").get_json()["attention"]
    assert (item["kind"], item["dataset"]) == ("dataset-failed", "goods")
    assert "needs a rebuild: The column code is no longer declared." in item["message"]
    assert "`./run.sh datasets apply --rebuild goods`" in item["hint"]
    rebuild(settings, FEWER, USERS)
    assert client.get("/health").get_json()["attention"] == []


# -- datasets that are not installed as they were


@pytest.mark.usefixtures("objects")
def test_a_table_of_an_earlier_declaration_is_rebuilt(
    settings: Settings, execute: Execute, fresh_database: Callable[[], Settings]
):
    """A column that the table of retired rows lacks is another client's: it stays."""
    changed = replace(FEWER, primary_key=("id", "state"))
    run(settings, GOODS, USERS)
    execute("ALTER TABLE goods ADD COLUMN remark text")
    run(settings, USERS)
    with pytest.raises(DatasetsFailed, match="does not match its declaration"):
        run(settings, changed, USERS)
    done = rebuild(settings, changed, USERS)
    assert done.notes[-1].endswith("which stay as they were: remark.")
    execute("ALTER TABLE goods DROP COLUMN remark")
    run(settings, changed, USERS)
    fresh = fresh_database()
    run(fresh, changed, USERS)
    assert state(settings, "goods") == state(fresh, "goods")


def test_dropped_tables_are_created_again(
    objects: TestBucket, settings: Settings, query: Query, execute: Execute
):
    run(settings, GOODS, USERS)
    execute("DROP TABLE goods, goods_retired")
    objects.put("goods/a/1.csv", "id,code,price,state\nb,,2,old\n")
    with pytest.raises(DatasetsFailed) as caught:
        DataManager(settings).run(Trigger.CLI)
    assert "`./run.sh datasets apply --rebuild goods`" in caught.value.hint
    assert rebuild(settings, GOODS, USERS).report.dataset_counts["goods"].inserted == 5
    assert query("SELECT count(*) FROM goods_retired") == [(0,)]


def test_users_are_rebuilt_with_other_patterns(
    bucket: TestBucket, settings: Settings, fresh_database: Callable[[], Settings]
):
    for number in range(4):
        bucket.user(f"{number}.csv")
        bucket.put(f"{number}.png", "x")
    bucket.user("old/9.csv")
    run(settings, USERS)
    changed = replace(USERS, exclude=("old/**",), on_removed=OnRemoved.DELETE, publish=())
    assert rebuild(settings, changed).report.counts.users_live == 4
    run(settings, changed)
    fresh = fresh_database()
    run(fresh, changed)
    assert state(settings, "users") == state(fresh, "users")


@pytest.mark.usefixtures("objects")
def test_what_cannot_be_rebuilt_is_refused(settings: Settings):
    run(settings, GOODS, replace(GOODS, name="wares", table="wares", include=("w/*",)), USERS)
    with pytest.raises(ConfigurationError, match="is paused"):
        rebuild(settings, replace(FEWER, is_paused=True), USERS)
    with pytest.raises(ConfigurationError, match="no dataset 'nothing'"):
        DataManager(settings, datasets=(GOODS, USERS)).rebuild("nothing")
    with pytest.raises(ConfigurationError, match="wares has the rows of an earlier declaration"):
        rebuild(settings, replace(GOODS, table="wares"), USERS)


@pytest.mark.store(PRECISE_TIMES)
@pytest.mark.usefixtures("objects")
def test_columns_left_by_an_earlier_declaration_are_dropped(settings: Settings, query: Query):
    """The dataset was not declared for some time."""
    run(settings, replace(GOODS, unknown_columns=UnknownColumns.ADD), USERS)
    assert query("SELECT count(price), count(color) FROM goods") == [(5, 4)]
    run(settings, USERS)
    rebuild(settings, indexed(without("price")), USERS)
    columns = "SELECT attname FROM pg_attribute WHERE attrelid = 'goods'::regclass"
    left = {name for (name,) in query(f"{columns} AND NOT attisdropped")}
    assert left.isdisjoint({"price", "color"})
