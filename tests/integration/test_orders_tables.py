"""Orders from the bucket to their table: exact values, and no row of a refused object."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from etl.model.dataset import USERS, Dataset, Field, UnknownColumns
from etl.model.values import RunState, Trigger
from etl.read import pieces
from etl.settings import Settings
from etl.sync import batch
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket
from tests.orders_data import ORDERS, orders_file
from tests.planted import PlantedFile

FREE = Dataset(
    name="free",
    table="free",
    include=("free/*.csv",),
    fields=(Field(name="a"),),
    unknown_columns=UnknownColumns.ADD,
)


@pytest.fixture(params=[False, True], ids=["whole", "in parts"])
def manager(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> DataManager:
    if request.param:
        monkeypatch.setattr(batch, "MAX_BYTES", 1)
        monkeypatch.setattr(pieces, "PIECE_BYTES", 2_000)
    return DataManager(settings, datasets=(ORDERS, FREE, USERS))


def stored(engine: Engine) -> dict[int, tuple[object, ...]]:
    """The orders in the table by line."""
    statement = (
        "SELECT _source_line, order_id, user_id, amount, status, updated_at AT TIME ZONE 'UTC'"
        " FROM orders ORDER BY 1"
    )
    with engine.connect() as connection:
        return {line: tuple(values) for line, *values in connection.execute(text(statement))}


def expected(made: PlantedFile) -> dict[int, tuple[object, ...]]:
    return {
        line: (*values[:4], values[4] and values[4].replace(tzinfo=None))
        for line, values in made.rows.items()
    }


def problems(engine: Engine) -> set[tuple[int | None, str | None, str]]:
    with engine.connect() as connection:
        found = connection.execute(text('SELECT line, "column", code FROM problem'))
        return {(row.line, row.column, row.code) for row in found}


def test_orders_reach_their_table_exactly(manager: DataManager, bucket: TestBucket, engine: Engine):
    made = orders_file(600, fault_every=12)
    bucket.put("orders/1.csv", made.content)
    report = manager.run(Trigger.CLI)
    assert report.state is RunState.SUCCEEDED
    assert stored(engine) == expected(made)
    assert problems(engine) == made.problems


def test_an_object_with_too_many_faults_leaves_no_row(
    manager: DataManager, bucket: TestBucket, engine: Engine
):
    good, bad = orders_file(20), orders_file(60, fault_every=6)
    bucket.put("orders/1.csv", good.content)
    manager.run(Trigger.CLI)
    bucket.put("orders/1.csv", bad.content)
    bucket.put("orders/2.csv", good.content)
    manager.run(Trigger.CLI)
    assert stored(engine) == expected(good)
    assert problems(engine) == good.problems | bad.problems | {(None, None, "too-many-faults")}


def test_a_renamed_column_is_a_warning_until_its_file_is_replaced(
    manager: DataManager, bucket: TestBucket, engine: Engine, settings: Settings
):
    made = orders_file(20)
    bucket.put("orders/1.csv", made.content.replace(b"updated_at", b"changed_at", 1))
    report = manager.run(Trigger.CLI)
    assert (report.counts.objects_quarantined, report.counts.rows_loaded) == (0, 20)
    assert problems(engine) == {(None, None, "declared-column-absent")}
    assert {values[4] for values in stored(engine).values()} == {None}
    datasets = (ORDERS, FREE, USERS)
    assert list(verify(settings, engine, datasets=datasets)) == []
    bucket.put("orders/1.csv", made.content)
    manager.run(Trigger.CLI)
    assert stored(engine) == expected(made)
    assert list(verify(settings, engine, datasets=datasets)) == []


def test_new_columns_reach_the_table(manager: DataManager, bucket: TestBucket, engine: Engine):
    bucket.put("free/1.csv", 'a,City,"say ""x"": %s"\n1,Rome,y\n')
    bucket.put("free/2.csv", "a,city,Size\n2,Oslo,\n")
    manager.run(Trigger.CLI)
    with engine.connect() as connection:
        rows = connection.execute(
            text('SELECT a, city, "say ""x""\\: %s", size, _extra FROM free ORDER BY a')
        ).all()
    assert [tuple(row) for row in rows] == [
        ("1", "Rome", "y", None, None),
        ("2", "Oslo", None, None, None),
    ]
