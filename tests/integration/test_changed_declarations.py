"""Changed declarations of datasets with rows: made in place, or refused with what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from etl.db.engine import connect
from etl.model.dataset import (
    USERS,
    Attachment,
    Constraints,
    Dataset,
    Derived,
    DerivedAs,
    Field,
    FieldType,
    UnknownColumns,
)
from etl.model.errors import DatasetsFailed
from etl.model.values import RunReport, Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.verify import Difference, verify
from tests.conftest import TestBucket
from tests.integration.conftest import Query

REQUIRED = Constraints(required=True)
ID = Field(name="id", constraints=REQUIRED)
SHORT = Field(name="code", sql="varchar(4)")
PRICE = Field(name="price", type=FieldType.NUMBER, sql="numeric(6,2)")
STATE = Field(name="state", constraints=REQUIRED)
BORN = Field(name="born", type=FieldType.EPOCH_MS)
GOODS = Dataset(
    name="goods",
    table="goods",
    include=("goods/**/*.csv",),
    primary_key=("id",),
    fields=(ID, SHORT, PRICE, STATE, BORN),
    indexes=(("code",),),
)
CATALOG = {
    "columns": "SELECT attname, format_type(atttypid, atttypmod), attnotnull, attgenerated,"
    " attcollation FROM pg_attribute WHERE attrelid = CAST(:table AS regclass)"
    " AND attnum > 0 AND NOT attisdropped ORDER BY 1",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname || '.' || tablename = :table"
    " ORDER BY 1",
}
FILE = "SELECT CAST(oid AS bigint), relfilenode FROM pg_class WHERE oid = 'public.goods'::regclass"
TABLES = ("public.goods", "public.goods_retired", "public.goods_shadowed")


def with_fields(*fields: Field) -> Dataset:
    """The goods with these fields, which replace those of the same name, or are new."""
    known = {one.name: one for one in GOODS.fields} | {one.name: one for one in fields}
    return replace(GOODS, fields=tuple(known.values()))


def without(name: str) -> Dataset:
    return replace(GOODS, fields=tuple(one for one in GOODS.fields if one.name != name))


# By name, the change and a row that it lets in.
IN_PLACE = {
    "a new column": (with_fields(Field(name="color")), "id,state,color\nnew,x,red\n"),
    "a new column of the path": (
        replace(GOODS, path_columns="goods/{shop}/**"),
        "id,state\nnew,x\n",
    ),
    "a new attachment": (
        replace(GOODS, attachments=(Attachment(column="photo", match="photos/{id}.png"),)),
        "id,state\nnew,x\n",
    ),
    "another index": (replace(GOODS, indexes=(("code",), ("price", "id"))), "id,state\nnew,x\n"),
    "an index of times": (
        replace(GOODS, indexes=(("code",), ("_updated_at",))),
        "id,state\nnew,x\n",
    ),
    "no index": (replace(GOODS, indexes=()), "id,state\nnew,x\n"),
    "a column that may be null": (
        with_fields(replace(STATE, constraints=Constraints())),
        "id\nnew\n",
    ),
    "a longer text": (
        with_fields(replace(SHORT, sql="varchar(9)")),
        "id,state,code\nnew,x,123456789\n",
    ),
    "any text": (with_fields(replace(SHORT, sql=None)), "id,state,code\nnew,x,1234567890\n"),
    "more digits": (
        with_fields(replace(PRICE, sql="numeric(8,2)")),
        "id,state,price\nnew,x,123456.78\n",
    ),
    "any digits": (
        with_fields(replace(PRICE, sql="numeric")),
        "id,state,price\nnew,x,123456.789\n",
    ),
}
REFUSED = {
    "a field less": (without("code"), "The column code is no longer declared."),
    "another type": (
        with_fields(replace(PRICE, sql="double precision")),
        "The type of price is double precision instead of numeric(6,2).",
    ),
    "a rewrite": (
        with_fields(replace(PRICE, sql="numeric(8,3)")),
        "The type of price is numeric(8,3) instead of numeric(6,2).",
    ),
    "a shorter text": (
        with_fields(replace(SHORT, sql="varchar(2)")),
        "The type of code is varchar(2) instead of varchar(4).",
    ),
    "a required field": (
        with_fields(replace(SHORT, constraints=REQUIRED)),
        "The column code is required, and stored rows may lack it.",
    ),
    "a new required field": (
        with_fields(Field(name="color", constraints=REQUIRED)),
        "The new column color is required, and stored rows lack it.",
    ),
    "a derived column": (
        replace(GOODS, derived=(Derived(name="day", source="born", computed_as=DerivedAs.DATE),)),
        "The new column day is computed for all stored rows.",
    ),
    "another key": (replace(GOODS, primary_key=("id", "state")), "The primary key of goods is"),
    "no key": (replace(GOODS, primary_key=()), "The primary key of goods is none instead of id."),
    "another table": (
        replace(GOODS, table="wares"),
        "The table of goods is wares instead of goods.",
    ),
}

Run = Callable[..., RunReport]
Verified = Callable[..., list[Difference]]


@pytest.fixture
def verified(settings: Settings, engine: Engine) -> Verified:
    return lambda *datasets: verify(settings, engine, datasets=datasets)


@pytest.fixture
def run(settings: Settings) -> Run:
    def make(*datasets: Dataset) -> RunReport:
        return DataManager(settings, datasets=datasets).run(Trigger.CLI)

    return make


@pytest.fixture
def goods(bucket: TestBucket, run: Run) -> TestBucket:
    """A bucket with goods and users that a run has loaded."""
    bucket.put("goods/a/1.csv", "id,code,price,state\na,1234,1.50,new\nb,,2,old\n")
    bucket.put("goods/b/2.csv", "id,code,price,state\na,5678,3,new\n")
    bucket.user("1.csv")
    run(GOODS, USERS)
    return bucket


def catalog(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return {
            f"{name} of {table}": [
                tuple(row) for row in connection.execute(text(query), {"table": table})
            ]
            for name, query in CATALOG.items()
            for table in TABLES
        }


@pytest.mark.parametrize("name", IN_PLACE)
def test_change_is_made_in_place(  # noqa: PLR0913 - fixtures
    goods: TestBucket,
    run: Run,
    query: Query,
    *,
    engine: Engine,
    fresh_database: Callable[[], Settings],
    name: str,
):
    """As if the table had been made so, but it keeps its file, and with it grants and views."""
    changed, rows = IN_PLACE[name]
    before = query(FILE)
    report = run(changed, USERS)
    assert report.dataset_counts["goods"].live == 2
    assert query(FILE) == before
    goods.put("goods/c/3.csv", rows)
    assert run(changed, USERS).dataset_counts["goods"].inserted == 1
    assert run(changed, USERS).counts.rows_read == 0
    settings = fresh_database()
    DataManager(settings, datasets=(changed, USERS)).run(Trigger.CLI)
    fresh = connect(settings)
    assert catalog(engine) == catalog(fresh)
    fresh.dispose()


ADDING = replace(GOODS, unknown_columns=UnknownColumns.ADD)


def test_a_column_that_data_added_is_empty_when_the_dataset_has_been_gone(
    bucket: TestBucket, run: Run, query: Query, verified: Verified
):
    bucket.put("goods/a/1.csv", "id,state,color\n1,new,red\n")
    run(ADDING, USERS)
    run(USERS)
    run(GOODS, USERS)
    assert verified(GOODS, USERS) == []
    assert query("SELECT color, _extra FROM goods") == [(None, {"color": "red"})]


@pytest.mark.usefixtures("goods")
def test_column_of_an_earlier_declaration_that_is_not_declared_is_refused(run: Run, query: Query):
    """As it is without a run between them; a rebuild drops it."""
    run(USERS)
    with pytest.raises(DatasetsFailed, match="column price is not declared"):
        run(without("price"), USERS)
    assert query("SELECT name FROM dataset") == [("users",)]


# By name, how a column that data added is declared later.
DECLARED_LATER = {
    "a field": (*GOODS.fields, Field(name="color")),
    "a field in another case": (*GOODS.fields, Field(name="Color")),
    "a column of the path": "goods/{color}/**",
    "an attachment": Attachment(column="color", match="photos/{id}.png"),
}


@pytest.mark.parametrize("name", DECLARED_LATER)
def test_a_column_that_data_added_may_be_declared(
    bucket: TestBucket, run: Run, query: Query, verified: Verified, name: str
):
    what = DECLARED_LATER[name]
    changed = {
        str: lambda: replace(ADDING, path_columns=what),
        tuple: lambda: replace(ADDING, fields=what),
        Attachment: lambda: replace(ADDING, attachments=(what,)),
    }[type(what)]()
    bucket.put("goods/a/1.csv", "id,state,color\n1,new,red\n")
    bucket.put("photos/1.png", "x")
    run(ADDING, USERS)
    assert query("SELECT color FROM goods") == [("red",)]
    run(changed, USERS)
    bucket.put("goods/a/2.csv", "id,state,color,size\n2,new,blue,9\n")
    run(changed, USERS)
    assert verified(changed, USERS) == []
    column = '"Color"' if name == "a field in another case" else "color"
    assert [found for (found,) in query(f"SELECT {column} FROM goods ORDER BY id")] == {
        "a column of the path": ["a", "a"],
        "an attachment": [f"{bucket.name}/photos/1.png", None],
    }.get(name, ["red", "blue"])


@pytest.mark.parametrize("name", REFUSED)
def test_change_is_refused_with_what_to_do(goods: TestBucket, run: Run, query: Query, name: str):
    """The dataset stays as it was, and the others are synced."""
    changed, reason = REFUSED[name]
    before, rows = query(FILE), query("SELECT CAST(goods AS text) FROM goods ORDER BY 1")
    goods.user("2.csv")
    goods.put("goods/a/1.csv", "id,state\nother,x\n")
    with pytest.raises(DatasetsFailed) as failed:
        run(changed, USERS)
    assert reason in failed.value.message
    assert failed.value.facts == {"failed": "goods", "committed": "users"}
    assert failed.value.report is not None
    assert failed.value.report.counts.users_inserted == 1
    assert query(FILE) == before
    assert query("SELECT CAST(goods AS text) FROM goods ORDER BY 1") == rows
    assert run(GOODS, USERS).dataset_counts["goods"].inserted == 1


@pytest.mark.usefixtures("goods")
def test_column_of_a_view_is_not_widened_and_the_view_named(engine: Engine, run: Run):
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW codes AS SELECT code FROM goods"))
    longer, _ = IN_PLACE["a longer text"]
    with pytest.raises(DatasetsFailed, match="view codes"):
        run(longer, USERS)
    with engine.begin() as connection:
        connection.execute(text("DROP VIEW codes"))
    assert run(longer, USERS).dataset_counts["goods"].live == 2


def test_table_of_an_earlier_declaration_is_loosened(goods: TestBucket, run: Run):
    run(USERS)
    changed, rows = IN_PLACE["a column that may be null"]
    goods.put("goods/c/3.csv", rows)
    assert run(changed, USERS).dataset_counts["goods"].inserted == 1


@pytest.mark.usefixtures("goods")
def test_column_of_an_earlier_declaration_that_rows_must_have_is_refused(run: Run):
    run(USERS)
    with pytest.raises(DatasetsFailed, match="column state must not be null, but is not declared"):
        run(without("state"), USERS)


def test_index_for_clients_that_follow_changes_comes_and_goes(run: Run, query: Query):
    """Retired rows are found by the time at which they were."""
    followed = replace(GOODS, indexes=(("code",), ("_updated_at",)))
    indexed = "SELECT tablename FROM pg_indexes WHERE indexdef ~ '_(updated|retired)_at' ORDER BY 1"
    run(GOODS)
    assert query(indexed) == []
    run(followed)
    assert query(indexed) == [("goods",), ("goods_retired",)]
    run(GOODS)
    assert query(indexed) == []
