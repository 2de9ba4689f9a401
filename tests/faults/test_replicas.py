"""Several schedulers and APIs on one database and one store, killed at random under load."""

from __future__ import annotations

import random
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from etl.db import runs
from etl.db.active_runs import cancel
from etl.db.engine import connect, connect_unpooled
from etl.db.locks import run_lock
from etl.local.ports import LOOPBACK, any_free_port
from etl.model.values import RunState, Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.chaos import Instance, Killer, Patience, working
from tests.conftest import wait_until
from tests.processes import start
from tests.tallies import wrong_tallies
from tests.workload import RunWatch, Workload, broken_laws
from tests.written import Reader

TOKEN = "sixteen letters or more"  # noqa: S105 - of servers of the tests' own
STATE = {
    "users": "SELECT user_id, first_name, last_name, birthts, birthdate, img_path, _extra,"
    " _source_key, _source_line FROM users ORDER BY user_id",
    "source_object": "SELECT bucket, key, dataset, kind, etag, size, last_modified, state,"
    " rows_read, rows_rejected FROM source_object ORDER BY bucket, key",
    "problem": "SELECT bucket, key, code FROM problem JOIN source_object"
    " USING (bucket, key, run_id) ORDER BY 1, 2, 3",
}
READY = re.compile(rb"scheduler started|listening on")
UNFINISHED = (
    "SELECT count(*) FROM run WHERE finished_at IS NULL"
    " UNION ALL SELECT count(*) FROM bucket_event WHERE handled_by_run IS NULL"
)


@dataclass(frozen=True)
class Chaos:
    """How many processes of each kind there are, and for how long they are killed how often."""

    schedulers: int
    apis: int
    seconds: float
    mean_seconds: float
    least_kills: int


SHORT = Chaos(schedulers=2, apis=2, seconds=6, mean_seconds=0.8, least_kills=2)
LONG = Chaos(schedulers=3, apis=4, seconds=600, mean_seconds=1.5, least_kills=100)


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    """Ends all processes after the test."""
    with ExitStack() as stack:
        yield stack


def started(
    settings: Settings, processes: ExitStack, folder: Path, command: str, count: int
) -> list[Instance]:
    """Instances of a command, each with a log in the folder, and each API on a port of its own."""

    def instance(number: int) -> Instance:
        own = settings.model_copy(update={"api_port": any_free_port()})
        path = folder / f"{command}{number}.log"
        log = processes.enter_context(path.open("ab"))
        began = 0

        def start_it() -> subprocess.Popen[bytes]:
            nonlocal began
            began = path.stat().st_size
            return start(own, command, stdout=log, stderr=log)

        return Instance(
            command, own.api_port, start_it, lambda: bool(READY.search(path.read_bytes(), began))
        )

    found = []
    for number in range(count):
        found.append(instance(number))
        processes.callback(found[-1].kill)
    return found


def state(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(text(query))]
            for name, query in STATE.items()
        }


def is_idle(engine: Engine) -> bool:
    with engine.connect() as connection:
        return not any(connection.scalars(text(UNFINISHED)))


def endure(  # noqa: PLR0913, PLR0917 - fixtures
    chaos: Chaos,
    settings: Settings,
    engine: Engine,
    fresh_database: Callable[[], Settings],
    processes: ExitStack,
    folder: Path,
) -> None:
    own = settings.model_copy(update={"webhook_token": SecretStr(TOKEN)})
    DataManager(own).run(Trigger.CLI)
    schedulers = started(own, processes, folder, "schedule", chaos.schedulers)
    apis = started(own, processes, folder, "serve", chaos.apis)
    addresses = [(LOOPBACK, one.port) for one in apis]
    load = Workload(own, TOKEN, addresses, seed=random.SystemRandom().randrange(10**6))
    print(f"seed {load.seed}")  # noqa: T201 - shown if it fails, and with -s
    killer = Killer([*schedulers, *apis], random.Random(load.seed), chaos.mean_seconds)  # noqa: S311
    watch = RunWatch(engine)
    wait_until(lambda: all(one.is_ready() for one in killer.instances), seconds=60)
    with working(watch.work, *load.workers()) as errors, working(killer.work) as of_killer:
        wait_for(chaos.seconds, lambda: errors or load.faults)
        wait_until(lambda: errors or load.faults or killer.kills.total() >= chaos.least_kills)
    assert (errors, of_killer, load.faults) == ([], [], [])
    reader = Reader(load.users, "last")
    load.request_run(load.client("last"), reader)
    wait_until(lambda: is_idle(engine))
    report(load, killer, watch, engine)
    assert load.faults == []
    assert watch.most == 1
    assert broken_laws(engine, load) == {}
    assert verify(own, engine) == []
    assert wrong_tallies(engine) == {}
    users = {row[0]: (row[1], row[2], row[3]) for row in state(engine)["users"]}
    assert users == load.users.final()
    fresh = fresh_database()
    DataManager(fresh).run(Trigger.CLI)
    fresh_engine = connect(fresh)
    assert state(engine) == state(fresh_engine)
    fresh_engine.dispose()


def wait_for(seconds: float, is_over: Callable[[], object]) -> None:
    """Wait that long, or until it is over."""
    patience, never = Patience(seconds), threading.Event()
    while not patience.is_over() and not is_over():
        never.wait(0.1)


def report(load: Workload, killer: Killer, watch: RunWatch, engine: Engine) -> None:
    with engine.connect() as connection:
        ended = connection.execute(text("SELECT outcome, count(*) FROM run GROUP BY 1")).all()
    checks = load.users.checks + load.documents.checks
    for name, found in (
        ("kills", killer.kills),
        ("spared as the only one", killer.spared),
        ("checks", checks),
        ("runs", {row[0]: row[1] for row in ended}),
        ("clients", load.counts),
        ("samples of active runs", watch.samples),
        ("distinct requests and events", (len(load.requests), len(load.events))),
    ):
        print(f"{name}: {found}")  # noqa: T201


def test_replicas_killed_at_random_lose_and_double_nothing(
    settings: Settings,
    engine: Engine,
    fresh_database: Callable[[], Settings],
    processes: ExitStack,
    tmp_path: Path,
):
    endure(SHORT, settings, engine, fresh_database, processes, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_replicas_killed_at_random_for_ten_minutes_lose_and_double_nothing(
    settings: Settings,
    engine: Engine,
    fresh_database: Callable[[], Settings],
    processes: ExitStack,
    tmp_path: Path,
):
    endure(LONG, settings, engine, fresh_database, processes, tmp_path)


@pytest.mark.parametrize("trigger", [Trigger.REQUEST, Trigger.INTERVAL])
def test_requested_run_whose_process_died_is_made_by_another(
    manager: DataManager, settings: Settings, engine: Engine, trigger: Trigger
):
    with engine.begin() as connection:
        runs.request_run(connection, trigger, allowed_retirements={"users": 7})
    with run_lock(connect_unpooled(settings)) as connection:
        claimed = runs.claim_run(connection)
    assert claimed
    report = manager.run_requested()
    assert report is not None
    assert (report.trigger, report.state) == (trigger, RunState.SUCCEEDED)
    with engine.connect() as connection:
        allowed = text("SELECT id, allowed_retirements FROM run ORDER BY id")
        assert connection.execute(allowed).all() == [
            (claimed[0], {"users": 7}),
            (report.id, {"users": 7}),
        ]
    assert manager.run_requested() is None


def test_run_that_was_canceled_before_its_process_died_is_not_made_again(
    manager: DataManager, settings: Settings, engine: Engine
):
    with engine.begin() as connection:
        runs.request_run(connection, Trigger.REQUEST)
    with run_lock(connect_unpooled(settings)) as connection:
        claimed = runs.claim_run(connection)
        assert claimed
        cancel(connection, claimed[0])
        connection.commit()
    assert manager.run_requested() is None
