"""`up`: seeds the bucket, then runs the scheduler and the API until Ctrl-C."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine, text

from etl import local
from etl.cli import render, run_lines
from etl.cli.arrivals import set_up_events
from etl.cli.children import Children
from etl.cli.common import print_lines
from etl.cli.run_watch import await_first_run, watching_runs
from etl.cli.runs import installed_datasets
from etl.db.engine import connect, translating
from etl.db.problems import count_open_problems
from etl.model.dataset import USERS
from etl.model.errors import ConfigurationError, DatabaseUnavailable
from etl.runtime.files import check_writable
from etl.runtime.locks import FileLock
from etl.runtime.program import named, program
from etl.runtime.service import StopEvent, stop_on_signals
from etl.storage.client import ObjectStore
from etl.storage.seed import sample_files, seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from rich.console import Console

    from etl.cli.arrivals import Arrivals
    from etl.model.dataset import Dataset
    from etl.settings import Settings

SLOW_SECONDS = 15
START_SECONDS = 300  # with a cold disk and busy cores, imports alone can take a minute
POLL_SECONDS = 0.1


def up(
    settings: Settings,
    console: Console,
    *,
    notes: Iterable[str] = (),
    sample: str | None,
    embeds_store: bool,
) -> None:
    """Start scheduler and API and keep them running; first fill an empty bucket with the `sample`.

    `notes` of the embedded servers are printed first. On Ctrl-C or SIGTERM it stops the children,
    then itself. A child that ends is restarted, unless its settings are wrong. Runs that change
    something, fail or are refused are reported.

    Raises:  ConfigurationError when `up` is already running in this LOCAL_DIR, or a child's
             settings are wrong; ServiceNotStarted when a child crashes while starting.
    """
    stopping = StopEvent()
    with _only_one_up(settings), stop_on_signals(stopping.set):
        for note in notes:
            console.print(note)
        store = ObjectStore(settings)
        _fill(settings, console, store, sample=sample)
        arrivals = set_up_events(settings, store, is_ours=embeds_store)
        for warning in arrivals.warnings:
            _warn(console, warning)
        children = Children(settings.local_dir)
        try:
            context = _Context(settings, console, children, stopping)
            _start(context, arrivals)
            with watching_runs(
                settings,
                warn=lambda line: _warn(console, line),
                tell=lambda line: console.print(line, style="green", markup=False, soft_wrap=True),
            ):
                while not stopping.wait(POLL_SECONDS):
                    context.restart_ended()
        finally:
            console.print("Stopping …")
            children.stop()


def _fill(settings: Settings, console: Console, store: ObjectStore, *, sample: str | None) -> None:
    """Upload the sample into an empty bucket, or print how to fill it."""
    bucket = settings.source_bucket
    if not store.is_empty(bucket):
        return
    if sample is not None:
        count = seed(store, settings, sample_files(sample)).count
        console.print(f"{count} sample objects uploaded to {bucket}.")
    else:
        line = f"The bucket {bucket} is empty. To upload a file or folder: `./run.sh seed PATH`."
        console.print(named(line), markup=False, soft_wrap=True)


def _warn(console: Console, line: str) -> None:
    console.print(named(line), style="yellow", markup=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Context:
    """The values shared by the steps of `up`."""

    settings: Settings
    console: Console
    children: Children
    stopping: StopEvent

    def restart_ended(self, *, starting: bool = False) -> None:
        self.children.restart_ended(lambda line: _warn(self.console, line), starting=starting)


def _start(context: _Context, arrivals: Arrivals) -> None:
    engine = connect(context.settings)
    started = _database_now(engine)
    url_file = context.settings.local_dir / "api.url"
    url_file.unlink(missing_ok=True)
    context.children.start("scheduler", "schedule")
    context.children.start("api", "serve", "--url-file", str(url_file.resolve()))
    url = _await_url(context, url_file)
    if url is not None:
        _announce(context, url, arrivals)
        _report_first_run(context, engine, started, url)
    engine.dispose()


def _announce(context: _Context, url: str, arrivals: Arrivals) -> None:
    settings, console = context.settings, context.console
    if not url.endswith(f":{settings.api_port}"):
        console.print(f"Port {settings.api_port} is taken; the API is at {url}.")
    console.print(arrivals.sentence(settings, url), markup=False, soft_wrap=True)


def _report_first_run(context: _Context, engine: Engine, started: datetime, url: str) -> None:
    report = await_first_run(
        engine,
        started,
        stopping=context.stopping,
        meanwhile=context.restart_ended,
        slow=lambda: context.console.print(
            f"The API is at {url}. The first run has not finished yet; see `{program()} status`.",
            soft_wrap=True,
        ),
    )
    if report is not None:
        print_lines(context.console, run_lines.report(report))
        if not report.counts.problems:
            print_lines(context.console, render.open_problems(_open_problems(engine)))
    if not context.stopping.is_set():
        datasets = _datasets(context.settings)
        print_lines(context.console, render.welcome(context.settings, url, datasets))


def _datasets(settings: Settings) -> list[Dataset]:
    """The installed datasets; only users before the first run, or if the database is down."""
    with suppress(DatabaseUnavailable):
        return installed_datasets(settings) or [USERS]
    return [USERS]


def _open_problems(engine: Engine) -> int:
    """The number of open problems; 0 if the database is down, which the children report."""
    with suppress(DatabaseUnavailable), translating(), engine.connect() as connection:
        return count_open_problems(connection)
    return 0


@contextmanager
def _only_one_up(settings: Settings) -> Iterator[None]:
    with _lock_file(settings.local_dir) as lock:
        if not lock.try_exclusive():
            raise ConfigurationError(
                f"Bucketline is up already in {settings.local_dir.resolve()}.",
                hint="Use it (`./run.sh status`), stop it with Ctrl-C, or set another LOCAL_DIR.",
            )
        yield


def _lock_file(local_dir: Path) -> FileLock:
    try:
        local_dir.mkdir(parents=True, exist_ok=True)
        check_writable(local_dir)
        return FileLock(local_dir / "up.lock")
    except OSError as error:
        raise local.unusable(local_dir, error) from error


def _await_url(context: _Context, url_file: Path) -> str | None:
    """The API's URL as soon as it listens; None when `up` was stopped before."""
    children, is_slow = context.children, False
    while not context.stopping.wait(POLL_SECONDS):
        context.restart_ended(starting=True)
        if url_file.exists():
            return url_file.read_text("utf-8").strip()
        if not is_slow and children.is_overdue("api", SLOW_SECONDS):
            is_slow = True
            context.console.print("The API is still starting. The machine is slow, or busy.")
        if children.is_overdue("api", START_SECONDS):
            written = children.output("api")
            raise ConfigurationError(
                f"The API did not start listening within {START_SECONDS} s:\n{written}",
                hint=f"See {children.log('api')}. If the machine is busy, try again.",
            )
    return None


def _database_now(engine: Engine) -> datetime:
    with translating(), engine.connect() as connection:
        now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return now
