"""`replay`: read objects again, though they have not changed."""

from __future__ import annotations

import click

from etl.cli.common import console, print_result, wait_option
from etl.cli.completion import dataset_names
from etl.cli.render import counted
from etl.cli.runs import Asked, make_run, running_on
from etl.model.values import ProblemCode
from etl.settings import read_settings
from etl.settings.declared import file_datasets


@click.command("replay")
@click.option(
    "--dataset", metavar="NAME", shell_complete=dataset_names, help="All objects of this dataset."
)
@click.option("--key", metavar="KEY", help="The object with this key.")
@click.option(
    "--code",
    metavar="CODE",
    type=click.Choice([code.value for code in ProblemCode]),
    help="Objects with an open problem of this code.",
)
@wait_option(help="How long to wait for another run to end; by default 0: refused immediately.")
def replay_command(
    *, dataset: str | None, key: str | None, code: str | None, wait_seconds: float
) -> None:
    """Read some objects again and make a run.

    Several options together mean the objects to which all of them apply.
    """
    if dataset is key is code is None:
        raise click.UsageError("Say which objects: --dataset, --key or --code.")
    given = read_settings()
    datasets = file_datasets(given)
    from etl.db.engine import connect, translating
    from etl.db.manifest import read_again

    with running_on(given, datasets, [] if dataset is None else [dataset]) as settings:
        engine = connect(settings)
        with translating(), engine.begin() as connection:
            count = read_again(connection, dataset=dataset, key=key, code=code)
        engine.dispose()
        if count:
            console.print(f"The run reads {counted(count, 'object')} again.", markup=False)
            make_run(settings, datasets, Asked(wait_seconds=wait_seconds), as_json=False)
        else:
            print_result("No object to read again; no run was made.")
