"""What commands share: a stack that is up while they work, and JSON as their answer."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click

from etl import local, show
from etl.logs import set_up_logs
from etl.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection


class InOrder(click.Group):
    """Lists its commands as they stand in their file: what is needed first comes first."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names in the order in which they were added."""
        return list(self.commands)


@contextmanager
def live(*, quiet: bool = True) -> Iterator[Settings]:
    """The settings of a stack that is up for as long as the block runs, tables and all."""
    from etl.prepare import prepare

    settings = read_settings()
    set_up_logs(settings.log_format, quiet=quiet)
    with local.running(settings) as filled:
        prepare(
            filled,
            make_tables=settings.embeds_database,
            make_buckets=settings.embeds_object_store,
        )
        yield filled


@contextmanager
def database() -> Iterator[tuple[Settings, Connection]]:
    """Settings of, and a connection to, a stack that is up for as long as the block runs."""
    from etl.database import connect, translating

    with live() as settings:
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
        return show.iso(value)
    return str(value)
