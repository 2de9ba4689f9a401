"""`run`: one run now."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from etl.cli import render, run_lines
from etl.cli.common import (
    EXIT_REFUSED,
    console,
    print_report,
    progress_bar,
    running_stack,
    wait_option,
)
from etl.model.errors import ConfigurationError
from etl.model.values import Trigger
from etl.settings import read_settings
from etl.settings.datasets_file import declared_datasets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etl.model.dataset import Dataset


@click.command("run")
@wait_option(help="How long to wait for another run to end; by default 0: refused immediately.")
@click.option(
    "--dataset",
    "names",
    metavar="NAME",
    multiple=True,
    help="Only this dataset; all others stay as they are. Can be repeated.",
)
@click.option(
    "--allow-mass-retirement",
    "allowed",
    metavar="NAME",
    multiple=True,
    help="Retire even most rows of this dataset. Can be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def run_command(
    *, wait_seconds: float, names: tuple[str, ...], allowed: tuple[str, ...], as_json: bool
) -> None:
    """Make one run now and print its report.

    It exits with 3 if retirements of most rows of a dataset wait for permission.
    """
    datasets = declared_datasets(read_settings())  # before anything starts
    check_names(datasets, [*names, *allowed])
    from etl.cli.status import held, images_waiting
    from etl.sync.manager import DataManager

    with running_stack() as settings, progress_bar(hidden=as_json) as bar:
        tasks = {step: bar.add_task(step, total=None) for step in ("list", "read")}
        manager = DataManager(
            settings,
            datasets=datasets if settings.datasets_path else None,  # None: the installed ones
            progress=lambda step, done: bar.update(tasks[step], completed=done),
        )
        report = manager.run(
            Trigger.CLI,
            allowed_retirements=dict.fromkeys(allowed),
            wait_seconds=wait_seconds,
            only=frozenset(names) or None,
        )
        waiting = images_waiting(settings)
        holds = held(settings) if report.counts.objects_held else []
    print_report(
        report,
        lambda run: [*run_lines.report(run, holds), *render.images_waiting(waiting)],
        as_json=as_json,
        to=console,
    )
    if report.counts.objects_held:
        sys.exit(EXIT_REFUSED)


def check_names(datasets: Iterable[Dataset], names: Iterable[str]) -> None:
    """Refuse names that no dataset has.

    Raises:  ConfigurationError.
    """
    known = [one.name for one in datasets]
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"There is no dataset {name!r}.", hint=f"The datasets: {', '.join(known)}."
            )
