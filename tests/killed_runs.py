"""Runs in processes of their own that kill themselves with SIGKILL at a chosen moment.

A moment is an operation (a statement of the run's connection, or a request to the store) and a
delay, after which the operation may be under way. A process forked from a server that has
imported everything starts within milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from etl.model.dataset import Dataset
from etl.model.errors import RebuildRefused
from etl.model.values import Trigger
from etl.runtime.logs import set_up_logs
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync import declared, holds
from etl.sync import stage as staging
from etl.sync.manager import DataManager
from etl.sync.merge import Thresholds
from etl.sync.stats import Profile

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__, "etl.sync.stream", "etl.read.csv"])

REQUESTS = ("list_pages", "stat", "fetch", "etag", "is_gone", "put_stream", "remove")
NO_STEP = "between steps"
_NOTE_BYTES = 120
_LIMIT_SECONDS = 900  # of a process on a busy machine


class Work(Enum):
    """What a process does."""

    FULL = auto()
    EVENTS = auto()
    REBUILD = auto()  # of the dataset named `rebuilt`; it may be refused
    PUBLISH = auto()  # between runs, what event runs committed


@dataclass(frozen=True)
class Job:
    """The work of one process, with the declarations and limits that it runs on."""

    work: Work
    settings: Settings
    datasets: tuple[Dataset, ...] | None
    thresholds: Thresholds
    floor: int  # of held retirements
    allowed: tuple[str, ...] = ()
    rebuilt: str = ""

    def do(self) -> None:
        """Do the work in this process."""
        manager = DataManager(self.settings, thresholds=self.thresholds, datasets=self.datasets)
        if self.work is Work.FULL:
            manager.run(
                Trigger.CLI, wait_seconds=60, allowed_retirements=dict.fromkeys(self.allowed)
            )
        elif self.work is Work.REBUILD:
            with suppress(RebuildRefused):
                manager.rebuild(
                    self.rebuilt, wait_seconds=60, allowed_retirements=dict.fromkeys(self.allowed)
                )
        elif self.work is Work.EVENTS:
            manager.run_events(wait_seconds=60)
        else:
            manager.publish_if_due(wait_seconds=60)


@dataclass(frozen=True)
class Moment:
    """Kill so long after this operation of the process began, counted from 1; 0: its start."""

    operation: int
    delay_seconds: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How many operations a process made in how long, and in which step it was killed, if so."""

    operations: int
    seconds: float
    was_killed: bool
    step: str


def run_in_process(job: Job, notes: Path, moment: Moment | None = None) -> Ended:
    """Do the work in a process, which kills itself at the moment unless it ends before."""
    process = _processes.Process(target=_work, args=(job, notes, moment))
    began = time.monotonic()
    process.start()
    process.join(_LIMIT_SECONDS)
    seconds = time.monotonic() - began
    code = process.exitcode
    process.close()
    assert code in (0, -signal.SIGKILL), f"{job.work} ended with exit code {code}"
    operations, step = notes.read_text("utf-8").split(maxsplit=1)
    return Ended(int(operations), seconds, code != 0, step.strip())


# -- in the process


def _work(job: Job, notes: Path, moment: Moment | None) -> None:
    set_up_logs("console", quiet=True)
    holds.FLOOR = job.floor
    fuse = _Fuse(os.open(notes, os.O_CREAT | os.O_WRONLY), moment)
    fuse.light()
    _count(fuse)
    job.do()


@dataclass
class _Fuse:
    """Counts the operations, notes the step of each, and kills the process at its moment."""

    file: int
    moment: Moment | None
    operations: int = 0
    steps: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def light(self) -> None:
        self._note(NO_STEP)
        self._kill_if_due()

    def count(self, detail: str) -> None:
        with self.lock:
            self.operations += 1
            self._note(f"{self.steps[-1] if self.steps else NO_STEP}: {detail}")
            self._kill_if_due()

    def _note(self, step: str) -> None:
        """Overwrite the note in one call, so that a kill leaves no half of it."""
        os.pwrite(self.file, f"{self.operations} {step}".ljust(_NOTE_BYTES).encode(), 0)

    def _kill_if_due(self) -> None:
        if self.moment is None or self.operations != self.moment.operation:
            return
        if self.moment.delay_seconds:
            threading.Timer(self.moment.delay_seconds, _kill).start()
        else:
            _kill()


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _count(fuse: _Fuse) -> None:
    """Count every statement, commit and request of this process, and follow the run's steps."""
    event.listen(Engine, "before_cursor_execute", lambda *found: fuse.count(_detail(found[2])))
    event.listen(Engine, "commit", lambda _: fuse.count("COMMIT"))
    for name in REQUESTS:
        setattr(ObjectStore, name, _counted(getattr(ObjectStore, name), fuse))
    Profile.step = _followed(Profile.step, fuse)  # type: ignore[method-assign]
    installing = declared.Declarations
    installing.of_full_run = _within(  # type: ignore[method-assign]
        "install", installing.of_full_run, fuse
    )
    staging._copy = _counted(staging._copy, fuse)  # noqa: SLF001 - the driver's, not SQLAlchemy's


def _detail(statement: str) -> str:
    """The verb and the table of a statement, roughly."""
    return " ".join(statement.split()[:4])[:60]


def _counted(method: Callable[..., Any], fuse: _Fuse) -> Callable[..., Any]:
    def request(*arguments: object, **named: object) -> object:
        fuse.count("request")
        return method(*arguments, **named)

    return request


def _within(step: str, function: Callable[..., Any], fuse: _Fuse) -> Callable[..., Any]:
    def called(*arguments: object, **named: object) -> object:
        fuse.steps.append(step)
        try:
            return function(*arguments, **named)
        finally:
            fuse.steps.pop()

    return called


def _followed(original: Callable[..., Any], fuse: _Fuse) -> Callable[..., Any]:
    @contextmanager
    def step(self: Profile, name: str) -> Iterator[None]:
        fuse.steps.append(name)
        try:
            with original(self, name):
                yield
        finally:
            fuse.steps.pop()

    return step
