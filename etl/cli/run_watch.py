"""What `up` tells of runs: the first one, and after it which failed, were refused, or must wait."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from etl.db.engine import connect, translating
from etl.db.runs import database_now, report
from etl.model.errors import DatabaseUnavailable, RunRefused
from etl.model.values import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Engine

    from etl.model.values import RunReport
    from etl.settings import Settings

FIRST_RUN_SECONDS = 600
FIRST_RUN_LOOK_SECONDS = 0.1
SLOW_SECONDS = 5
LOOK_EVERY_SECONDS = 2
LONG_WAIT = timedelta(seconds=60)
_NEWEST = (  # no more than these end between two looks, and the key's index gives them
    "SELECT id, trigger, state, error, requested_at FROM run ORDER BY id DESC LIMIT 50"
)
_FIRST_ENDED = (
    "SELECT id FROM run WHERE finished_at >= :since AND trigger <> 'event'"
    " AND (state = 'failed' OR step_seconds <> CAST('{}' AS jsonb))"
    " ORDER BY finished_at LIMIT 1"
)
_REFUSALS = {kind.__name__ for kind in RunRefused.__subclasses__()}


@dataclass(frozen=True, slots=True)
class Seen:
    """A run as the table has it."""

    id: int
    trigger: str
    state: str
    error: dict[str, Any] | None
    requested_at: datetime


class News:
    """Which runs have been told of; those that have ended at first count as told."""

    def __init__(self, runs: Iterable[Seen]) -> None:
        self._settled = _ended(runs)
        self._waiting: int | None = None
        self._last_error: str | None = None

    def of(self, runs: Iterable[Seen], now: datetime) -> list[str]:
        """A line for each run that has failed since, and for one that has waited long.

        A failure like the one before it is told once: what is retried fails again and again.
        """
        runs = sorted(runs, key=lambda run: run.id)
        told, self._settled = self._settled, _ended(runs)
        new = [run for run in runs if run.id in self._settled - told]
        return [line for run in new for line in self._of_ended(run)] + self._of_waiting(runs, now)

    def _of_ended(self, run: Seen) -> list[str]:
        if run.state != RunState.FAILED or run.error is None:
            self._last_error = None
            return []
        said = f"{run.error['message']} {run.error['hint']}".strip()
        if said == self._last_error:
            return []
        self._last_error = said
        how = "was refused" if run.error["code"] in _REFUSALS else "failed"
        return [f"Run {run.id} ({run.trigger}) {how}: {said}"]

    def _of_waiting(self, runs: list[Seen], now: datetime) -> list[str]:
        """The scheduler is refused the run lock for as long as another has it, and tries again."""
        active = [run for run in runs if run.state == RunState.RUNNING]
        late = [
            run
            for run in runs
            if run.state == RunState.REQUESTED and now - run.requested_at > LONG_WAIT
        ]
        if not active or not late or late[0].id == self._waiting:
            return []
        self._waiting = late[0].id
        line = (
            f"Run {late[0].id} has to wait: run {active[0].id} ({active[0].trigger}) is active."
            " It is made when that has ended; `./run.sh status` tells of both."
        )
        return [line]


class RunWatch:
    """Looks at the table of runs now and then, until told to stop."""

    def __init__(self, settings: Settings, tell: Callable[[str], object]) -> None:
        self._engine: Engine = connect(settings, pool_size=1, checks_schema=True)
        self._tell = tell
        self._stopping = Event()

    def stop(self) -> None:
        """End soon; for another thread."""
        self._stopping.set()

    def run_forever(self) -> None:
        """Tell of what is new; while the database is away nothing is."""
        news: News | None = None
        while not self._stopping.wait(LOOK_EVERY_SECONDS):
            with suppress(DatabaseUnavailable):
                runs, now = self._newest()
                if news is None:
                    news = News(runs)
                for line in news.of(runs, now):
                    self._tell(line)
        self._engine.dispose()

    def _newest(self) -> tuple[list[Seen], datetime]:
        with translating(), self._engine.connect() as connection:
            runs = [Seen(*row) for row in connection.execute(text(_NEWEST))]
            return runs, database_now(connection)


def first_run(
    engine: Engine,
    since: datetime,
    *,
    is_stopped: Callable[[], bool],
    meanwhile: Callable[[], object],
    slow: Callable[[], object],
) -> RunReport | None:
    """The first run over the whole bucket that ends after `since`; waits for it.

    None when stopped or time is up before. An outage is waited out: whatever died is being started
    again. `slow` is called once, where the run takes a while.
    """
    began = time.monotonic()
    is_slow = False
    while not is_stopped() and time.monotonic() < began + FIRST_RUN_SECONDS:
        meanwhile()
        if not is_slow and time.monotonic() > began + SLOW_SECONDS:
            is_slow = True
            slow()
        with suppress(DatabaseUnavailable), translating(), engine.connect() as connection:
            ended = connection.scalar(text(_FIRST_ENDED), {"since": since})
            if ended is not None:
                return report(connection, ended)
        time.sleep(FIRST_RUN_LOOK_SECONDS)
    return None


@contextmanager
def telling_of_runs(settings: Settings, tell: Callable[[str], object]) -> Iterator[None]:
    """Tell of the runs that end from now on, for as long as the block runs.

    In a thread of its own, which nobody waits for: a database that hangs holds up nothing else.
    """
    watch = RunWatch(settings, tell)
    Thread(target=watch.run_forever, name="runs", daemon=True).start()
    try:
        yield
    finally:
        watch.stop()


def _ended(runs: Iterable[Seen]) -> set[int]:
    return {run.id for run in runs if run.state in {RunState.SUCCEEDED, RunState.FAILED}}
