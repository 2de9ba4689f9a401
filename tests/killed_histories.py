"""Histories of several datasets, made by an undisturbed twin and by one whose runs are killed.

Both see the same buckets, whose objects are in every format. The twin's runs end. The other one's
are killed, some of them twice in a row, and then repeated once undisturbed.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Connection, Engine, text

from etl.db import events
from etl.db.committed import last_committed
from etl.db.engine import connect
from etl.model.dataset import Dataset
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.merge import Thresholds
from etl.verify import verify
from tests.changing_datasets import CHANGES, CONSTRAINTS, Declarations
from tests.conftest import TestBucket
from tests.dataset_files import ENDINGS, PLAIN_ENDINGS, Form, Table, encoded, ending_of
from tests.killed_runs import Ended, Job, Moment, Work, run_in_process
from tests.tallies import wrong_tallies

log = logging.getLogger(__name__)

FLOOR = 20  # rows, of which more than half may be held
THRESHOLDS = (Thresholds(), Thresholds(small=0), Thresholds(small=0, many=20))
# Ids and times of runs; tables that no run writes, or that differ by what they count.
VOLATILE = (
    *("id", "run_id", "_run_id", "_updated_at", "_retired_at", "opened_at", "installed_at"),
    *("changed_at", "received_at", "first_seen_at", "summary"),
)
LEFT_OUT = (
    *("alembic_version", "run", "publication"),
    # Of what was when; compared with counts instead.
    *("dataset_tally", "problem_tally", "dataset_hour", "problem_hour"),
    *("run_half_hour", "run_total", "step_total"),
)

State = dict[str, list[str]]


# -- the objects


@dataclass
class World:
    """The objects of both buckets, changed at random."""

    random: Random
    first: TestBucket
    second: TestBucket
    overlap: float  # of the ids of two orders objects
    touched: set[tuple[str, str]] = field(default_factory=set)
    made: int = 0

    def fill(self) -> None:
        for _ in range(4):
            self.put_file(self.new_key("orders/"))
            self.put_file(self.new_key("sensors/"))
        for number in range(6):
            self.put_file(f"{number}.csv")
        self.put("many.tsv", encoded("many.tsv", *self.many_users()))
        for number in range(3):
            self.put(f"{number}.png", "x")
            self.put(f"orders/photos/{number}.jpg", "x")

    def change(self) -> None:
        """Replace, rename, remove and add some objects."""
        for _ in range(self.random.randint(2, 6)):
            change = self.random.choice([self.replace, self.replace, self.rename, self.remove])
            change(self.random.choice(["orders/", "sensors/", ""]))
        self.put(f"{self.random.randrange(9)}.{self.random.choice(['png', 'JPG'])}", "y")
        self.put(f"orders/photos/{self.random.randrange(90)}.png", "y")

    def empty(self) -> None:
        """Remove most of the orders."""
        for key in self.keys("orders/")[1:]:
            self.remove_key(key)

    def replace(self, folder: str) -> None:
        keys = self.keys(folder)
        self.put_file(self.random.choice(keys) if keys else self.new_key(folder))

    def rename(self, folder: str) -> None:
        keys = self.keys(folder)
        if keys:
            key = self.random.choice(keys)
            content = self.bucket_of(key).get(key)
            self.remove_key(key)
            self.put(self.new_key(folder, ending_of(key)), content)

    def remove(self, folder: str) -> None:
        keys = self.keys(folder)
        if len(keys) > 1:
            self.remove_key(self.random.choice(keys))

    def remove_key(self, key: str) -> None:
        bucket = self.bucket_of(key)
        bucket.remove(key)
        self.touched.add((bucket.name, key))

    def put_file(self, key: str) -> None:
        self.put(key, self.content(key))

    def put(self, key: str, content: str | bytes) -> None:
        bucket = self.bucket_of(key)
        bucket.put(key, content)
        self.touched.add((bucket.name, key))

    def bucket_of(self, key: str) -> TestBucket:
        return self.second if key.startswith("sensors/") else self.first

    def keys(self, folder: str) -> list[str]:
        """The keys of files in the folder; of the top folder, those without a folder."""
        listed = self.bucket_of(folder).keys()
        return [
            key
            for key in listed
            if key.endswith(ENDINGS) and (key.startswith(folder) if folder else "/" not in key)
        ]

    def new_key(self, folder: str, ending: str | None = None) -> str:
        self.made += 1
        place = self.random.choice(["", "a/", "a/b/"]) if folder else "u"
        ending = ending or self.random.choice(ENDINGS if folder else PLAIN_ENDINGS)
        return f"{folder}{place}{self.made}{ending}"

    def content(self, key: str) -> bytes:
        """The content of a file; one in twenty is cut."""
        folder, _, _ = key.partition("/")
        make = {"orders": self.orders, "sensors": self.readings}.get(folder, self.user)
        forms = [Form.CUT] if self.random.random() < 1 / 20 else [Form.TEXT, Form.TYPED]
        return encoded(key, *make(), self.random.choice(forms))

    def orders(self) -> Table:
        """Rows whose ids other objects may have too; one in fifteen is faulty."""
        start = 0 if self.random.random() < self.overlap else 1_000 * self.made
        count = self.random.randint(20, 60)
        rows = []
        for number in self.random.sample(range(start, start + 90), count):
            amount = "x" if self.random.random() < 1 / 15 else f"{self.random.randrange(9)}.50"
            rows.append([str(number), amount, str(self.random.randrange(4))])
        return ["order_id", "amount", "updated"], rows

    def readings(self) -> Table:
        more = self.random.choice([[], ["note"], ["Color"]])
        rows = [
            [f"t{self.random.randrange(5)}", str(number / 2), *("n" for _ in more)]
            for number in range(self.random.randint(10, 40))
        ]
        return ["sensor", "celsius", *more], rows

    def user(self) -> Table:
        name = str(self.random.randrange(9))
        return ["first_name", "last_name", "birthts"], [["Ann", name, "0"]]

    def many_users(self) -> Table:
        rows = [[f"m{number}", "Ann", "Lee", "0"] for number in range(30)]
        return ["user_id", "first_name", "last_name", "birthts"], [["1", "Bob", "Lee", "0"], *rows]


# -- the two installations


@dataclass
class Installation:
    """A database and a processed bucket of its own, over the buckets that both share."""

    settings: Settings
    notes: Path
    thresholds: Thresholds
    engine: Engine

    def job(self, work: Work, datasets: tuple[Dataset, ...], allowed: tuple[str, ...] = ()) -> Job:
        return Job(work, self.settings, datasets, self.thresholds, FLOOR, allowed)

    def state(self) -> State:
        """All tables but those of runs, and the published files."""
        found: State = {}
        with self.engine.connect() as connection:
            for table in _tables(connection):
                found[table] = _rows(connection, table)
            found["totals"] = _totals(connection)
            found["unfinished runs"] = [
                str(row) for row in connection.execute(text(_UNFINISHED)).all()
            ]
        published = TestBucket(self.settings)
        published.name = self.settings.processed_bucket
        keys = published.keys()
        return found | {f"file {key}": published.get(key).decode().split("\n") for key in keys}

    def digests(self) -> dict[str, tuple[object, ...]]:
        """By table, the number of rows and the sum of their hashes, for tables that are large."""
        named = {"volatile": list(VOLATILE)}
        with self.engine.connect() as connection:
            return {
                table: tuple(connection.execute(text(_DIGEST.format(table=table)), named).one())
                for table in _tables(connection)
            }


_UNFINISHED = "SELECT id, state FROM run WHERE state = 'running' OR publish_pending"
_TABLES = (
    "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
    " WHERE schemaname IN ('public', current_schema) AND tablename <> ALL(:left_out) ORDER BY 1"
)
_CONTENT = "SELECT to_jsonb(t) - CAST(:volatile AS text[]) FROM {table} t"
_DIGEST = f"SELECT count(*), sum(hashtextextended(CAST(row AS text), 0)) FROM ({_CONTENT}) t (row)"


def _tables(connection: Connection) -> list[str]:
    return list(connection.scalars(text(_TABLES), {"left_out": list(LEFT_OUT)}))


def _rows(connection: Connection, table: str) -> list[str]:
    named = {"volatile": list(VOLATILE)}
    found = connection.scalars(text(_CONTENT.format(table=table)), named)
    return sorted(json.dumps(_without_run(row), sort_keys=True) for row in found)


def _without_run(row: dict[str, Any]) -> dict[str, Any]:
    """Whether a run handled an event, instead of which one."""
    if "handled_by_run" in row:
        return row | {"handled_by_run": row["handled_by_run"] is not None}
    return row


def _totals(connection: Connection) -> list[str]:
    committed = last_committed(connection)
    return [f"{name}: {one.live} {one.attached}" for name, one in committed.datasets.items()]


# -- a history


class History:
    """Random steps, each run by the twin to its end and by the other one with kills."""

    def __init__(
        self, random: Random, twin: Installation, killed: Installation, world: World
    ) -> None:
        self.random = random
        self.twin = twin
        self.killed = killed
        self.world = world
        self.declarations = Declarations()
        self.kills: Counter[str] = Counter()
        self.sequence = 0

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        return self.declarations.datasets(self.world.second.name)

    def live(self, steps: int) -> None:
        self.world.fill()
        self.take(Work.FULL)
        for _ in range(steps):
            self.random.choice([self.change, self.change, self.notify, self.declare, self.hold])()
        self.declarations.resume()
        self.take(Work.FULL, allowed=tuple(one.name for one in self.datasets))
        assert verify(self.killed.settings, self.killed.engine, datasets=self.datasets) == []

    def change(self) -> None:
        self.world.change()
        self.take(Work.FULL)

    def declare(self) -> None:
        name = self.random.choice(list(CHANGES))
        what = self.random.choice([*CHANGES[name], "absent"])
        value = self.random.choice(CHANGES[name].get(what, [None]))
        self.declarations.change(name, (what, value))
        if self.random.random() < 1 / 2:
            change = [("field", None), ("constraints", self.random.choice(CONSTRAINTS[:1]))]
            self.declarations.change("orders", self.random.choice(change))
        self.world.change()
        self.take(Work.FULL)

    def hold(self) -> None:
        """Orders are held unless their dataset is paused or absent; then they are allowed."""
        self.world.empty()
        self.take(Work.FULL)
        self.world.change()
        self.take(Work.FULL, allowed=self.random.choice([(), ("orders",)]))

    def notify(self) -> None:
        """Changes that events report."""
        self.world.touched.clear()
        self.world.change()
        made = [self.event(*place) for place in sorted(self.world.touched)]
        for one in (self.twin, self.killed):
            with one.engine.begin() as connection:
                events.store(connection, made, source_bucket=self.world.first.name)
        self.take(Work.EVENTS)

    def event(self, bucket: str, key: str) -> events.BucketEvent:
        self.sequence += 1
        place = {"key": key, "sequencer": f"{self.sequence:08}"}
        record = {
            "eventName": "s3:ObjectCreated:Put",
            "s3": {"bucket": {"name": bucket}, "object": place},
        }
        (made,) = events.parse({"Records": [record]}, keys_are_quoted=False)
        return made

    def take(self, work: Work, allowed: tuple[str, ...] = ()) -> None:
        """Do the work in both installations, and compare them."""
        job = self.twin.job(work, self.datasets, allowed)
        undisturbed = run_in_process(job, self.twin.notes)
        job = self.killed.job(work, self.datasets, allowed)
        for _ in range(self.random.choice([1, 1, 2])):
            self.kill(job, undisturbed)
        job.do()
        if work is Work.EVENTS:  # as the scheduler does next
            job = self.killed.job(Work.PUBLISH, self.datasets)
            if self.random.random() < 1 / 2:
                self.kill(job, replace(undisturbed, operations=20))
            job.do()
        assert difference(self.killed.state(), self.twin.state()) == {}
        assert wrong_tallies(self.killed.engine) == {}

    def kill(self, job: Job, undisturbed: Ended) -> None:
        """Kill the job at a random time, or before or shortly after an operation began."""
        operation = self.random.randint(1, undisturbed.operations)
        moment = self.random.choice(
            [
                Moment(0, self.random.uniform(0, undisturbed.seconds)),
                Moment(operation),
                Moment(operation, self.random.expovariate(500)),
            ]
        )
        ended = run_in_process(job, self.killed.notes, moment)
        if ended.was_killed:
            self.kills[f"{job.work.name.lower()} {ended.step.partition(':')[0]}"] += 1
            log.info("killed %s in %s", job.work.name, ended.step)


def difference(mine: State, expected: State) -> dict[str, object]:
    """By table or file, what only one of both has."""
    return {
        name: set(mine.get(name, ())) ^ set(expected.get(name, ())) or "repeated rows"
        for name in mine | expected
        if mine.get(name) != expected.get(name)
    }


@dataclass
class Histories:
    """Makes the history of a seed, whose end depends on nothing else."""

    settings: Settings
    fresh_database: Callable[[], Settings]
    folder: Path
    engines: list[Engine] = field(default_factory=list)

    def history(self, seed: int) -> History:
        random = Random(seed)  # noqa: S311
        thresholds = random.choice(THRESHOLDS)
        first, second = TestBucket(self.settings), self.bucket("plant")
        world = World(random, first, second, random.choice([0.0, 0.0, 0.5, 1.0]))
        twin = self.installation("twin", thresholds)
        return History(random, twin, self.installation("killed", thresholds), world)

    def bucket(self, name: str) -> TestBucket:
        """A further bucket."""
        found = TestBucket(self.settings)
        found.name = self.settings.source_bucket.replace("src-", f"{name}-")
        ObjectStore(self.settings).ensure_bucket(found.name)
        return found

    def installation(self, name: str, thresholds: Thresholds) -> Installation:
        changed = {
            "database_url": self.fresh_database().database_url,
            "processed_bucket": self.bucket(name).name,
            "publish_interval": timedelta(0),
        }
        settings = self.settings.model_copy(update=changed)
        self.engines.append(connect(settings))
        return Installation(settings, self.folder / name, thresholds, self.engines[-1])
