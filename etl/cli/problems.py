"""`problems`: the open problems of objects."""

from __future__ import annotations

import click

from etl.cli import render
from etl.cli.common import database, print_found, print_json_list, print_lines, stdout_console
from etl.cli.completion import dataset_names
from etl.model.values import ProblemCode
from etl.runtime.program import naming


@click.command("problems")
@click.option(
    "--dataset", metavar="NAME", shell_complete=dataset_names, help="Only problems of this dataset."
)
@click.option("--key", metavar="KEY", help="Only problems of the object with this key.")
@click.option(
    "--code",
    metavar="CODE",
    type=click.Choice([code.value for code in ProblemCode]),
    help="Only problems with this code.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all of them as JSON.")
def problems_command(
    *, dataset: str | None, key: str | None, code: str | None, as_json: bool
) -> None:
    """List the open problems of objects, each with a hint.

    A terminal shows the first 100. A problem is closed by the next run after its object was
    corrected or removed.
    """
    from etl.cli.installed import chosen
    from etl.db.problems import count_open_problems, open_problems

    with database() as (_, connection):
        chosen(connection, dataset)
        found = open_problems(
            connection, datasets=() if dataset is None else (dataset,), key=key, code=code
        )
        if as_json:
            print_json_list(naming("note", problem) for problem in found)
        elif not print_found(found, render.problem, filters="--dataset, --key or --code"):
            others = count_open_problems(connection)
            lines = render.no_problems(dataset=dataset, key=key, code=code, others=others)
            print_lines(stdout_console(), lines)
