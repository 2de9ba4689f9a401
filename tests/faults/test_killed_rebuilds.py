"""Rebuilds killed at random moments: the old table serves until one commits.

The end is that of a twin, a database that makes each step without a kill.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import text

from etl.model.dataset import Constraints, Dataset, Field, FieldType
from etl.settings import Settings
from etl.verify import verify
from tests.acceptance.test_dataset_histories import REBUILDS
from tests.faults.test_killed_datasets import (
    FLOOR,
    Histories,
    History,
    Installation,
    State,
    difference,
)
from tests.killed_runs import Job, Moment, Work, run_in_process
from tests.tallies import wrong_tallies

log = logging.getLogger(__name__)

LARGE = Dataset(
    name="large",
    table="large",
    include=("large/*.csv",),
    primary_key=("id",),
    fields=(
        Field(name="id", constraints=Constraints(required=True)),
        Field(name="code", constraints=Constraints(required=True)),
        Field(name="amount", type=FieldType.NUMBER, sql="numeric(12,2)"),
    ),
)


@dataclass(frozen=True)
class Rebuilds:
    """Rebuilds of the datasets of a history."""

    history: History

    def live(self, steps: int) -> None:
        history = self.history
        history.world.fill()
        history.take(Work.FULL)
        for _ in range(steps):
            history.world.change()
            self.take(history.random.choice(["orders", "readings"]))
        assert (
            verify(history.killed.settings, history.killed.engine, datasets=history.datasets) == []
        )

    def take(self, name: str) -> None:
        """Rebuild in both installations, with a run of a process without a file after it."""
        history, former = self.history, self.history.datasets
        history.declarations.change(name, ("rebuild", history.random.choice(REBUILDS[name])))
        before = serving(history.killed.state(), former)
        undisturbed = run_in_process(self.job(history.twin, name), history.twin.notes)
        after = serving(history.twin.state(), former)
        for _ in range(history.random.choice([1, 1, 2])):
            history.kill(self.job(history.killed, name), undisturbed)
            assert serving(history.killed.state(), former) in (before, after)
        self.job(history.killed, name).do()
        names = tuple(one.name for one in former)
        for one in (history.twin, history.killed):
            replace(one.job(Work.FULL, (), names), datasets=None).do()
        assert difference(history.killed.state(), history.twin.state()) == {}

    def job(self, one: Installation, name: str) -> Job:
        return replace(one.job(Work.REBUILD, self.history.datasets, (name,)), rebuilt=name)


def serving(found: State, datasets: tuple[Dataset, ...]) -> State:
    """The live rows and the installed declarations."""
    tables = [f"public.{one.table}" for one in datasets]
    tables += [f'public."{one.table}"' for one in datasets]
    shown = {name: rows for name, rows in found.items() if name in tables or ".dataset" in name}
    assert len(shown) > len(datasets)
    return shown


@pytest.fixture
def histories(
    settings: Settings,
    fresh_database: Callable[[], Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Histories]:
    monkeypatch.setattr("etl.sync.holds.FLOOR", FLOOR)
    made = Histories(settings, fresh_database, tmp_path)
    yield made
    for engine in made.engines:
        engine.dispose()


@pytest.mark.parametrize("seed", range(2))
def test_killed_rebuilds_equal_their_twin(seed: int, histories: Histories):
    Rebuilds(histories.history(seed)).live(1)


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as its steps take
@pytest.mark.parametrize("seed", range(100, 140))
def test_killed_rebuilds_of_long_histories_equal_their_twin(seed: int, histories: Histories):
    rebuilds = Rebuilds(histories.history(seed))
    rebuilds.live(8)
    log.info("kills %s", dict(rebuilds.history.kills))
    assert rebuilds.history.kills.total() > 4


ROWS = 1_000_000
KILLS = 12
# Another type of each row's amount, one column less, and another key.
REBUILT = replace(
    LARGE,
    primary_key=("amount", "id"),
    fields=(
        LARGE.fields[0],
        Field(name="amount", type=FieldType.INTEGER, constraints=Constraints(required=True)),
    ),
)


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as its runs take
def test_a_killed_rebuild_of_a_million_rows_leaves_the_old_table(histories: Histories):
    history = histories.history(0)
    lines = [f"{number:07},c{number % 97},{number % 10_007}" for number in range(ROWS)]
    content = "\n".join(["id,code,amount", *lines, ""])
    history.world.first.put("large/1.csv", content)
    twin, killed = history.twin, history.killed
    for one in (twin, killed):
        run_in_process(one.job(Work.FULL, (LARGE,)), one.notes)
    before = sums(killed, "count(code), sum(amount)")
    undisturbed = run_in_process(rebuild(twin), twin.notes)
    kills = 0
    for number in range(KILLS):
        moment = Moment(0, undisturbed.seconds * (number + 0.5) / KILLS)
        ended = run_in_process(rebuild(killed), killed.notes, moment)
        kills += ended.was_killed
        log.info("killed %s in %s", ended.was_killed, ended.step)
        if not ended.was_killed:
            break
        assert sums(killed, "count(code), sum(amount)") == before
    assert kills > KILLS / 2
    rebuild(killed).do()
    columns = "count(*), sum(amount), md5(string_agg(id, '' ORDER BY amount, id))"
    assert sums(killed, columns) == sums(twin, columns)
    assert verify(killed.settings, killed.engine, datasets=(REBUILT,)) == []
    assert wrong_tallies(killed.engine) == {}


def rebuild(one: Installation) -> Job:
    return replace(one.job(Work.REBUILD, (REBUILT,), ("large",)), rebuilt="large")


def sums(one: Installation, columns: str) -> tuple[object, ...]:
    with one.engine.connect() as connection:
        return tuple(connection.execute(text(f"SELECT {columns} FROM large")).one())
