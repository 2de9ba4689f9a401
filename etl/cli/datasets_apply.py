"""`datasets apply`: install what datasets.toml declares, rebuild a dataset or drop one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from etl.cli import render, run_lines
from etl.cli.common import (
    EXIT_FAILED,
    console,
    print_lines,
    print_result,
    running_stack,
    wait_option,
    warn,
)
from etl.cli.runs import Asked, preview, run_manager, running_on
from etl.model.errors import DatasetsFailed, EtlError
from etl.settings import read_settings
from etl.settings.declared import file_datasets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.model.dataset import Dataset
    from etl.settings import Settings


@click.command("apply")
@click.option("--drop", "dropped", metavar="NAME", help="Drop a dataset that is not declared.")
@click.option("--yes", "is_sure", is_flag=True, help="Drop without asking.")
@click.option(
    "--rebuild",
    "rebuilt",
    metavar="NAME",
    help="Make all changes of this dataset: read its objects again and alter its tables.",
)
@click.option(
    "--allow-mass-retirement",
    "allowed",
    metavar="NAME",
    help="Let the rebuild retire even most rows of this dataset.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@wait_option(help="How long to wait for a run to end; by default 0: refused immediately.")
def apply_command(  # noqa: PLR0913 - its options
    *,
    dropped: str | None,
    is_sure: bool,
    rebuilt: str | None,
    allowed: str | None,
    dry_run: bool,
    wait_seconds: float,
) -> None:
    """Install the declared datasets now: create tables, add columns and indexes.

    Loads no rows; the next full run does. Changes that need more are refused; --rebuild makes those
    of one dataset and loads its rows. It exits with 3, and changes nothing, if most rows would be
    retired without permission.
    """
    if rebuilt is not None and dropped is not None:
        raise click.UsageError("Use either --rebuild or --drop.")
    if dropped is not None and dry_run:
        raise click.UsageError("--drop asks before it drops anything; it has no --dry-run.")
    if allowed not in {None, rebuilt}:
        raise click.UsageError("--allow-mass-retirement takes the name that --rebuild has.")
    given = read_settings()
    datasets = file_datasets(given)
    if dropped is not None:
        _drop(dropped, datasets, wait_seconds, is_sure=is_sure)
    elif rebuilt is not None:
        with running_on(given, datasets, [rebuilt]) as settings:
            asked = Asked(
                frozenset({rebuilt}), {} if allowed is None else {rebuilt: None}, wait_seconds
            )
            if dry_run:
                preview(settings, datasets, asked, as_json=False, rebuilt=rebuilt)
            else:
                _rebuild(settings, datasets, rebuilt, asked)
    else:
        _install(datasets, wait_seconds, dry_run=dry_run)


def _drop(
    name: str, datasets: tuple[Dataset, ...] | None, wait_seconds: float, *, is_sure: bool
) -> None:
    from etl.sync import apply

    with running_stack(uses_store=False) as settings:
        if not is_sure:
            _ask(name)
        table = apply.drop(settings, name, datasets or (), wait_seconds=wait_seconds)
        print_result(f"Dropped dataset {name} with its table {table}.")


def _install(datasets: tuple[Dataset, ...] | None, wait_seconds: float, *, dry_run: bool) -> None:
    from etl.sync import apply

    with running_stack(uses_store=False) as settings:
        changes, failures = apply.apply(
            settings, datasets, wait_seconds=wait_seconds, dry_run=dry_run
        )
        missing = _missing_buckets(settings, datasets or ())
    if dry_run:
        print_result("Dry run: nothing was changed.")
    for name, sentences in changes.items():
        if name in failures:
            print_lines(console, render.error(failures[name]))
            print_result(f"{name}: Not installed.")
            continue
        for line in sentences or ["Unchanged."]:
            print_result(f"{name}: {line}")
    for line in missing:
        warn(line)
    if failures:
        sys.exit(EXIT_FAILED)


def _rebuild(
    settings: Settings,
    datasets: tuple[Dataset, ...] | None,
    name: str,
    asked: Asked,
) -> None:
    """Rebuild the dataset, and print what changed and the report of the run."""
    try:
        with run_manager(settings, datasets, as_json=False) as manager:
            done = manager.rebuild(
                name, allowed_retirements=asked.allowed, wait_seconds=asked.wait_seconds
            )
    except DatasetsFailed as failure:
        if failure.report is None:
            raise
        print_lines(console, run_lines.report(failure.report))
        sys.exit(EXIT_FAILED)
    for note in [*done.notes, "Rebuilt."]:
        print_result(f"{name}: {note}")
    print_lines(console, run_lines.report(done.report))
    for other, one in done.others.items():
        warn(f"{name} was rebuilt; {other} still waits, and stays as it is.")
        print_lines(console, render.error(one))


def _missing_buckets(settings: Settings, datasets: Sequence[Dataset]) -> list[str]:
    """A sentence for each bucket that only datasets name and that does not exist.

    Nothing while the store does not respond: tables are made without it.
    """
    by_bucket: dict[str, list[str]] = {}
    for one in datasets:
        if one.bucket and one.bucket not in settings.buckets:
            by_bucket.setdefault(one.bucket, []).append(one.name)
    if not by_bucket:
        return []
    from etl.storage.client import ObjectStore
    from etl.storage.store_errors import bucket_remedy

    try:
        store = ObjectStore(settings)
        store.check()
        missing = [bucket for bucket in by_bucket if not store.has_bucket(bucket)]
    except EtlError:
        return []
    return [
        f"{', '.join(by_bucket[bucket])}: the bucket {bucket!r} does not exist, so runs fail."
        f" {bucket_remedy(bucket, settings.buckets)}"
        for bucket in missing
    ]


def _ask(name: str) -> None:
    typed = click.prompt(
        f"This deletes all rows of {name}, retired ones included. Type its name to go on", err=True
    )
    if typed != name:
        raise click.UsageError("That is another name; nothing was dropped.")
