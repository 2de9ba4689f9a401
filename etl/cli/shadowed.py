"""`shadowed`: the valid rows that lost to another row with the same key."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from etl.cli.common import database, print_found, print_json_list, print_lines, stdout_console
from etl.cli.completion import dataset_names
from etl.cli.render import iso, others_of
from etl.model.dataset import USERS
from etl.model.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

    from etl.cli.render import Lines
    from etl.db.dataset_sql import DatasetSql
    from etl.settings import Settings

SHOWN_CELLS = 8
_REASONS = {
    "prefer": "its {prefer} is greater",
    "last_modified": "that object is newer",
    "key": "that key is smaller",
    "line": "that line is later",
}


@click.command("shadowed")
@click.option(
    "--dataset", metavar="NAME", shell_complete=dataset_names, help="Only the rows of this dataset."
)
@click.option("--key", metavar="KEY", help="Only the rows of the object with this key.")
@click.option("--user", "user_id", metavar="USER_ID", help="Only the rows of this user.")
@click.option("--json", "as_json", is_flag=True, help="Print all of them as JSON.")
def shadowed_command(
    *, dataset: str | None, key: str | None, user_id: str | None, as_json: bool
) -> None:
    """List rows that lost to another row with the same key.

    The greatest value of `prefer` wins if the dataset declares it, then the newest object, the
    smallest key, and the last line. If the row that won is removed, the shadowed row is loaded. A
    terminal shows the first 100.
    """
    from etl.cli.installed import chosen
    from etl.db.shadowed import count_shadowed

    if user_id is not None and dataset not in {None, USERS.name}:
        raise click.UsageError("--user selects rows of the dataset users; use --key.")
    with database() as (settings, connection):
        asked = chosen(connection, USERS.name if user_id is not None else dataset)
        found = _rows(connection, settings, asked, key, user_id)
        if as_json:
            print_json_list(map(_as_json, found))
        elif not print_found(found, row_lines, filters="--dataset, --key or --user"):
            total = sum(count_shadowed(connection, sql) for sql in chosen(connection, None))
            lines = no_rows(dataset=dataset, key=key, user_id=user_id, others=total)
            print_lines(stdout_console(), lines)


def _rows(
    connection: Connection,
    settings: Settings,
    asked: list[DatasetSql],
    key: str | None,
    user_id: str | None,
) -> Iterator[dict[str, Any]]:
    """The shadowed rows of these datasets, each with its dataset, primary key and `prefer`."""
    from etl.db.shadowed import shadowed_rows

    for sql in asked:
        one = sql.dataset
        bucket = one.bucket or settings.source_bucket
        for row in shadowed_rows(connection, sql, bucket, key=key, user_id=user_id):
            yield {"dataset": one.name, "identity": one.primary_key, "prefer": one.prefer, **row}


def _as_json(found: Mapping[str, Any]) -> dict[str, Any]:
    from etl.db.shadowed import as_user

    row = {name: value for name, value in found.items() if name not in {"identity", "prefer"}}
    return {"dataset": USERS.name, **as_user(row)} if row["dataset"] == USERS.name else row


def row_lines(found: Mapping[str, Any]) -> Lines:
    """A row with its place, and the row it lost to."""
    reason = _REASONS[found["lost_by"]].format(prefer=found["prefer"])
    return [
        Text(f"{_place(found)}: {_named(found)}", "yellow"),
        Text(f"  lost to {_place(found['lost_to'])}: {reason}"),
    ]


def _named(found: Mapping[str, Any]) -> str:
    row = found["row"]
    if found["dataset"] == USERS.name:
        names = printable(f"{row['first_name']} {row['last_name']}")
        return f"user {printable(row['user_id'])}, {names}, {row['birthts']}"
    key = ", ".join(printable(_text(row[name])) for name in found["identity"])
    cells = [
        printable(f"{name} {_text(value)}")
        for name, value in row.items()
        if value is not None and name not in found["identity"]
    ]
    shown = cells[:SHOWN_CELLS] + ["…"] * (len(cells) > SHOWN_CELLS)
    return ", ".join([f"{found['dataset']} {key}", *shown])


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return iso(value)
    return (
        json.dumps(value, ensure_ascii=False)
        if isinstance(value, (bool, dict, list))
        else str(value)
    )


def _place(row: Mapping[str, Any]) -> str:
    return f"{printable(row['key'])}, line {row['line']}"


def no_rows(*, dataset: str | None, key: str | None, user_id: str | None, others: int) -> Lines:
    """No shadowed row matches the filters; how many others there are."""
    asked = "" if dataset is None else f" of dataset '{printable(dataset)}'"
    asked += "" if user_id is None else f" of user '{printable(user_id)}'"
    asked += "" if key is None else f" in '{printable(key)}'"
    none = Text(f"No row{asked} is shadowed.", "green")
    return [none, *others_of(others, "other row", "shadowed")]
