"""`watch`: the sentence of the overview, and the active run by step, until Ctrl-C.

A terminal shows them in place, and the runs that end above them. Without one, a line is printed
whenever something changes.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import click
from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from etl.cli import render, status_lines
from etl.cli.common import running_stack, stdout_console
from etl.cli.status_command import store_error, without_database
from etl.db.engine import connect, translating
from etl.db.overview import read
from etl.model.errors import DatabaseMisconfigured, DatabaseUnavailable
from etl.model.overview import overview
from etl.model.sentences import OverviewState
from etl.runtime.program import named
from etl.runtime.service import StopEvent, stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.model.errors import EtlError
    from etl.model.overview import Overview
    from etl.model.snapshot import ActiveRun
    from etl.settings import Settings

POLL_SECONDS = 1.0
STORE_CHECK_SECONDS = 5.0
STEPS = ("list", "read", "merge")  # of which a run records progress, and the commit after them
_BAR_WIDTH = 30


class _View(Protocol):
    """Shows overviews as they come, and lines about runs."""

    def show(self, found: Overview) -> None:
        """Show the overview, if it differs from the one before."""

    def tell(self, line: str) -> None:
        """Show a line about a run that ended."""

    def warn(self, line: str) -> None:
        """Show a line about a run that failed."""


def watch(*, as_json: bool) -> None:
    """Show the state until a signal.

    Raises:  DatabaseUnavailable when it is down at the start; later that is shown.
             DatabaseMisconfigured.
    """
    from etl.cli.run_watch import RunWatch

    stopping = StopEvent()
    with (
        running_stack(uses_store=False) as settings,
        stop_on_signals(stopping.set),
        closing(Looks(settings)) as looks,
        _view(as_json=as_json) as view,
        closing(RunWatch(settings, view.warn, view.tell)) as news,
    ):
        while not stopping.is_set():
            news.poll()
            view.show(looks.look())
            stopping.wait(POLL_SECONDS)


class Looks:
    """Reads the overview again and again, over one connection; checks the store less often."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = connect(settings, pool_size=1, checks_schema=True)
        self._store_error: EtlError | None = None
        self._checked_at: float | None = None

    def look(self) -> Overview:
        """The overview now, also while the database is down."""
        try:
            with translating(), self._engine.connect() as connection:
                found = read(connection, self._settings, store_error=self._check_store())
        except DatabaseMisconfigured:
            raise
        except DatabaseUnavailable as error:
            return without_database(self._settings, error)
        return overview(found)

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    def _check_store(self) -> EtlError | None:
        now = time.monotonic()
        if self._checked_at is None or now - self._checked_at >= STORE_CHECK_SECONDS:
            self._store_error = store_error(self._settings)
            self._checked_at = now
        return self._store_error


@contextmanager
def _view(*, as_json: bool) -> Iterator[_View]:
    if as_json:
        yield JsonView()
    elif sys.stdout.isatty():
        with _live() as view:
            yield view
    else:
        yield PlainView()


# -- without a terminal


def changing(found: Overview) -> tuple[object, ...]:
    """What has to change before the overview is printed again: not how long something lasts."""
    is_down = found.state is OverviewState.DOWN
    sentence = "" if is_down else found.sentence.text(found.as_of)
    items = tuple((one.kind, one.dataset, one.key, one.text) for one in found.attention)
    return found.state, found.title, sentence, items, found.attention_count, found.running


class JsonView:
    """Prints a JSON object in a line of its own whenever the overview changes."""

    def __init__(self) -> None:
        self._last: tuple[object, ...] | None = None

    def show(self, found: Overview) -> None:
        """Print the overview if it changed."""
        now = changing(found)
        if now != self._last:
            self._last = now
            click.echo(json.dumps(found.as_dict(), default=_plain, ensure_ascii=False))

    def tell(self, line: str) -> None:
        """Runs are part of the overview."""

    def warn(self, line: str) -> None:
        """Failures are part of the overview."""


def _plain(value: object) -> object:
    return render.iso(value) if isinstance(value, datetime) else str(value)


class PlainView:
    """Prints a line with the time whenever the sentence or the progress changes."""

    def __init__(self) -> None:
        self._last: tuple[object, ...] | None = None
        self._console = stdout_console()

    def show(self, found: Overview) -> None:
        """Print the sentence if it changed."""
        now = changing(found)
        if now[:3] != (self._last or ())[:3]:
            text = f"{found.as_of:%H:%M:%S} UTC  {found.sentence.text(found.as_of)}"
            self._print(text)
        self._last = now

    def tell(self, line: str) -> None:
        """Print a line about a run."""
        self._print(line)

    warn = tell

    def _print(self, line: str) -> None:
        self._console.print(named(line), markup=False, soft_wrap=True)
        sys.stdout.flush()


# -- in a terminal


@contextmanager
def _live() -> Iterator[_View]:
    from rich.live import Live

    console = stdout_console()
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        yield _LiveView(live, console)


class _LiveView:
    """Shows the overview in place; lines about runs stay above it."""

    def __init__(self, live: Any, console: Console) -> None:  # noqa: ANN401 - imported late
        self._live = live
        self._console = console

    def show(self, found: Overview) -> None:
        """Replace what is shown."""
        self._live.update(screen(found), refresh=True)

    def tell(self, line: str) -> None:
        """Print a line above."""
        self._console.print(named(line), style="green", markup=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        """Print a warning above."""
        self._console.print(named(line), style="yellow", markup=False, soft_wrap=True)


def screen(found: Overview) -> Group:
    """The overview, the active run by step, and the time."""
    lines: list[Any] = list(status_lines.overview(found))
    if found.running is not None:
        lines += [Text(), steps(found.running)]
    lines += [Text(), Text(f"{found.as_of:%H:%M:%S} UTC. Ctrl-C ends this view.", "dim")]
    return Group(*lines)


def steps(run: ActiveRun) -> Table:
    """The steps of a run with a bar each: done, running or waiting."""
    table = Table(f"run {run.run_id}", "state", "", "", box=None)
    current = STEPS[0] if run.step is None else run.step.name
    place = STEPS.index(current) if current in STEPS else 0
    for number, name in enumerate(STEPS):
        is_current = number == place
        state = "done" if number < place else "running" if is_current else "waiting"
        bar: ProgressBar | str = ""
        count = ""
        if number < place:
            bar = ProgressBar(total=1, completed=1, width=_BAR_WIDTH)
        elif is_current and run.step is not None:
            total, done = run.step.total, run.step.done
            # A bar without a total pulses; it is drawn each second.
            bar = ProgressBar(total=total, completed=done, width=_BAR_WIDTH, pulse=total is None)
            count = f"{done:,}" if total is None else f"{done:,} of {total:,}"
        table.add_row(name, state, bar, count)
    return table
