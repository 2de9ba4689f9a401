"""`shadowed`: the valid rows that lost to another row of the same user."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from etl.cli.common import database, print_json_list, print_lines, stdout_console
from etl.cli.render import others_of
from etl.model.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etl.cli.render import Lines

SHOWN_ROWS = 100
_REASONS = {
    "last_modified": "that object is newer",
    "key": "that key is smaller",
    "line": "that line is later",
}


@click.command("shadowed")
@click.option("--key", metavar="KEY", help="Only the rows of the object with this key.")
@click.option("--user", "user_id", metavar="USER_ID", help="Only the rows of this user.")
@click.option("--json", "as_json", is_flag=True, help="Print all of them as JSON.")
def shadowed_command(*, key: str | None, user_id: str | None, as_json: bool) -> None:
    """List the valid rows that lost to another row of the same user.

    The newest object wins, then the smallest key, then the last line. If the row that won is
    removed, the shadowed row is loaded.
    """
    from etl.db.shadowed import count_shadowed, shadowed_rows

    with database() as (settings, connection):
        found = shadowed_rows(connection, settings.source_bucket, key=key, user_id=user_id)
        if as_json:
            print_json_list(found)
            return
        rows = list(islice(found, SHOWN_ROWS + 1))
        total = count_shadowed(connection)
    lines = row_lines(rows) if rows else no_rows(key=key, user_id=user_id, others=total)
    print_lines(stdout_console(), lines)


def row_lines(found: Sequence[Mapping[str, Any]]) -> Lines:
    """Each row with its place and the row it lost to; at most SHOWN_ROWS of them."""
    lines: Lines = []
    for row in found[:SHOWN_ROWS]:
        names = printable(f"{row['first_name']} {row['last_name']}")
        line = f"{_place(row)}: user {printable(row['user_id'])}, {names}, {row['birthts']}"
        reason = f"  lost to {_place(row['lost_to'])}: {_REASONS[row['lost_by']]}"
        lines += [Text(line, "yellow"), Text(reason)]
    if len(found) > SHOWN_ROWS:
        lines.append(Text("There are more. Filter with --key or --user; --json prints all."))
    return lines


def _place(row: Mapping[str, Any]) -> str:
    return f"{printable(row['key'])}, line {row['line']}"


def no_rows(*, key: str | None, user_id: str | None, others: int) -> Lines:
    """No shadowed row matches the filters; how many others there are."""
    asked = "" if user_id is None else f" of user '{printable(user_id)}'"
    asked += "" if key is None else f" in '{printable(key)}'"
    none = Text(f"No row{asked} is shadowed.", "green")
    return [none, *others_of(others, "other row", "shadowed")]
