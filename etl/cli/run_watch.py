"""What `up` reports: the first run, then changes, and runs that failed, were refused or wait.

Holds and faults of the datasets file are reported when they begin and, faults, when they end.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from etl.cli import render
from etl.cli.change_news import ChangeNews, RunChanges
from etl.cli.status import holds
from etl.db import datasets_file
from etl.db.engine import connect, schemas_of, translating
from etl.db.runs import database_now, report
from etl.model.errors import DatabaseUnavailable, RunCanceled, RunRefused
from etl.model.values import DatasetCounts, RunState
from etl.runtime.service import ServiceLoop, in_thread
from etl.sync.declared import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import Engine

    from etl.db.datasets_file import StoredFile
    from etl.model.values import RunReport
    from etl.runtime.service import StopEvent
    from etl.settings import Settings
    from etl.sync.declared import Declared

FIRST_RUN_SECONDS = 600
FIRST_RUN_POLL_SECONDS = 0.1
SLOW_SECONDS = 5
POLL_SECONDS = 2
LONG_WAIT = timedelta(seconds=60)
_NEWEST = (  # read from the primary key's index; fewer runs than this end between two polls
    "SELECT id, trigger, state, error, requested_at, dataset_counts FROM run"
    " ORDER BY id DESC LIMIT 50"
)
_FIRST_ENDED = (
    "SELECT id FROM run WHERE finished_at >= :since AND trigger <> 'event'"
    " AND (state = 'failed' OR step_seconds <> CAST('{}' AS jsonb))"
    " ORDER BY finished_at LIMIT 1"
)
_REFUSALS = {kind.__name__ for kind in RunRefused.__subclasses__()}


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as stored in the table."""

    id: int
    trigger: str
    state: str
    error: dict[str, Any] | None
    requested_at: datetime
    dataset_counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def changes(self) -> RunChanges:
        """What the run changed."""
        counts = {k: DatasetCounts.from_dict(v) for k, v in self.dataset_counts.items()}
        return RunChanges(self.id, self.trigger, counts)


class RunNews:
    """The runs reported so far; runs that had ended at the start count as reported."""

    def __init__(self, runs: Iterable[RunRow]) -> None:
        self._ended = _ended(runs)
        self._waiting: int | None = None
        self._last_error: str | None = None

    def lines(self, runs: Iterable[RunRow], now: datetime) -> list[str]:
        """A line for each run that failed since the last call, and for one that has waited long.

        The same failure is reported once in a row, because a run that is retried repeats it.
        """
        runs = sorted(runs, key=lambda run: run.id)
        reported, self._ended = self._ended, _ended(runs)
        new = [run for run in runs if run.id in self._ended - reported]
        return [line for run in new for line in self._failed(run)] + self._waits(runs, now)

    def _failed(self, run: RunRow) -> list[str]:
        if run.state != RunState.FAILED or run.error is None:
            self._last_error = None
            return []
        message = f"{run.error['message']} {run.error['hint']}".strip()
        if message == self._last_error:
            return []
        self._last_error = message
        name = f"Run {run.id} ({run.trigger})"
        if run.error["code"] == RunCanceled.__name__:
            return [f"{name}: {message}"]
        how = "was refused" if run.error["code"] in _REFUSALS else "failed"
        return [f"{name} {how}: {message}"]

    def _waits(self, runs: list[RunRow], now: datetime) -> list[str]:
        """A line for a request that waits because another process holds the run lock."""
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
            " It starts when the active run has ended; `./run.sh status` shows both."
        )
        return [line]


class StateNews:
    """The holds and the fault of the datasets file that were reported last."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._fault: dict[str, Any] | None = None

    def lines(self, holds: list[dict[str, Any]], fault: dict[str, Any] | None) -> list[str]:
        """A line for each new hold, and for each fault of the datasets file if they changed."""
        new = [one for one in holds if one["dataset"] not in self._held]
        self._held = {one["dataset"] for one in holds}
        before, self._fault = self._fault, fault
        return [*(render.hold(one) for one in new), *self._changed(before, fault)]

    @staticmethod
    def _changed(before: dict[str, Any] | None, fault: dict[str, Any] | None) -> list[str]:
        if fault == before:
            return []
        if fault is None:
            return ["The datasets file is valid again, and runs use it."]
        *lines, last = fault["message"].splitlines()
        return [*lines, last, fault["hint"]] if lines else [f"{last} {fault['hint']}"]


class _State(NamedTuple):
    """What one poll found."""

    runs: list[RunRow]
    now: datetime
    holds: list[dict[str, Any]]
    datasets: Declared
    file: StoredFile | None

    def ended(self) -> list[RunChanges]:
        ended = _ended(self.runs)
        return [run.changes() for run in self.runs if run.id in ended]


class RunWatch(ServiceLoop):
    """Polls the runs, holds, declarations and the state of the datasets file until stopped.

    `warn` gets the lines of failures and waits, `tell` those of changes.
    """

    def __init__(
        self,
        settings: Settings,
        warn: Callable[[str], object],
        tell: Callable[[str], object],
    ) -> None:
        super().__init__()
        self._engine: Engine = connect(settings, pool_size=1, checks_schema=True)
        self._warn = warn
        self._tell = tell
        self._news: tuple[RunNews, ChangeNews] | None = None
        self._state = StateNews()

    def serve(self) -> None:
        """Report what is new until stopped."""
        while not self.stopping.wait(POLL_SECONDS):
            self.poll()
        self.close()

    def poll(self) -> None:
        """Report what is new since the last poll; nothing while the database is unavailable."""
        with suppress(DatabaseUnavailable):
            found = self._newest()
            if self._news is None:
                changes = ChangeNews(found.ended(), found.datasets, found.file)
                self._news = RunNews(found.runs), changes
            fault = None if found.file is None else found.file.error
            for line in self._news[1].lines(found.ended(), found.datasets, found.file):
                self._tell(line)
            for line in self._news[0].lines(found.runs, found.now):
                self._warn(line)
            for line in self._state.lines(found.holds, fault):
                self._warn(line)

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    def _newest(self) -> _State:
        with translating(), self._engine.connect() as connection:
            return _State(
                [RunRow(*row) for row in connection.execute(text(_NEWEST))],
                database_now(connection),
                holds(connection),
                load(connection, schemas_of(self._engine).data),
                datasets_file.stored(connection),
            )


def await_first_run(
    engine: Engine,
    since: datetime,
    *,
    stopping: StopEvent,
    meanwhile: Callable[[], object],
    slow: Callable[[], object],
) -> RunReport | None:
    """Wait for the first full run that ends after `since`, and return its report.

    None when stopped or out of time before. An outage does not end the wait, because ended
    services are restarted. `slow` is called once if the run takes longer than SLOW_SECONDS.
    """
    began = time.monotonic()
    is_slow = False
    while not stopping.is_set() and time.monotonic() < began + FIRST_RUN_SECONDS:
        meanwhile()
        if not is_slow and time.monotonic() > began + SLOW_SECONDS:
            is_slow = True
            slow()
        with suppress(DatabaseUnavailable), translating(), engine.connect() as connection:
            ended = connection.scalar(text(_FIRST_ENDED), {"since": since})
            if ended is not None:
                return report(connection, ended)
        stopping.wait(FIRST_RUN_POLL_SECONDS)
    return None


def watching_runs(
    settings: Settings, warn: Callable[[str], object], tell: Callable[[str], object]
) -> AbstractContextManager[None]:
    """Report the runs that end while the block runs: failures to `warn`, changes to `tell`.

    A daemon thread that is not joined polls, so that a database that hangs blocks nothing else.
    """
    return in_thread(RunWatch(settings, warn, tell), "runs", join_seconds=0)


def _ended(runs: Iterable[RunRow]) -> set[int]:
    return {run.id for run in runs if run.state in {RunState.SUCCEEDED, RunState.FAILED}}
