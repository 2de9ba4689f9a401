"""`rows`: the rows of a dataset, with the filters and formats of the API."""

from __future__ import annotations

import json
import re
import shlex
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import click
from rich.table import Column, Table
from rich.text import Text

from etl.cli.common import SHOWN_ITEMS, console, database, print_lines, stdout_console
from etl.cli.completion import dataset_names
from etl.cli.render import sentence
from etl.model.errors import ConfigurationError
from etl.model.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Engine

    from api.rows.formats import Format
    from api.rows.query import RowQuery

FORMATS = ("table", "csv", "json", "ndjson", "parquet", "arrow")
MOST_ROWS = 100_000  # of a page, which is kept in memory
_BINARY = ("parquet", "arrow")
# A name in double quotes may contain anything.
_CONDITION = re.compile(r'("(?:[^"\\]|\\.)*"|[^="]+)=(.*)', re.DOTALL)
_NULL = ""


class _Asked(NamedTuple):
    """Which rows, as given on the command line."""

    where: tuple[tuple[str, str], ...]
    fields: str | None
    limit: int | None
    after: str | None


@click.command("rows")
@click.argument("dataset", metavar="DATASET", shell_complete=dataset_names)
@click.option(
    "--where",
    "conditions",
    metavar="COLUMN=OPERATOR.VALUE",
    multiple=True,
    help="Only rows for which this holds, such as amount=gte.10. Can be repeated.",
)
@click.option("--fields", metavar="COLUMNS", help="These columns only, comma-separated.")
@click.option("--retired", is_flag=True, help="The rows that left the bucket.")
@click.option(
    "--limit",
    metavar="NUMBER",
    type=click.IntRange(1, MOST_ROWS),
    help=f"At most so many rows; by default {SHOWN_ITEMS} in a table, else all.",
)
@click.option("--after", metavar="KEY", help="Only rows after this one, to get the next page.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="By default: table.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def rows_command(  # noqa: PLR0913 - the parameters of the API
    *,
    dataset: str,
    conditions: tuple[str, ...],
    fields: str | None,
    retired: bool,
    limit: int | None,
    after: str | None,
    kind: str | None,
    as_json: bool,
) -> None:
    """Print rows of a dataset, ordered by key.

    Filters, columns and formats are those of GET /datasets/DATASET/rows, and so is the output.
    """
    kind = "json" if as_json else kind or "table"
    if kind in _BINARY and sys.stdout.isatty():
        raise click.UsageError(f"{kind} is not text; write it into a file: … > rows.{kind}")
    if kind == "table":
        limit = limit or SHOWN_ITEMS
    asked = _Asked(tuple(map(_condition, conditions)), fields, limit, after)
    with database() as (_, connection), _translating_tables(dataset):
        query = _query(connection, dataset, asked, is_retired=retired)
        if kind == "table":
            following = _print_table(connection, query)
        elif query.limit is None:
            following = None
            _write_all(connection.engine, query, kind)
        else:
            following = _write_page(connection, query, kind)
    if following is not None:
        more = f"There are more rows: add `--after {shlex.quote(following)}`."
        print_lines(console, [sentence(more)])


def _condition(given: str) -> tuple[str, str]:
    """The column, and what must hold for it."""
    found = _CONDITION.fullmatch(given)
    if found is None:
        raise click.UsageError(
            f"--where {given!r} is not COLUMN=OPERATOR.VALUE, such as amount=gte.10."
        )
    return found[1], found[2]


def _query(connection: Connection, dataset: str, asked: _Asked, *, is_retired: bool) -> RowQuery:
    """The query of the API with these parameters.

    Raises:  ConfigurationError for an unknown dataset; UsageError with each fault.
    """
    from api.http.errors import WrongParameters
    from api.rows.requests import row_query
    from api.rows.shapes import live_rows, retired_rows
    from api.state.catalog import Catalog
    from api.state.services import utc_today
    from etl.db.engine import schemas_of

    known = Catalog().read(connection).datasets
    if dataset not in known:
        raise ConfigurationError(
            f"There is no dataset {dataset!r}.", hint=f"The datasets: {', '.join(known)}."
        )
    shape_of = retired_rows if is_retired else live_rows
    try:
        return row_query(
            shape_of(known[dataset], schemas_of(connection.engine).data),
            asked.where,
            utc_today(),
            parameters=(),
            fields=asked.fields,
            limit=asked.limit,
            after=asked.after,
        )
    except WrongParameters as error:
        faults = [f"{name} {message}" for name, message in error.faults]
        raise click.UsageError("\n".join(faults)) from error


# -- output


def _print_table(connection: Connection, query: RowQuery) -> str | None:
    """Print a page as a table; return `after` of the next one."""
    from api.rows.formats import ROW_FORMATS

    content, following = _page(connection, query, ROW_FORMATS["ndjson"])
    headings = (Column(Text(printable(name))) for name in query.fields)
    table = Table(*headings, box=None)
    lines = content.decode().splitlines()
    for line in lines:
        row = json.loads(line, parse_float=str, parse_int=str)
        table.add_row(*(Text(_cell(row[name])) for name in query.fields))
    print_lines(stdout_console(), [table] if lines else [Text("No row matches.")])
    return following


def _cell(value: Any) -> str:  # noqa: ANN401 - any JSON
    """A value as text that moves no cursor; null is empty."""
    if value is None:
        return _NULL
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(shown)


def _write_page(connection: Connection, query: RowQuery, name: str) -> str | None:
    """Write a page to standard output; return `after` of the next one."""
    from api.rows.formats import ROW_FORMATS

    kind = ROW_FORMATS[name]
    content, following = _page(connection, query, kind)
    _write(kind.encode(iter([content]), query.columns))
    return following


def _page(connection: Connection, query: RowQuery, kind: Format) -> tuple[bytes, str | None]:
    from api.rows.statements import copy_page

    return copy_page(connection, query, kind, has_json_scalar=_has_json_scalar(connection))


def _write_all(engine: Engine, query: RowQuery, name: str) -> None:
    """Write all rows to standard output as they come."""
    from api.rows.formats import ROW_FORMATS
    from etl.db.copy_stream import CopyStream

    kind = ROW_FORMATS[name]
    copied = CopyStream(engine.begin, partial(_copy, query, kind))
    try:
        _write(kind.encode(copied, query.columns))
    finally:
        copied.close()


def _copy(query: RowQuery, kind: Format, connection: Connection, sink: BinaryIO) -> None:
    from api.rows.statements import copy_rows

    copy_rows(connection, query, kind, sink, has_json_scalar=_has_json_scalar(connection))


def _write(chunks: Iterable[bytes]) -> None:
    output = sys.stdout.buffer
    for chunk in chunks:
        output.write(chunk)
    output.flush()


def _has_json_scalar(connection: Connection) -> bool:
    from api.state.services import JSON_SCALAR_VERSION
    from etl.db.engine import driver

    return bool(driver(connection).server_version >= JSON_SCALAR_VERSION)


@contextmanager
def _translating_tables(dataset: str) -> Iterator[None]:
    """Turn the error about a missing table into one with a remedy."""
    import psycopg2
    from sqlalchemy.exc import DBAPIError

    from etl.db.connection import UNDEFINED

    try:
        yield
    except (DBAPIError, psycopg2.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if getattr(cause, "pgcode", None) not in UNDEFINED:
            raise
        raise ConfigurationError(
            "The table of the dataset, or one of its columns, is missing.",
            hint="If another client changed it, rebuild it:"
            f" `./run.sh datasets apply --rebuild {dataset}`.",
        ) from error
