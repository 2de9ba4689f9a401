"""Shared by the commands: a running stack, a progress bar, reports as lines or JSON, warnings."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from etl import __version__, local
from etl.cli import render
from etl.runtime import traces
from etl.runtime.allocator import resume_collection
from etl.runtime.logs import get_logger, json_line, set_up_logs, wants_json
from etl.runtime.program import named
from etl.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.progress import Progress
    from sqlalchemy import Connection

    from etl.cli.render import Lines

Value = TypeVar("Value")

# The folder run.sh was called in, unless that is its own folder, in which the program runs.
CALLERS_FOLDER = "BUCKETLINE_CALLERS_FOLDER"
EXIT_FAILED = 1
EXIT_CONFIGURATION = 2
EXIT_REFUSED = 3
EXIT_DIFFERENCES = 4
EXIT_TRY_AGAIN = 75
SHOWN_ITEMS = 100
_PIPE_WIDTH = 10_000

console = Console(stderr=True, highlight=False)

wait_option = partial(
    click.option,
    *("--wait", "wait_seconds"),
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
)


class InOrder(click.Group):
    """Lists its commands in the order of their file, the first ones needed first."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names in the order in which they were added."""
        return list(self.commands)


class CallersPath(click.Path):
    """A path from the command line, relative to the folder in which run.sh was called."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """The path as seen from this process."""
        return callers_path(os.fsdecode(super().convert(value, param, ctx)))


def callers_path(given: str) -> Path:
    """A path as given on the command line, as seen from this process."""
    return Path(os.environ.get(CALLERS_FOLDER, "")) / given


@contextmanager
def running_stack(
    given: Settings | None = None, *, quiet: bool = True, uses_store: bool = True
) -> Iterator[Settings]:
    """Start or join the stack, with its tables, while the block runs; yield its settings.

    `given` are the settings of a caller that has read them. The buckets are created only for a
    command that `uses_store`.
    """
    from etl.cli.prepare import prepare

    settings = given or read_settings()
    set_up_logs(settings.log_format, quiet=quiet)
    traces.begin(settings.otel_exporter_otlp_endpoint, __version__)
    with local.running(settings) as filled:
        prepare(
            filled,
            make_tables=settings.embeds_database,
            make_buckets=uses_store and settings.embeds_object_store,
        )
        resume_collection()
        yield filled


def print_result(sentence: str) -> None:
    """Print a command's result to standard output, as a JSON line if a collector reads the logs.

    Then the command runs in a container, where its output is part of the logs.
    """
    shown = named(sentence)
    click.echo(json_line(shown) if wants_json() else shown)


def warn(sentence: str) -> None:
    """Write a warning to standard error, in the format of the logs."""
    if wants_json():
        set_up_logs("json")
        get_logger("etl").warning(sentence)
    else:
        console.print(sentence, style="yellow", markup=False, soft_wrap=True)


@contextmanager
def progress_bar(*, hidden: bool = False) -> Iterator[Progress]:
    """A progress bar on standard error, if that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=hidden or not console.is_terminal
    ) as bar:
        yield bar


@contextmanager
def database() -> Iterator[tuple[Settings, Connection]]:
    """The settings of a running stack, and a connection to its database."""
    from etl.db.engine import connect, translating

    with running_stack(uses_store=False) as settings:
        engine = connect(settings)
        with translating(), engine.connect() as connection:
            yield settings, connection
        engine.dispose()


def stdout_console() -> Console:
    """The console for what a command was asked to list; in a pipe or a file, tables are not cut."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def print_lines(to: Console, lines: Lines) -> None:
    """Print lines that `render` returned; only tables are fitted to the terminal's width."""
    for line in lines:
        if isinstance(line, Text):
            to.print(line, soft_wrap=True)
            continue
        with to.capture() as capture:
            to.print(line)
        for row in capture.get().splitlines():
            shown = Text.from_ansi(row)
            shown.rstrip()  # cells are padded
            to.print(shown, soft_wrap=True)


def print_found(
    found: Iterator[Value], as_lines: Callable[[Value], Lines], *, filters: str
) -> bool:
    """Print the lines of each item; return whether there was one.

    A terminal gets the first SHOWN_ITEMS and how to see the others; a pipe or a file gets all.
    """
    console = stdout_console()
    is_any = False
    for one in islice(found, SHOWN_ITEMS if console.is_terminal else None):
        print_lines(console, as_lines(one))
        is_any = True
    if next(found, None) is not None:
        more = f"There are more. Filter with {filters}, or print all with --json or into a file."
        print_lines(console, [Text(more)])
    return is_any


def print_report(
    value: Value, as_lines: Callable[[Value], Lines], *, as_json: bool, to: Console
) -> None:
    """Print a value as JSON to standard output, or as lines to the console."""
    if as_json:
        print_json(value)
    else:
        print_lines(to, as_lines(value))


def print_json(value: object) -> None:
    """Print the value to standard output as JSON."""
    click.echo(_as_json(value))


def print_json_list(values: Iterable[object]) -> None:
    """Print the values as one array, each as it comes, because there may be a million of them."""
    opened = False
    for value in values:
        click.echo(",\n" if opened else "[\n", nl=False)
        click.echo(_as_json(value), nl=False)
        opened = True
    click.echo("\n]" if opened else "[]")


def _as_json(value: object) -> str:
    return json.dumps(value, default=_plain, ensure_ascii=False, indent=2)


def _plain(value: object) -> object:
    """Convert a value that JSON has no type for: a time as 2026-01-02T03:04:05Z, others as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return render.iso(value)
    return str(value)
