"""`run`: one run now."""

from __future__ import annotations

import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import click

from etl.cli import render, run_lines
from etl.cli.common import (
    EXIT_FAILED,
    EXIT_REFUSED,
    console,
    print_json,
    print_lines,
    print_report,
    progress_bar,
    running_stack,
    stdout_console,
    wait_option,
)
from etl.cli.completion import dataset_names
from etl.model.dataset import USERS
from etl.model.errors import ConfigurationError, DatasetsFailed
from etl.model.values import RunState, Trigger
from etl.settings import read_settings
from etl.settings.addresses import parse_dask_address
from etl.settings.declared import file_datasets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from etl.model.dataset import Dataset
    from etl.model.values import RunReport
    from etl.settings import Settings
    from etl.sync.manager import DataManager


@click.command("run")
@wait_option(help="How long to wait for another run to end; by default 0: refused immediately.")
@click.option(
    "--dataset",
    "names",
    metavar="NAME",
    shell_complete=dataset_names,
    multiple=True,
    help="Only this dataset; all others stay as they are. Can be repeated.",
)
@click.option(
    "--allow-mass-retirement",
    "allowed",
    metavar="NAME",
    shell_complete=dataset_names,
    multiple=True,
    help="Retire even most rows of this dataset. Can be repeated.",
)
@click.option(
    "--dask",
    "dask_scheduler",
    metavar="ADDRESS",
    help="Read on the workers of this Dask scheduler, such as tcp://127.0.0.1:8786; or local.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def run_command(  # noqa: PLR0913 - one for each option
    *,
    wait_seconds: float,
    names: tuple[str, ...],
    allowed: tuple[str, ...],
    dask_scheduler: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make one full run now and print its report.

    Exits with 1 if the run failed for any dataset, with 3 if retirements of most rows of a dataset
    wait for permission.
    """
    given = _on_dask(read_settings(), dask_scheduler)
    datasets = file_datasets(given)  # before anything starts
    asked = Asked(frozenset(names) or None, dict.fromkeys(allowed), wait_seconds)
    with running_on(given, datasets, [*names, *allowed]) as settings:
        make = preview if dry_run else make_run
        make(settings, datasets, asked, as_json=as_json)


def _on_dask(settings: Settings, address: str | None) -> Settings:
    """The settings with this DASK_SCHEDULER, if it is given.

    Raises:  ConfigurationError when it is not an address.
    """
    if address is None:
        return settings
    try:
        parsed = parse_dask_address(address)
    except ValueError as error:
        raise ConfigurationError(
            f"{address!r} is not the address of a Dask scheduler.",
            hint=f"For --dask, {error}.",
        ) from error
    return settings.model_copy(update={"dask_scheduler": parsed})


class Asked(NamedTuple):
    """What a run is to do: its datasets, allowed retirements, and how long it may wait."""

    only: frozenset[str] | None = None
    allowed: Mapping[str, None] = {}
    wait_seconds: float = 0


@contextmanager
def running_on(
    given: Settings, datasets: tuple[Dataset, ...] | None, names: Sequence[str]
) -> Iterator[Settings]:
    """The settings of a running stack, if each name is that of a dataset.

    Names of datasets without a file are those that are installed, or `users` before the first run.

    Raises:  ConfigurationError, with a file before anything starts.
    """
    if datasets is not None:
        check_names(datasets, names)
    with running_stack(given) as settings:
        if datasets is None and names:
            check_names(installed_datasets(settings) or [USERS], names)
        yield settings


def installed_datasets(settings: Settings) -> list[Dataset]:
    """The installed datasets; none before the first run.

    Raises:  DatabaseUnavailable.
    """
    from etl.db.engine import connect, schemas_of, translating
    from etl.db.installed import installed

    engine = connect(settings)
    try:
        with translating(), engine.connect() as connection:
            return [sql.dataset for sql in installed(connection, schemas_of(engine).data)]
    finally:
        engine.dispose()


def make_run(
    settings: Settings, datasets: tuple[Dataset, ...] | None, asked: Asked, *, as_json: bool
) -> None:
    """Make a run and print its report; exit with 1 if a dataset failed, 3 if retirements are held.

    Without `datasets`, it syncs those installed.
    """
    from etl.cli.status import held, images_waiting

    with run_manager(settings, datasets, as_json=as_json) as manager:
        report = _report(manager, asked)
    waiting = images_waiting(manager.engine, settings)
    holds = held(manager.engine) if report.counts.objects_held else []
    print_report(
        report,
        lambda run: [
            *run_lines.report(run, holds),
            *render.images_waiting(waiting, run_lines.width(run.dataset_counts)),
        ],
        as_json=as_json,
        to=console,
    )
    if report.state is RunState.FAILED:
        sys.exit(EXIT_FAILED)
    if report.counts.objects_held:
        sys.exit(EXIT_REFUSED)


def _report(manager: DataManager, asked: Asked) -> RunReport:
    """The report of a run, also of one that did not commit all datasets."""
    try:
        return manager.run(
            Trigger.CLI,
            allowed_retirements=asked.allowed,
            wait_seconds=asked.wait_seconds,
            only=asked.only,
        )
    except DatasetsFailed as error:
        if error.report is None:
            raise
        return error.report


def preview(
    settings: Settings,
    datasets: tuple[Dataset, ...] | None,
    asked: Asked,
    *,
    as_json: bool,
    rebuilt: str | None = None,
) -> None:
    """Print what a run would change; exit with 1 after a failure, 3 if retirements are held.

    `rebuilt` names the dataset of which a rebuild is asked.
    """
    with run_manager(settings, datasets, as_json=as_json) as manager:
        found = manager.preview(
            allowed_retirements=asked.allowed,
            wait_seconds=asked.wait_seconds,
            only=asked.only,
            rebuilt=rebuilt,
        )
    if as_json:
        print_json(run_lines.preview_json(found))
    else:
        print_lines(stdout_console(), run_lines.preview(found))
    if found.failures:
        sys.exit(EXIT_FAILED)
    if any(counts.objects_held for counts in found.counts.values()):
        sys.exit(EXIT_REFUSED)


@contextmanager
def run_manager(
    settings: Settings, datasets: tuple[Dataset, ...] | None, *, as_json: bool
) -> Iterator[DataManager]:
    """The manager of runs, which shows its progress while the block runs."""
    from etl.sync.manager import DataManager

    with progress_bar(hidden=as_json) as bar:
        tasks = {step: bar.add_task(step, total=None) for step in ("list", "read")}
        manager = DataManager(
            settings,
            datasets=datasets,
            progress=lambda step, done: bar.update(tasks[step], completed=done),
        )
        with closing(manager):
            yield manager


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
