"""`datasets describe`: a declaration for datasets.toml, guessed from objects or local files."""

from __future__ import annotations

import posixpath
import random
import shlex
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import click

from etl import local
from etl.checks.file import local_parts, local_source
from etl.cli import render
from etl.cli.check import readable_file
from etl.cli.common import callers_path, console, print_lines, warn
from etl.cli.completion import file_names
from etl.model.errors import ConfigurationError, EtlError, ObjectStoreUnavailable
from etl.model.formats import FORMATS, SourceFormat, format_of
from etl.model.keys import has_ignored_name
from etl.model.patterns import NAME, PatternFault, Patterns, folded
from etl.model.routing import Router
from etl.model.safe_text import printable
from etl.runtime.arrow import import_arrow
from etl.settings import read_settings
from etl.settings.declared import file_datasets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from etl.cli.describing import Described, Sampled
    from etl.model.dataset import Dataset
    from etl.model.values import Problem, SourceObject
    from etl.settings import Settings
    from etl.storage.client import ObjectStore

_File: TypeAlias = tuple[str, Path]  # the name, as given or below the folder that is, and the path

DEFAULT_OBJECTS = 20
_SHOWN = 5
_MOST_DIGITS = 2  # of the number of a sheet; longer ones are names
_PART_BYTES = 2 * 1024 * 1024


@click.command("describe")
@click.argument(
    "given", nargs=-1, required=True, metavar="FILE_OR_PATTERN…", shell_complete=file_names
)
@click.option("--name", metavar="NAME", help="Name of the dataset; by default that of the files.")
@click.option("--bucket", metavar="BUCKET", help="Bucket of the objects; default SOURCE_BUCKET.")
@click.option(
    "--format",
    "format_",
    type=click.Choice([one.value for one in FORMATS]),
    help="Format of all files.",
)
@click.option("--sheet", metavar="SHEET", help="Sheet of workbooks: its name, or its number.")
@click.option(
    "--sample",
    "count",
    type=click.IntRange(min=1),
    default=DEFAULT_OBJECTS,
    show_default=True,
    metavar="N",
    help="How many of the files or objects are read.",
)
def describe_command(  # noqa: PLR0913 - each an option
    *,
    given: tuple[str, ...],
    name: str | None,
    bucket: str | None,
    format_: str | None,
    sheet: str | None,
    count: int,
) -> None:
    """Print a declaration for datasets.toml, guessed from objects or local files.

    An argument that exists as a local file or folder is that file, or the files in that folder; all
    others are patterns of object keys. Reads up to 100,000 rows. Comments mark what is uncertain.
    The sampled rows are checked against the declaration before it is printed. Nothing is stored.
    """
    if name is not None and not NAME.fullmatch(name):
        raise click.BadParameter("Use 1 to 48 letters, digits and _.", param_hint="--name")
    import_arrow()
    settings = read_settings()
    files = [one for one in given if callers_path(one).exists()]
    patterns = [one for one in given if one not in files]
    found = [file for one in files for file in _files(one, settings, format_)]
    asked = _Asked(name, bucket, format_, _sheet(sheet))
    with ExitStack() as stack:
        sampled = [_local(one) for one in _some(found, count)]
        if patterns:
            sampled += _objects(stack, settings, patterns, bucket, count)
        described = _describe(settings, sampled, [key for key, _ in found], patterns, asked)
    taken = _taken(settings, described.dataset, sampled)
    click.echo(described.text, nl=False)  # perhaps into datasets.toml, which is read before
    _report(settings, described, taken, files)


class _Asked(NamedTuple):
    """What the options give of the declaration."""

    name: str | None
    bucket: str | None
    format: str | None
    sheet: str | int | None


def _sheet(given: str | None) -> str | int | None:
    """The sheet as in a declaration: its number, or its name, which may be a year."""
    is_number = given is not None and given.isascii() and given.isdecimal()
    return int(given) if given and is_number and len(given) <= _MOST_DIGITS else given


def _describe(
    settings: Settings,
    sampled: Sequence[Sampled],
    keys: Sequence[str],
    patterns: Sequence[str],
    asked: _Asked,
) -> Described:
    from etl.cli.describing import describe_objects, existing, named_place
    from etl.read.describe.block import DatasetPlace
    from etl.read.describe.place import include_of

    name, bucket = asked.name, asked.bucket
    include = (*patterns, *(include_of(keys) if keys else ()))
    own = "" if bucket in {None, settings.source_bucket} else str(bucket)
    before = existing(settings.datasets_path)
    if name is not None and name.lower() in {one.lower() for one in before.names}:
        raise ConfigurationError(
            f"{settings.datasets_path} has a dataset named {name} already.",
            hint="Choose another name with --name.",
        )
    place = DatasetPlace(
        name=name or "", include=include, bucket=own, format=asked.format, sheet=asked.sheet
    )
    place = named_place(place, before, [*keys, *patterns])
    return describe_objects(sampled, place, settings, before)


def _files(given: str, settings: Settings, format_: str | None) -> list[_File]:
    """The file, or the files in a folder that have rows: their names and paths.

    Raises:  ConfigurationError when the folder has none.
    """
    from etl.read.describe.sample import probe
    from etl.storage.folder import files_of

    path, name = callers_path(given), posixpath.normpath(given)
    if not path.is_dir():
        return [(name, readable_file(given))]
    reads = probe(None if format_ is None else SourceFormat(format_))
    own = (settings.local_dir, Path(".env"))
    found = [
        (posixpath.join(name, one.key), one.path)
        for one in files_of([path], own=own).files
        if format_of(reads, one.key) and not has_ignored_name(one.key) and one.path.stat().st_size
    ]
    if not found:
        raise ConfigurationError(
            f"The folder {printable(given)} has no file with rows of a known format.",
            hint=f"Name the format with --format: {', '.join(FORMATS)}.",
        )
    return found


def _has_only_rows(given: str, settings: Settings, format_: str | None) -> bool:
    """Whether it is a file, or a folder without files that `check` cannot read as the dataset."""
    path = callers_path(given)
    if not path.is_dir():
        return True
    every = sum(1 for one in path.rglob("*") if one.is_file())
    return len(_files(given, settings, format_)) == every


def _some(files: Sequence[_File], count: int) -> list[_File]:
    """The files, or a random sample of them, the same for the same files."""
    if len(files) <= count:
        return list(files)
    return sorted(random.Random(0).sample(files, count))  # noqa: S311 - not for secrets


def _local(file: _File) -> Sampled:
    from etl.cli.describing import Sampled

    name, path = file
    return Sampled(local_source(name, path), partial(local_parts, path))


def _objects(
    stack: ExitStack, settings: Settings, patterns: Sequence[str], bucket: str | None, count: int
) -> list[Sampled]:
    """Some objects that match the patterns, each of which must match one.

    Raises:  ConfigurationError.
    """
    from etl.cli.describing import Sampled

    compiled = [_compiled(one) for one in patterns]
    try:
        filled = stack.enter_context(local.running(settings))
        from etl.storage.client import ObjectStore

        store = ObjectStore(filled)
        place = bucket or filled.source_bucket
        found = _matching(store.list_objects(place), patterns, compiled, place, count)
    except EtlError as error:
        found_instead = _no_objects(error, patterns)
        raise found_instead from (None if found_instead is error else error)
    return [Sampled(one, partial(_fetched, store, place, one)) for one in found]


def _no_objects(error: EtlError, patterns: Sequence[str]) -> EtlError:
    """The error, after the one that an argument is no file, if it was probably meant to be one."""
    from etl.read.describe.place import is_pattern

    found = error
    if isinstance(error, ObjectStoreUnavailable):
        found = ConfigurationError(
            f"The objects cannot be listed: {error.message}",
            hint="Check S3_ENDPOINT and start the object store.",
        )
    absent = next((one for one in patterns if not is_pattern(one)), None)
    if absent is None:
        return found
    return ConfigurationError(
        f"There is no local file {printable(absent)}. {found.message}",
        hint=f"Correct the path of the file, if it is one. {found.hint}".strip(),
    )


def _fetched(store: ObjectStore, bucket: str, source: SourceObject) -> Iterable[bytes]:
    return store.fetch_in_parts(bucket, source, _PART_BYTES)


def _compiled(pattern: str) -> Patterns:
    try:
        return Patterns([pattern])
    except PatternFault as error:
        raise ConfigurationError(error.fault, hint=error.remedy) from error


def _matching(
    listed: Iterable[SourceObject],
    patterns: Sequence[str],
    compiled: Sequence[Patterns],
    bucket: str,
    count: int,
) -> list[SourceObject]:
    """A random sample of the objects that match, the same for the same listing."""
    chance = random.Random(0)  # noqa: S311 - not for secrets
    unmatched = dict(zip(patterns, compiled, strict=True))
    found: list[SourceObject] = []
    seen = 0
    for source in listed:
        name = folded(source.key)
        matched = [one for one in compiled if one.matches(name)]
        if not matched or not source.size:
            continue
        unmatched = {one: of for one, of in unmatched.items() if of not in matched}
        seen += 1
        place = len(found) if len(found) < count else chance.randrange(seen)
        if place < count:
            found[place : place + 1] = [source]
    if unmatched:
        raise ConfigurationError(
            f"Nothing matches {printable(next(iter(unmatched)))} in the bucket {bucket}.",
            hint="Correct the pattern, or name another bucket with --bucket.",
        )
    return sorted(found, key=lambda one: one.key)


def _report(
    settings: Settings, described: Described, taken: Mapping[str, str], files: Sequence[str]
) -> None:
    """What is wrong with the objects, and the next commands, to standard error.

    `taken` are the datasets that read some of the objects before, each with one key.
    """
    for name, key in taken.items():
        warn(
            f"{printable(key)} goes to the dataset {name}, which comes first in the file. Exclude"
            " it there, or write the new block before that one."
        )
    for problem in described.unread:
        warn(f"{printable(problem.key)} was left out: {problem.note}")
    _report_rejected(described.rejected)
    name = described.dataset.name
    uploads = _uploads(settings, described.dataset, files)
    if files and all(_has_only_rows(one, settings, described.dataset.format) for one in files):
        check = f"`./run.sh check {shlex.join(files)} --dataset {name}`"
        steps = [f"  {check}  checks files against it", *uploads]
    else:
        steps = [*uploads, f"  `./run.sh datasets check {name}`  checks objects against it"]
    steps = [
        "Next: append the block to datasets.toml, and correct it where a comment says so. Then:",
        *steps,
        "  `./run.sh run`  loads the table",
    ]
    print_lines(console, [render.sentence(one) for one in steps])


def _uploads(settings: Settings, dataset: Dataset, files: Sequence[str]) -> list[str]:
    """The commands that upload the files under keys that the dataset reads.

    `seed` fills SOURCE_BUCKET only.
    """
    from etl.read.describe.place import folder_prefix, upload_prefix

    if dataset.bucket not in {"", settings.source_bucket}:
        return []
    below: dict[str, list[str]] = {}
    keys: set[str] = set()
    for file in files:
        if callers_path(file).is_dir():
            names = [name for name, _ in _files(file, settings, dataset.format)]
            prefix = folder_prefix(file, names, dataset.include)
        else:
            prefix = upload_prefix(file, dataset.include, keys)
        if prefix is None:
            return []
        keys.add(posixpath.join(prefix, posixpath.basename(file)))
        below.setdefault(prefix, []).append(file)
    return [
        f"  `./run.sh seed {shlex.join([*some, *(['--prefix', prefix] if prefix else [])])}`"
        f"  uploads {'it' if len(some) == 1 else 'them'}"
        for prefix, some in below.items()
    ]


def _taken(settings: Settings, dataset: Dataset, sampled: Sequence[Sampled]) -> dict[str, str]:
    """The datasets of the file that read some of the objects, each with one key."""
    try:
        declared = file_datasets(settings) or ()
    except ConfigurationError:
        return {}  # `datasets check` reports its faults
    others = [one for one in declared if one.bucket == dataset.bucket and not one.is_preset]
    route = Router(others, settings.source_bucket).route
    bucket = dataset.bucket or settings.source_bucket
    routes = {one.source.key: route(bucket, one.source.key).dataset for one in reversed(sampled)}
    return {found.name: key for key, found in routes.items() if found is not None}


def _report_rejected(rejected: Sequence[Problem]) -> None:
    if not rejected:
        return
    warn(f"{render.counted(len(rejected), 'row')} of the sample would be rejected:")
    for one in rejected[:_SHOWN]:
        where = f"{printable(one.key)}, line {one.line}" if one.line else printable(one.key)
        warn(f"  {where}: {one.code}: {one.note}")
