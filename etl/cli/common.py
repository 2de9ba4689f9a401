"""Shared by commands: a running stack, a progress bar, JSON output, warnings."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from etl import local
from etl.cli import render
from etl.runtime.allocator import resume_collection
from etl.runtime.logs import json_line, set_up_logs, wants_json
from etl.runtime.program import named
from etl.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

# Where run.sh was called, if in another folder than its own, where the program runs.
CALLERS_FOLDER = "BUCKETLINE_CALLERS_FOLDER"
EXIT_FAILED = 1
EXIT_CONFIGURATION = 2
EXIT_REFUSED = 3
EXIT_DIFFERENCES = 4
EXIT_TRY_AGAIN = 75

console = Console(stderr=True, highlight=False)


class InOrder(click.Group):
    """Lists its commands as they stand in their file: what is needed first comes first."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names in the order in which they were added."""
        return list(self.commands)


class CallersPath(click.Path):
    """A path as the caller gave it: a relative one counts from the folder run.sh was called in."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """The path from where this process is."""
        given = super().convert(value, param, ctx)
        return Path(os.environ.get(CALLERS_FOLDER, "")) / os.fsdecode(given)


@contextmanager
def live(*, quiet: bool = True, uses_store: bool = True) -> Iterator[Settings]:
    """The settings of a stack that is up, with its tables, while the block runs.

    The buckets are created only for a command that `uses_store`.
    """
    from etl.cli.prepare import prepare

    settings = read_settings()
    set_up_logs(settings.log_format, quiet=quiet)
    with local.running(settings) as filled:
        prepare(
            filled,
            make_tables=settings.embeds_database,
            make_buckets=uses_store and settings.embeds_object_store,
        )
        resume_collection()
        yield filled


def print_result(sentence: str) -> None:
    """What a command did, on standard output; one JSON line where a collector reads the logs.

    The commands that prepare a deployment run in containers, next to the services.
    """
    shown = named(sentence)
    click.echo(json_line(shown) if wants_json() else shown)


def warn(sentence: str) -> None:
    """Write a warning to standard error, in the format of the logs."""
    if wants_json():
        set_up_logs("json")
        structlog.get_logger("etl").warning(sentence)
    else:
        console.print(sentence, style="yellow", markup=False, soft_wrap=True)


@contextmanager
def progress_bar(*, hidden: bool = False) -> Iterator[Progress]:
    """A progress bar on standard error; nothing if that is not a terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=hidden or not console.is_terminal
    ) as bar:
        yield bar


@contextmanager
def database() -> Iterator[tuple[Settings, Connection]]:
    """Settings of, and a connection to, a stack that is up for as long as the block runs."""
    from etl.db.engine import connect, translating

    with live(uses_store=False) as settings:
        engine = connect(settings)
        with translating(), engine.connect() as connection:
            yield settings, connection
        engine.dispose()


def print_json(value: object) -> None:
    """The value, times and all, on standard output."""
    click.echo(_as_json(value))


def print_json_list(values: Iterable[object]) -> None:
    """The values as one array, each printed as it comes: there may be a million of them."""
    opened = False
    for value in values:
        click.echo(",\n" if opened else "[\n", nl=False)
        click.echo(_as_json(value), nl=False)
        opened = True
    click.echo("\n]" if opened else "[]")


def _as_json(value: object) -> str:
    return json.dumps(value, default=_plain, ensure_ascii=False, indent=2)


def _plain(value: object) -> str:
    """What JSON has no type for: a time as 2026-01-02T03:04:05Z, anything else as its text."""
    if isinstance(value, datetime):
        return render.iso(value)
    return str(value)
