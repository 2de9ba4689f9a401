"""An installation on hosts of its own whose cables are pulled one at a time, under load."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from etl.db.engine import connect
from etl.db.names import Lock, lock_key
from etl.verify import verify
from tests.chaos import working
from tests.conftest import wait_until
from tests.installation import (
    API,
    API_PORT,
    COMMANDS,
    DATABASE_HOST,
    IMPATIENT,
    SCHEDULER,
    STANDBY,
    STORE,
    Installation,
    installed,
    measure,
)
from tests.tallies import wrong_tallies
from tests.workload import RunWatch, Workload, broken_laws
from tests.written import Reader

TOKEN = "sixteen letters or more"  # noqa: S105 - of servers of the test's own
OUTAGES = {"Interrupted", "DatabaseUnavailable", "ObjectStoreUnavailable"}
LOST_SHARE = 0.1  # of the packets of a host

_HOLDER = (
    "SELECT host(client_addr) FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND objsubid = 1"
    " AND (CAST(classid AS bigint) << 32) + CAST(objid AS bigint) = :key"
)
_UNFINISHED = (
    "SELECT count(*) FROM run WHERE finished_at IS NULL"
    " UNION ALL SELECT count(*) FROM bucket_event WHERE handled_by_run IS NULL"
)


@dataclass
class Ordeal:
    """What happens to one installation, and the time of each recovery is printed."""

    made: Installation
    engine: Engine
    load: Workload
    cut_seconds: float
    lossy: Sequence[str]
    cuts: int = 0
    ways: set[str] = field(default_factory=set)

    def cut(self, name: str) -> None:
        """Pull the cable of a host for a while; then its part recovers by itself.

        Without the database, the API has a response to each request in time.
        """
        began = time.monotonic()
        with self.pulled(name):
            self.stay()
        if name == DATABASE_HOST:
            assert [one for one in self.load.late if one > began] == []
        measure(f"{name} was cut off: change visible", self.is_change_visible)

    def cut_the_one_that_runs(self) -> None:
        """Cut off the scheduler that makes a run; the other one must take over meanwhile."""
        name = self.run_lock_holder()
        other = STANDBY if name == SCHEDULER else SCHEDULER
        with self.pulled(name):
            measure(f"{name} is cut off: {other} runs", lambda: self.holds(other))
        measure(f"{name} is back: connected", lambda: self.is_connected(name))

    def lose_packets(self) -> None:
        """Drop packets of each host in turn, and change something meanwhile."""
        for name in self.lossy:
            with self.made.lan.losing_packets(name, LOST_SHARE) as way:
                self.ways.add(way)
                measure(f"{name} loses packets: change visible", self.is_change_visible)

    @contextmanager
    def pulled(self, name: str) -> Iterator[None]:
        self.cuts += 1
        with self.made.lan.pulled(name):
            yield

    def stay(self) -> None:
        threading.Event().wait(self.cut_seconds)

    def is_change_visible(self) -> bool:
        """Wait until a change that is made from now on is visible, by a run of the workload."""
        newest = max(self.load.users.marks().values(), default=0)
        wait_until(
            lambda: max(self.load.covered().values(), default=0) > newest, seconds=180, pause=0.05
        )
        return True

    def run_lock_holder(self) -> str:
        """The scheduler that makes a run now; waits until one does."""
        found: list[str] = []

        def is_found() -> bool:
            found[:] = [one for one in (SCHEDULER, STANDBY) if self.holds(one)]
            return bool(found)

        wait_until(is_found, seconds=60, pause=0)
        return found[0]

    def holds(self, name: str) -> bool:
        return self.made.lan.address(name) in self.ask(_HOLDER, key=lock_key(Lock.RUN))

    def is_connected(self, name: str) -> bool:
        query = "SELECT host(client_addr) FROM pg_stat_activity WHERE client_addr IS NOT NULL"
        return self.made.lan.address(name) in self.ask(query)

    def ask(self, query: str, **values: object) -> list[object]:
        with self.engine.connect() as connection:
            return list(connection.scalars(text(query), values))

    def is_idle(self) -> bool:
        return not any(self.ask(_UNFINISHED))


@contextmanager
def ordeal(options: str, cut_seconds: float, lossy: Sequence[str]) -> Iterator[Ordeal]:
    """An installation with clients at work."""
    with tempfile.TemporaryDirectory(
        prefix="bucketline-hosts-", ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o755)  # as root, PostgreSQL runs under another account
        with installed(Path(folder), options, webhook_token=SecretStr(TOKEN)) as made:
            address = (made.lan.address(API), API_PORT)
            seed = random.SystemRandom().randrange(10**6)
            load = Workload(made.settings, TOKEN, [address], seed, failures=OUTAGES)
            load.answer_seconds, load.share_through_api = 180, 0
            load.covered_seconds = 180
            engine = connect(made.settings)
            try:
                yield Ordeal(made, engine, load, cut_seconds, lossy)
            except BaseException:
                for name in COMMANDS:
                    print(f"-- {name}", *made.complaints(name), sep="\n")  # noqa: T201
                raise
            engine.dispose()


def endure(now: Ordeal, rounds: int) -> None:
    load, watch = now.load, RunWatch(now.engine)
    print(f"seed {load.seed}")  # noqa: T201 - shown if it fails, and with -s
    load.client("first").ask("GET", "/health")
    with working(watch.work, *load.workers()) as errors:
        for _ in range(rounds):
            now.cut_the_one_that_runs()
            for name in (DATABASE_HOST, STORE, API):
                now.cut(name)
            now.lose_packets()
            assert (errors, load.faults) == ([], [])
    assert (errors, load.faults) == ([], [])
    load.request_run(load.client("last"), Reader(load.users, "last"))
    wait_until(now.is_idle)
    report(now, watch)
    assert load.faults == []
    assert watch.most == 1
    assert [name for name in COMMANDS if "Traceback" in now.made.log(name)] == []
    assert broken_laws(now.engine, load) == {}
    assert verify(now.made.settings, now.engine) == []
    assert wrong_tallies(now.engine) == {}
    with now.engine.connect() as connection:
        rows = connection.execute(text("SELECT user_id, first_name, last_name, birthts FROM users"))
        assert {row[0]: tuple(row[1:]) for row in rows} == load.users.final()


def report(now: Ordeal, watch: RunWatch) -> None:
    for name, found in (
        ("cables pulled", now.cuts),
        ("packets were dropped by", now.ways),
        ("checks", now.load.users.checks + now.load.documents.checks),
        ("clients", now.load.counts),
        ("samples of active runs", watch.samples),
    ):
        print(f"{name}: {found}")  # noqa: T201


def test_hosts_cut_off_one_at_a_time_recover_and_lose_nothing():
    with ordeal(IMPATIENT, cut_seconds=3, lossy=(STORE,)) as now:
        endure(now, rounds=1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_hosts_cut_off_for_longer_than_any_limit_recover_and_lose_nothing():
    with ordeal("", cut_seconds=70, lossy=(STORE, *COMMANDS, DATABASE_HOST)) as now:
        endure(now, rounds=2)
