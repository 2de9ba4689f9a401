"""Rebuilds killed at random moments: the old table serves until one commits.

The end is that of a twin, a database that makes each step without a kill.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import text

from etl.model.dataset import Constraints, Dataset, Field, FieldType
from etl.verify import verify
from tests.changing_datasets import REBUILDS
from tests.conftest import TestBucket
from tests.dataset_files import encoded, patterns
from tests.killed_histories import Histories, History, Installation, State, difference
from tests.killed_runs import Job, Moment, Work, run_in_process
from tests.tallies import wrong_tallies

log = logging.getLogger(__name__)

Answer = tuple[object, ...]

LARGE = Dataset(
    name="large",
    table="large",
    include=patterns("large"),
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
        """Rebuild in both installations, with a run of a process without a file after it.

        The change of a rebuild that is refused is undone.
        """
        history, former = self.history, self.history.datasets
        known = history.declarations.known[name]
        history.declarations.change(name, ("rebuild", history.random.choice(REBUILDS[name])))
        names = tuple(one.name for one in former)
        allowed = history.random.choice([(), names])
        job = replace(history.twin.job(Work.REBUILD, history.datasets, allowed), rebuilt=name)
        before = serving(history.killed.state(), former)
        undisturbed = run_in_process(job, history.twin.notes)
        after = serving(history.twin.state(), former)
        job = replace(job, settings=history.killed.settings)
        for _ in range(history.random.choice([1, 1, 2])):
            succeeded = succeeded_runs(history.killed)
            history.kill(job, undisturbed)
            assert serving(history.killed.state(), former) in (before, after)
            if succeeded_runs(history.killed) != succeeded:  # and is now made a second time
                replace(job, settings=history.twin.settings).do()
        job.do()
        if serving(history.killed.state(), former) == before:
            history.declarations.known[name] = known
        for one in (history.twin, history.killed):
            replace(one.job(Work.FULL, (), names), datasets=None).do()
        assert difference(history.killed.state(), history.twin.state()) == {}

    def job(self, one: Installation, name: str) -> Job:
        return replace(one.job(Work.REBUILD, self.history.datasets, (name,)), rebuilt=name)


def succeeded_runs(one: Installation) -> int:
    with one.engine.connect() as connection:
        count = connection.scalar(text("SELECT count(*) FROM run WHERE state = 'succeeded'"))
    return int(count or 0)


def serving(found: State, datasets: tuple[Dataset, ...]) -> State:
    """The live rows and the installed declarations."""
    tables = [f"public.{one.table}" for one in datasets]
    tables += [f'public."{one.table}"' for one in datasets]
    shown = {name: rows for name, rows in found.items() if name in (*tables, "bucketline.dataset")}
    assert len(shown) > len(datasets)
    return shown


def test_killed_rebuilds_equal_their_twin(histories: Histories):
    Rebuilds(histories.history(0)).live(1)


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as its steps take
@pytest.mark.parametrize("seed", range(100, 140))
def test_killed_rebuilds_of_long_histories_equal_their_twin(seed: int, histories: Histories):
    rebuilds = Rebuilds(histories.history(seed))
    rebuilds.live(8)
    log.info("kills %s", dict(rebuilds.history.kills))
    assert rebuilds.history.kills.total() > 4


# Another type of each row's amount, which some do not have, one column less, and another key.
REBUILT = replace(
    LARGE,
    primary_key=("amount", "id"),
    fields=(
        LARGE.fields[0],
        Field(name="amount", type=FieldType.INTEGER, constraints=Constraints(required=True)),
    ),
)
SHOWN = "SELECT count(*), sum(amount) FROM large"


@pytest.mark.parametrize(
    ("rows", "kills"),
    [
        (4_000, 2),
        pytest.param(1_000_000, 12, marks=[pytest.mark.long, pytest.mark.timeout(0)]),
    ],
)
def test_a_killed_rebuild_leaves_the_old_table_to_its_readers(
    rows: int, kills: int, histories: Histories
):
    history = histories.history(0)
    put_large(history.world.first, rows)
    twin, killed = history.twin, history.killed
    for one in (twin, killed):
        run_in_process(one.job(Work.FULL, (LARGE,)), one.notes)
    before, digests = shown(killed), twin.digests()
    undisturbed = run_in_process(rebuild(twin), twin.notes)
    after = shown(twin)
    assert before[0] == rows
    assert after[0] == rows - rows // 1_000
    for number in range(kills):
        moment = Moment(0, undisturbed.seconds * (number + 0.5) / kills)
        with reading(killed) as answers:
            ended = run_in_process(rebuild(killed), killed.notes, moment)
        log.info("%s in %s, %s", ended, undisturbed.seconds, summary(answers))
        assert {one for one, _ in answers} <= {before, after}
        if shown(killed) == after:  # it was killed after its commit, or not at all
            break
        assert {one for one, _ in answers} == {before} == {shown(killed)}
    assert number >= kills / 2
    is_committed = shown(killed) == after
    replace(killed.job(Work.FULL, ()), datasets=None).do()
    if not is_committed:
        assert killed.digests() == digests
        with reading(killed) as answers:
            run_in_process(rebuild(killed), killed.notes)
        log.info("undisturbed, %s", summary(answers))
        assert {one for one, _ in answers} <= {before, after}
    assert killed.digests() == twin.digests() != digests
    assert verify(killed.settings, killed.engine, datasets=(REBUILT,)) == []
    assert wrong_tallies(killed.engine) == {}


def put_large(bucket: TestBucket, rows: int) -> None:
    """Objects in several formats; one row of a thousand has an amount that is no integer."""
    endings = (".csv", ".ndjson.gz", ".parquet", ".tsv.zst")
    for number, ending in enumerate(endings):
        key = f"large/{number}{ending}"
        table = [
            [f"{n:07}", f"c{n % 97}", f"{n % 10_007}{'' if n % 1_000 else '.50'}"]
            for n in range(number, rows, len(endings))
        ]
        bucket.put(key, encoded(key, ["id", "code", "amount"], table))


def rebuild(one: Installation) -> Job:
    return replace(one.job(Work.REBUILD, (REBUILT,), ("large",)), rebuilt="large")


def shown(one: Installation) -> Answer:
    """What a reader of the table sees."""
    with one.engine.connect() as connection:
        return tuple(connection.execute(text(SHOWN)).one())


@contextmanager
def reading(one: Installation) -> Iterator[list[tuple[Answer, float]]]:
    """Query the table again and again; list the answers, and how many seconds each took."""
    answers: list[tuple[Answer, float]] = []
    has_ended = threading.Event()

    def ask() -> None:
        while not has_ended.is_set():
            began = time.monotonic()
            answers.append((shown(one), time.monotonic() - began))

    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(ask)
        try:
            yield answers
        finally:
            has_ended.set()
        asked.result()


def summary(answers: list[tuple[Answer, float]]) -> str:
    seconds = sorted(one for _, one in answers)
    median, longest = seconds[len(seconds) // 2], seconds[-1]
    return f"{len(seconds)} answers, median {median:.2f} s, longest {longest:.2f} s"
