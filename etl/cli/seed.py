"""`./run.sh seed`: upload files into the source bucket, or remove the sample from it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etl.cli import render
from etl.cli.common import CallersPath, print_result, progress_bar, running_stack, warn
from etl.model.dataset import USERS
from etl.model.errors import ConfigurationError, EtlError, FilesNotUploaded
from etl.model.routing import Router
from etl.model.safe_text import printable
from etl.model.values import ObjectKind
from etl.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from etl.model.dataset import Dataset
    from etl.model.routing import ObjectRoute
    from etl.storage.folder import File, LeftOut, LocalFiles

SHOWN = 20
SHOWN_KEYS = 10

# Modules that only one command needs are imported when it runs.


@click.command("seed")
@click.argument("sources", metavar="[PATH…]", type=CallersPath(), nargs=-1, required=False)
@click.option("--prefix", default="", metavar="PREFIX", help="Put the keys below this prefix.")
@click.option("--if-empty", is_flag=True, help="Upload only if the bucket is empty.")
@click.option(
    "--remove-sample",
    is_flag=True,
    help="Remove the sample's objects instead, if their content is unchanged.",
)
def seed_command(
    sources: tuple[Path, ...], *, prefix: str, if_empty: bool, remove_sample: bool
) -> None:
    """Upload folders and files, or the sample data/src.

    The key of a file in a folder is its path relative to the folder, that of a single file its
    name, below --prefix. Prints the first keys with their datasets. Links out of the folder are
    skipped. Without a PATH the sample is uploaded, but only into the embedded object store.
    """
    if remove_sample:
        if sources or if_empty or prefix:
            raise click.UsageError("--remove-sample takes neither a PATH nor another option.")
        _remove_sample()
        return
    from etl.storage.folder import files_of

    settings = read_settings()
    sources = sources or (_sample(settings),)
    found = files_of(sources, own=(settings.local_dir, Path(".env")))
    _upload(_below(prefix, found), if_empty=if_empty)


def _below(prefix: str, found: LocalFiles) -> LocalFiles:
    """The same files, with keys below the prefix."""
    folder = prefix.rstrip("/")
    if not folder:
        return found
    return replace(found, files=[replace(one, key=f"{folder}/{one.key}") for one in found.files])


def _sample(settings: Settings) -> Path:
    from etl.storage.folder import printable_path
    from etl.storage.seed import SAMPLE

    if settings.embeds_object_store:
        return SAMPLE
    folder = SAMPLE.relative_to(Path.cwd()) if SAMPLE.is_relative_to(Path.cwd()) else SAMPLE
    raise ConfigurationError(
        f"No PATH is given, and {settings.s3_endpoint} is not the embedded object store.",
        hint="Name the folder or file to upload. To upload the sample: "
        f"`./run.sh seed {printable_path(folder)}`; `./run.sh seed --remove-sample` removes it.",
    )


def _upload(found: LocalFiles, *, if_empty: bool) -> None:
    from etl.storage.client import ObjectStore
    from etl.storage.seed import seed

    with running_stack() as settings, progress_bar() as bar:
        store, bucket = ObjectStore(settings), settings.source_bucket
        if if_empty and not store.is_empty(bucket):
            print_result(f"{bucket} is not empty; nothing was uploaded.")
            return
        task = bar.add_task("upload", total=len(found.files))
        done = seed(store, settings, found.files, uploaded=lambda: bar.advance(task))
        datasets = _datasets(settings)
    print_result(f"{render.counted(done.count, 'object')} uploaded to {bucket}.")
    _print_keys(found.files, {one.name for one in done.failed}, datasets, bucket)
    _name_each("Skipped", found.skipped)
    failed = [*found.refused, *done.failed]
    _name_each("Not uploaded", failed)
    if failed:
        raise FilesNotUploaded(f"{render.counted(len(failed), 'file')} could not be uploaded.")


def _datasets(settings: Settings) -> Sequence[Dataset]:
    """The declared datasets or, without a file, the installed ones; none if unknown.

    The upload itself needs neither a valid file nor the database.
    """
    from etl.cli.runs import installed_datasets
    from etl.settings.declared import file_datasets

    with suppress(EtlError):
        declared = file_datasets(settings)
        return installed_datasets(settings) or [USERS] if declared is None else declared
    return []


def _print_keys(
    files: Sequence[File], failed: Collection[str], datasets: Sequence[Dataset], bucket: str
) -> None:
    """Print the first uploaded keys, each with its dataset."""
    uploaded = [one.key for one in files if one.name not in failed]
    route = Router(datasets, bucket).for_bucket(bucket)
    for key in uploaded[:SHOWN_KEYS]:
        print_result(f"  {printable(key)}{f' ({_place(route(key))})' if datasets else ''}")
    if len(uploaded) > SHOWN_KEYS:
        print_result(f"  and {len(uploaded) - SHOWN_KEYS} more")


def _place(route: ObjectRoute) -> str:
    """Which dataset reads the object."""
    if route.dataset is None or route.kind is ObjectKind.OTHER:
        return "read by no dataset"
    name = route.dataset.name
    return name if route.kind is ObjectKind.DATA else f"image of {name}"


def _remove_sample() -> None:
    from etl.storage.client import ObjectStore
    from etl.storage.folder import LeftOut, printable_path
    from etl.storage.seed import remove_sample

    with running_stack() as settings:
        removed = remove_sample(ObjectStore(settings), settings)
    noun = render.counted(removed.count, "sample object")
    print_result(f"{noun} removed from {settings.source_bucket}.")
    kept = [LeftOut(printable_path(key), "it differs from the sample") for key in removed.kept]
    _name_each("Kept", kept)
    if removed.count:
        print_result(
            "The next run retires their users: `./run.sh run`. If it holds them, check which other"
            " objects were removed before you allow it."
        )


def _name_each(heading: str, found: Sequence[LeftOut]) -> None:
    """Name each entry with the reason; print nothing when there is none."""
    if not found:
        return
    warn(f"{heading}: {len(found)}")
    for one in found[:SHOWN]:
        warn(f"  {one.name}: {one.reason}")
    if len(found) > SHOWN:
        warn(f"  and {len(found) - SHOWN} more")
