"""The benchmark at its smallest size, on the tests' own servers: every scenario works."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import bare, order_data, reading_data, tools
from bench.loads import check_alike
from bench.scale import QUICK
from bench.scenarios import SCENARIOS
from bench.stack import TEMPLATE, Stack, execute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.settings import Settings

SMALL = replace(
    QUICK,
    tiny_csvs=200,
    tiny_images=100,
    big_rows=1_000,
    glob_csvs=100,
    repeats=1,
    slow_repeats=1,
    idle_seconds=0.2,
    few_objects=20,
    many_objects=80,
    few_rows=100,
    many_rows=400,
    pictures=10,
    event_puts=3,
    burst_puts=20,
    transfer_megabytes=2,
    listed_objects=50,
    kept_runs=600,
    open_problems=300,
    worker_csvs=6_000,
    worker_rows=1_000,
    worker_readings=1_000,
)


@pytest.fixture(scope="module")
def servers(stack: Settings) -> Iterator[Stack]:
    """The servers of the tests, used instead of the benchmark's own."""
    servers = Stack(stack)
    servers.make_template()
    yield servers
    servers.execute(f"DROP DATABASE {TEMPLATE}")


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("big", "transfers") else pytest.param(name, marks=pytest.mark.long)
        for name in SCENARIOS
    ],
)
def test_every_scenario_measures_all_of_its_results(
    name: str, servers: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tools, "PYTHON", tmp_path / "no tools")
    figures = list(SCENARIOS[name].figures(servers, SMALL))
    assert figures
    for item in figures:
        assert item.value is not None or "not installed" in item.note
        if item.baseline and "not installed" not in item.note:
            assert item.baseline_value is not None
            assert item.passed is not None


@pytest.fixture
def database(servers: Stack) -> Iterator[Settings]:
    """An empty database."""
    settings = servers.fresh(servers.bucket("alike"))
    yield settings
    servers.drop(settings)


def test_copied_orders_are_those_of_the_files(database: Settings):
    bare.sorted_copy_of(database, order_data.TABLE, order_data.rows(500), order_data.ZONE)
    found = execute(
        database,
        f"SELECT order_id, amount, updated_at AT TIME ZONE '{order_data.ZONE}', note, _source_line"
        " FROM copied ORDER BY order_id",
    )
    assert found == [
        (row["order_id"], row["amount"], row["updated_at"], row["note"], line)
        for line, row in enumerate(order_data.rows(500).to_pylist(), 2)
    ]


def test_copied_readings_are_those_of_the_files(database: Settings):
    rows = reading_data.rows(500)
    bare.sorted_copy_of(database, reading_data.TABLE, rows)
    found = execute(
        database, "SELECT sensor, measured_at, celsius FROM copied ORDER BY _source_line"
    )
    assert found == [tuple(row.values()) for row in rows.to_pylist()]


@pytest.mark.parametrize(
    "change",
    [
        "DROP INDEX copied_user_id_idx",
        "ALTER TABLE copied ALTER amount TYPE double precision",
        "ALTER TABLE copied ALTER quantity DROP NOT NULL",
        "ALTER TABLE copied DROP COLUMN note",
    ],
)
def test_a_baseline_with_less_than_our_columns_and_indexes_fails(database: Settings, change: str):
    for name in ("orders", "copied"):
        execute(database, order_data.TABLE.format(name))
    check_alike(database, "orders")
    execute(database, change)
    with pytest.raises(RuntimeError, match="differ"):
        check_alike(database, "orders")
