"""`up`: seed, scheduler and API over a stack that is up, kept going until Ctrl-C."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, text

from etl import local, show, spawn
from etl.bucket import ObjectStore
from etl.database import connect, translating
from etl.errors import ConfigurationError, EtlError
from etl.local.files import last_lines, open_log
from etl.local.locks import FileLock
from etl.local.processes import Launch, start, stop
from etl.program import named, program
from etl.run_watch import first_run, telling_of_runs
from etl.seed import seed
from etl.subscriptions import subscribe, wanted

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from datetime import datetime
    from types import FrameType

    from rich.console import Console

    from etl.settings import Settings

START_SECONDS = 30
LOOK_SECONDS = 0.1
FIRST_RESTART_SECONDS = 1.0
LAST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0


def up(settings: Settings, console: Console, *, sample: Path | None) -> None:
    """Seed an empty bucket from `sample`, start scheduler and API, and keep them up.

    Ends on Ctrl-C or SIGTERM, children first; a child that dies is started again, and a run
    that fails or is refused is told of.

    Raises:  ConfigurationError when this LOCAL_DIR is up already, or a child does not start.
    """
    with _alone(settings), _until_told_to_stop() as told:
        for note in local.notes(settings):
            console.print(note)
        store = ObjectStore(settings)
        if sample is not None and store.is_empty(settings.source_bucket):
            count = seed(store, settings.source_bucket, sample, uploaded=lambda: None)
            console.print(f"{count} sample objects uploaded to {settings.source_bucket}.")
        _subscribe(settings, console, store)
        children = _Children(settings)
        try:
            _start(settings, console, children, told)
            with telling_of_runs(settings, lambda line: _warn(console, line)):
                while not told.stop:
                    children.tend(console)
                    time.sleep(LOOK_SECONDS)
        finally:
            console.print("Stopping …")
            children.stop()


def _subscribe(settings: Settings, console: Console, store: ObjectStore) -> None:
    """Let the store tell us of changes; a store that cannot is named, and costs only time."""
    if not settings.arns:
        return
    try:
        subscribe(store, settings.source_bucket, wanted(settings.arns))
    except EtlError as error:
        _warn(console, f"{error.message} {error.advice}")
        show.not_subscribed(console, settings)


def _warn(console: Console, line: str) -> None:
    console.print(named(line), style="yellow", markup=False, soft_wrap=True)


def _start(settings: Settings, console: Console, children: _Children, told: _Told) -> None:
    engine = connect(settings)
    started = _database_now(engine)
    children.start("scheduler", "schedule")
    children.start("api", "serve", "--url-file", str(children.url_file.resolve()))
    url = _await_url(children, told)
    if url is None:
        return
    if not url.endswith(f":{settings.api_port}"):
        console.print(f"Port {settings.api_port} is taken; the API is at {url}.")
    report = first_run(
        engine,
        started,
        is_stopped=lambda: told.stop,
        meanwhile=lambda: children.tend(console),
        slow=lambda: console.print(
            f"The API is at {url}. The first run is not over yet;"
            f" `{program()} status` tells of it.",
            soft_wrap=True,
        ),
    )
    engine.dispose()
    if report is not None:
        show.report(console, report)
    if not told.stop:
        show.welcome(console, settings, url)


@dataclass
class _Told:
    """Whether a signal has asked us to stop."""

    stop: bool = False


@contextmanager
def _until_told_to_stop() -> Iterator[_Told]:
    told = _Told()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        told.stop = True

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    settings.local_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.local_dir / "up.lock") as lock:
        if not lock.try_exclusive():
            raise ConfigurationError(
                f"Bucketline is up already in {settings.local_dir.resolve()}.",
                hint="Use it (`./run.sh status`), end it with Ctrl-C, or set another LOCAL_DIR.",
            )
        yield


class _Children:
    """The scheduler's and the API's processes, and when each may be started again."""

    def __init__(self, settings: Settings) -> None:
        self._logs = settings.local_dir / "logs"
        self.url_file = settings.local_dir / "api.url"
        self.url_file.unlink(missing_ok=True)
        self._running: dict[str, _Child] = {}

    def start(self, name: str, *command: str) -> None:
        self._running[name] = _Child(command, self._spawn(name, command), time.monotonic())

    def _spawn(self, name: str, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        # In this folder, where .env is.
        launch = Launch(spawn.command("etl", *command), spawn.environment(), directory=Path.cwd())
        with open_log(self.log(name)) as log:
            return start(launch, log)

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def check_started(self) -> None:
        """Raises:  ConfigurationError quoting the log of a child that died while starting."""
        for name, child in self._running.items():
            if child.process.poll() is not None:
                raise ConfigurationError(
                    f"The {name} did not start:\n{last_lines(self.log(name))}",
                    hint=f"All of it: {self.log(name)}.",
                )

    def tend(self, console: Console) -> None:
        """Start again what has died, after a pause that doubles while it keeps dying."""
        now = time.monotonic()
        for name, child in self._running.items():
            if child.process.poll() is None:
                continue
            if child.restart_at is None:
                child.note_death(now)
                console.print(f"The {name} ended; starting it again. See {self.log(name)}.")
            elif now >= child.restart_at:
                child.process, child.started, child.restart_at = (
                    self._spawn(name, child.command),
                    now,
                    None,
                )

    def stop(self) -> None:
        stop({child.process: signal.SIGTERM for child in self._running.values()})


@dataclass
class _Child:
    command: tuple[str, ...]
    process: subprocess.Popen[bytes]
    started: float
    restart_at: float | None = None
    pause: float = FIRST_RESTART_SECONDS

    def note_death(self, now: float) -> None:
        steady = now - self.started > STEADY_SECONDS
        self.pause = FIRST_RESTART_SECONDS if steady else min(self.pause * 2, LAST_RESTART_SECONDS)
        self.restart_at = now + self.pause


def _await_url(children: _Children, told: _Told) -> str | None:
    """The API's URL as soon as it listens; None when told to stop before."""
    deadline = time.monotonic() + START_SECONDS
    while not told.stop:
        children.check_started()
        if children.url_file.exists():
            return children.url_file.read_text("utf-8").strip()
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"The API did not listen within {START_SECONDS} s.",
                hint=f"See {children.log('api')}.",
            )
        time.sleep(LOOK_SECONDS)
    return None


def _database_now(engine: Engine) -> datetime:
    with translating(), engine.connect() as connection:
        now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return now
