"""`status`: how the installation is, as the overview of the dashboard says it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from etl.cli.common import (
    EXIT_TRY_AGAIN,
    database,
    print_json,
    print_lines,
    stdout_console,
)
from etl.model.errors import DatabaseMisconfigured, DatabaseUnavailable, EtlError
from etl.settings import read_settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from etl.model.overview import Overview
    from etl.settings import Settings


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status_command(*, as_json: bool) -> None:
    """Say how everything is, and what needs attention.

    The first sentence is that of the dashboard. The datasets and the last runs follow. Exits with
    75 if the database does not answer.
    """
    from etl.cli.status import status

    try:
        with database() as (settings, connection):
            found, facts = current(connection, settings), status(connection, settings)
    except DatabaseMisconfigured:
        raise
    except DatabaseUnavailable as error:
        found, facts = without_database(read_settings(), error), None
    _print(found, facts, as_json=as_json)
    if facts is None:
        sys.exit(EXIT_TRY_AGAIN)


def current(connection: Connection, settings: Settings) -> Overview:
    """The overview, with a check whether the object store answers.

    Raises:  DatabaseUnavailable.
    """
    from etl.db.overview import read
    from etl.model.overview import overview

    return overview(read(connection, settings, store_error=store_error(settings)))


def without_database(settings: Settings, error: EtlError) -> Overview:
    """The overview while the database does not answer."""
    from etl.db import overview as facts
    from etl.model.overview import overview

    return overview(facts.without_database(settings, error))


def store_error(settings: Settings) -> EtlError | None:
    """Why the object store does not answer; None if it does."""
    from etl.storage.client import ObjectStore

    try:
        ObjectStore(settings).check()
    except EtlError as error:
        return error
    return None


def _print(found: Overview, facts: dict[str, Any] | None, *, as_json: bool) -> None:
    from etl.cli import status_lines

    if as_json:
        print_json({"overview": found.as_dict(), **(facts or {})})
    elif facts is None:
        print_lines(stdout_console(), status_lines.overview(found))
    else:
        print_lines(stdout_console(), status_lines.status(facts, found))
