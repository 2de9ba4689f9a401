"""`runs`: the runs so far, one of them, and canceling one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from etl.cli.common import (
    EXIT_REFUSED,
    InOrder,
    database,
    print_json,
    print_lines,
    print_result,
    stdout_console,
    warn,
)
from etl.cli.completion import dataset_names
from etl.model.errors import ConfigurationError
from etl.model.values import RunOutcome, RunState, Trigger
from etl.runtime.program import named, naming

if TYPE_CHECKING:
    from etl.db.run_list import RunDetails
    from etl.model.sums import SumTable

_STATES = [one.value for one in (*RunOutcome, RunState.REQUESTED, RunState.RUNNING)]
_LIMIT = 50
_MOST = 1_000


class _Runs(InOrder):
    """A group in which `runs` is `runs list`, and `runs 12` is `runs show 12`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments with the name of a subcommand."""
        first = args[0] if args else "--"
        if first.isdecimal():
            args = ["show", *args]
        elif first.startswith("-") and first not in ctx.help_option_names:
            args = ["list", *args] if args else ["list"]
        return super().parse_args(ctx, args)


@click.group("runs", cls=_Runs)
def runs_group() -> None:
    """List the runs, show one by its ID, or cancel one.

    `runs` alone is `runs list`; `runs ID` is `runs show ID`.
    """


@runs_group.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only runs in this state.")
@click.option(
    "--trigger",
    type=click.Choice([one.value for one in Trigger]),
    help="Only runs with this trigger.",
)
@click.option(
    "--dataset",
    metavar="NAME",
    shell_complete=dataset_names,
    help="Only runs that read or changed this dataset.",
)
@click.option("--before", metavar="ID", type=click.IntRange(min=1), help="Only older runs.")
@click.option(
    "--limit",
    metavar="NUMBER",
    type=click.IntRange(1, _MOST),
    default=_LIMIT,
    help=f"How many runs; by default {_LIMIT}.",
)
@click.option("--all", "shows_all", is_flag=True, help="Show each event run, also if uneventful.")
@click.option("--json", "as_json", is_flag=True, help="Print each run as JSON, as GET /runs.")
def list_command(  # noqa: PLR0913 - each a filter
    *,
    state: str | None,
    trigger: str | None,
    dataset: str | None,
    before: int | None,
    limit: int,
    shows_all: bool,
    as_json: bool,
) -> None:
    """List the runs, newest first.

    Event runs that succeeded without a problem are folded into one line between other runs.
    """
    from etl.cli import runs_lines
    from etl.cli.installed import chosen
    from etl.db.run_list import RunFilter, folded, listed

    asked = RunFilter(state, trigger, dataset, before, limit)
    folds = not (shows_all or as_json or state or trigger or dataset)
    with database() as (_, connection):
        chosen(connection, dataset)
        found = listed(connection, asked, folds=folds)
        ids = [run["id"] for run in found]
        gaps = folded(connection, asked, ids) if folds else []
    if as_json:
        print_json([_as_json(run) for run in found])
    else:
        print_lines(stdout_console(), runs_lines.runs(found, gaps, asked))


@runs_group.command("show")
@click.argument("run_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show_command(*, run_id: int, as_json: bool) -> None:
    """Show one run: its steps, how its counts add up, and why it failed."""
    from etl.cli import runs_lines
    from etl.db.run_list import details

    with database() as (_, connection):
        found = details(connection, run_id)
    if found is None:
        raise _unknown(run_id)
    if as_json:
        print_json(_details_json(found))
    else:
        print_lines(stdout_console(), runs_lines.details(found))


@runs_group.command("cancel")
@click.argument("run_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def cancel_command(*, run_id: int, as_json: bool) -> None:
    """Cancel a run that is requested or active; it changes nothing then.

    An active run ends within seconds, unless it is about to commit. Exits with 3 if the run had
    ended before.
    """
    from etl.db.active_runs import Canceled, cancel

    with database() as (_, connection):
        outcome = cancel(connection, run_id)
        connection.commit()
    if outcome is Canceled.UNKNOWN:
        raise _unknown(run_id)
    sentences = {
        Canceled.CANCELED: f"Run {run_id} is canceled; it had not begun.",
        Canceled.CANCELING: f"Run {run_id} is being canceled: `./run.sh runs {run_id}` shows how"
        " it ends.",
        Canceled.ENDED: f"Run {run_id} had ended before: `./run.sh runs {run_id}` shows it.",
    }
    if as_json:
        print_json({"id": run_id, "outcome": outcome})
    elif outcome is Canceled.ENDED:
        warn(named(sentences[outcome]))
    else:
        print_result(sentences[outcome])
    if outcome is Canceled.ENDED:
        sys.exit(EXIT_REFUSED)


def _unknown(run_id: int) -> ConfigurationError:
    return ConfigurationError(f"There is no run {run_id}.", hint="`./run.sh runs` lists the runs.")


def _as_json(run: dict[str, Any]) -> dict[str, Any]:
    """A run as in GET /runs, and its outcome."""
    found = {name: value for name, value in run.items() if name != "dataset_counts"}
    return found | {"error": run["error"] and naming("hint", run["error"])}


def _details_json(found: RunDetails) -> dict[str, Any]:
    from etl.model.sums import sums

    return {
        "run": found.report,
        "outcome": found.outcome,
        "recovered_by": found.recovered_by,
        "sums": [
            {"title": one.title, "adds_up": one.adds_up, "rows": _equations(one)}
            for one in sums(found.report, found.before)
        ],
    }


def _equations(table: SumTable) -> list[dict[str, Any]]:
    names = [heading for _, heading in table.terms]
    return [
        {
            "name": row.name,
            table.total: row.total,
            **dict(zip(names, row.terms, strict=True)),
            "off_by": row.off_by,
        }
        for row in table.rows
    ]
