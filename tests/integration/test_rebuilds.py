"""Rebuilds of datasets whose declaration changed so that their tables cannot be altered in passing."""

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
from etl.model.errors import ConfigurationError, DatasetsFailed, RebuildRefused
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.sync.rebuild import Rebuilt
from tests.conftest import TestBucket
from tests.integration.test_changed_declarations import GOODS, REFUSED, Query, with_fields, without

REQUIRED = Constraints(required=True)
DERIVED = Derived(name="day", source="born", computed_as=DerivedAs.DATE)
PHOTO = Attachment(column="photo", match="photos/{id}.png")
# By name, the former declaration and the new one.
CHANGES: dict[str, tuple[Dataset, Dataset]] = {
    **{name: (GOODS, changed) for name, (changed, _) in REFUSED.items()},
    "no change": (GOODS, GOODS),
    "a text that becomes a number": (
        GOODS,
        with_fields(Field(name="code", type=FieldType.INTEGER)),
    ),
    "a number that becomes a text": (
        GOODS,
        with_fields(Field(name="price", sql="varchar(9)")),
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
    "a derived column less": (replace(GOODS, derived=(DERIVED,)), GOODS),
    "a derived column whose source has gone": (
        replace(GOODS, derived=(DERIVED,)),
        without("born"),
    ),
    "an attachment less": (replace(GOODS, attachments=(PHOTO,)), GOODS),
    "another attachment": (
        replace(GOODS, attachments=(PHOTO,)),
        replace(GOODS, attachments=(replace(PHOTO, column="image"),)),
    ),
    "columns of the data less": (
        replace(GOODS, unknown_columns=UnknownColumns.ADD),
        without("code"),
    ),
    "columns of the data again": (
        replace(GOODS, unknown_columns=UnknownColumns.ADD),
        replace(without("price"), unknown_columns=UnknownColumns.ADD),
    ),
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


@pytest.fixture
def query(engine: Engine) -> Query:
    def ask(statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), parameters)]

    return ask


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
        tables = [table, *([f"{table}_shadowed"] if _has(connection, f"{table}_shadowed") else [])]
        for name in tables:
            queries[name] = (
                f"SELECT to_jsonb(t) - CAST('{VOLATILE}' AS text[]) FROM public.{name} t"
            )
        found = {
            name: sorted(str(tuple(row)) for row in connection.execute(text(one)))
            for name, one in queries.items()
        }
    engine.dispose()
    return found


def _has(connection: Any, table: str) -> bool:
    return connection.scalar(text(f"SELECT to_regclass('public.{table}')")) is not None


@pytest.mark.parametrize("name", CHANGES)
def test_a_rebuilt_dataset_equals_a_new_one(
    objects: TestBucket,
    settings: Settings,
    query: Query,
    fresh_database: Callable[[], Settings],
    *,
    name: str,
):
    """In the file of the table, but for what it retired."""
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
    run(settings, after, USERS)
    assert state(settings, after.table) == expected
    counts = DataManager(settings).run(Trigger.CLI).dataset_counts["goods"]
    assert (counts.rows_read, counts.changed) == (0, 0)
