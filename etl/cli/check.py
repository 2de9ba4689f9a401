"""`check`: what a run would say of local files. Needs no server."""

from __future__ import annotations

import posixpath
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from etl.checks.file import FileCheck, check_file
from etl.cli import render
from etl.cli.common import (
    EXIT_FAILED,
    callers_path,
    print_json,
    print_lines,
    stdout_console,
)
from etl.cli.completion import dataset_names, file_names
from etl.cli.runs import check_names
from etl.model.dataset import USERS
from etl.model.errors import ConfigurationError
from etl.model.formats import SourceFormat, format_of
from etl.model.routing import ObjectRoute, Router, datasets_by_ends
from etl.model.safe_text import printable
from etl.model.values import ObjectKind, ObjectState
from etl.runtime.program import named
from etl.settings import read_settings
from etl.settings.declared import declared_datasets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date

    from etl.cli.render import Lines
    from etl.model.dataset import Dataset
    from etl.model.values import Problem
    from etl.read.check import Checked
    from etl.settings import Settings


SHOWN_NAMES = 20

all_option = click.option(
    "--all",
    "shows_all",
    is_flag=True,
    help="Print each problem, not only the first 3 of a code in a column.",
)


@click.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", shell_complete=file_names)
@click.option(
    "--dataset",
    "name",
    metavar="NAME",
    shell_complete=dataset_names,
    help="Read all files as data of this dataset.",
)
@click.option("--key", metavar="KEY", help="Check one file as the object with this key.")
@all_option
@click.option("--json", "as_json", is_flag=True, help="Print all problems and the files as JSON.")
def check_command(
    *, files: tuple[str, ...], name: str | None, key: str | None, shows_all: bool, as_json: bool
) -> None:
    """Print the problems that a run would find in local files.

    The key decides the dataset, whatever its bucket is. Without --key, it is the path as given or,
    for each file of a folder, the path below the folder, as for `seed`.
    Exits with 1 if a row or a file would be rejected, or if no dataset reads a file. Nothing is
    stored, and no server is needed.
    """
    if key is not None and len(files) > 1:
        raise click.UsageError("--key takes one FILE.")
    settings = read_settings()
    datasets = declared_datasets(settings)
    _check_name(settings, datasets, name)
    paths = [one for written in files for one in _files(written, settings)]
    if key is not None and len(paths) > 1:
        raise click.UsageError("--key takes one FILE, not a folder.")
    anywhere = [replace(one, bucket="") for one in datasets]  # a path does not name a bucket
    route = Router(anywhere, settings.source_bucket).for_bucket(settings.source_bucket)
    given = next((one for one in datasets if one.name == name), None)
    today = datetime.now(UTC).date()
    found = FoundFiles(as_json=as_json, shows_all=shows_all)
    for written, path in paths:
        as_key = posixpath.normpath(written) if key is None else key
        routed = route(as_key) if given is None else _as_data_of(given, as_key)
        found.add(
            as_key,
            routed,
            _check_routed(as_key, routed, path, today, settings),
            note=_note(as_key, routed, route),
        )
    found.end()


def _as_data_of(dataset: Dataset, key: str) -> ObjectRoute:
    """The route of a file that is read as data of the dataset; without an extension, as CSV."""
    is_read = format_of(dataset, key) is not None
    read = dataset if is_read else replace(dataset, format=SourceFormat.CSV)
    return ObjectRoute(read, ObjectKind.DATA)


def _files(written: str, settings: Settings) -> list[tuple[str, Path]]:
    """The file and its path as given or, of a folder, its files and the keys that seed uploads.

    Raises:  click.BadParameter when one cannot be read; ConfigurationError for an empty folder.
    """
    if not callers_path(written).is_dir():
        return [(written, readable_file(written))]
    from etl.storage.folder import files_of

    own = (settings.local_dir, Path(".env"))
    return [(one.key, one.path) for one in files_of([callers_path(written)], own=own).files]


def _check_name(settings: Settings, datasets: Sequence[Dataset], name: str | None) -> None:
    """Raises:  ConfigurationError when there is no such dataset here."""
    if name is not None and settings.datasets_path is None and name != USERS.name:
        raise ConfigurationError(
            f"There is no datasets file here, so the dataset {name!r} is not known: `check` does"
            " not read the database.",
            hint="Set DATASETS_FILE to the file that declares it. `./run.sh datasets check` needs"
            " no file, because it reads the installed datasets.",
        )
    check_names(datasets, [] if name is None else [name])


def _note(key: str, routed: ObjectRoute, route: Callable[[str], ObjectRoute]) -> str | None:
    """How to name the dataset, if none reads the file or another one may be meant."""
    if routed.dataset is not None and not routed.dataset.is_preset:
        return None
    others = "".join(
        f" The dataset {name} reads {printable(end)}: `--key {printable(end)}`."
        for name, end in datasets_by_ends(key, route).items()
    )
    if routed.is_unread:
        return (
            f"No dataset reads the key {printable(key)}.{others} Name the dataset with"
            " `--dataset NAME`, or the key that the object will have with `--key KEY`."
        )
    return others.strip() or None


def readable_file(given: str) -> Path:
    """The local file of an argument.

    Raises:  click.BadParameter when it cannot be read.
    """
    path = callers_path(given)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        message = f"{printable(given)} cannot be read: {error.strerror}."
        raise click.BadParameter(message, param_hint="FILE") from error


def _check_routed(
    key: str, route: ObjectRoute, path: Path, today: date, settings: Settings
) -> Checked | None:
    """What a run says of the file; None if it does not read it."""
    if route.dataset is None or route.kind is ObjectKind.IMAGE or route.is_unread:
        return None
    most = int(settings.expanded_max_size)
    return check_file(FileCheck(str(path), key, route.dataset, route.kind, today, most))


class FoundFiles:
    """Prints what was found of each file as it is read; as JSON at the end.

    `shows_all`: each problem, not only the first ones of a code in a column of a file.
    `shows_good`: also a line for each file without a problem.
    """

    def __init__(self, *, as_json: bool, shows_all: bool, shows_good: bool = True) -> None:
        self._shows_all = shows_all
        self._as_json = as_json
        self._shows_good = shows_good
        self._problems: list[dict[str, Any]] = []
        self._files: list[dict[str, Any]] = []
        self.has_errors = False

    def add(
        self, key: str, route: ObjectRoute, checked: Checked | None, *, note: str | None = None
    ) -> None:
        """Take what was found of one file; the `note` helps if its dataset is not the one meant."""
        problems = [] if checked is None else [problem_json(one) for one in checked.problems]
        dataset = None if route.is_unread else route.dataset
        self.has_errors |= route.kind is ObjectKind.OTHER
        self.has_errors |= checked is not None and checked.has_errors
        file = file_json(key, dataset, route.kind, checked) | {"note": note}
        if self._as_json:
            self._problems += problems
            self._files.append(file)
            return
        lines: Lines = (
            [line for one in problems for line in render.problem(one)]
            if self._shows_all
            else render.problems(problems)
        )
        if problems or self._shows_good:
            print_lines(stdout_console(), [*lines, *file_lines(file)])

    def end(self, **more: object) -> None:
        """Print the JSON, with `more`, and exit with 1 if anything would be rejected."""
        if self._as_json:
            print_json({"problems": self._problems, "files": self._files, **more})
        if self.has_errors:
            sys.exit(EXIT_FAILED)


def problem_json(problem: Problem) -> dict[str, Any]:
    """The problem as `check` and `problems` show it."""
    return {
        "key": problem.key,
        "line": problem.line,
        "column": problem.column,
        "code": problem.code.value,
        "severity": problem.severity.value,
        "value": problem.value,
        "note": named(problem.note),
    }


def file_json(
    key: str, dataset: Dataset | None, kind: ObjectKind, checked: Checked | None
) -> dict[str, Any]:
    """The file: its dataset, kind and state, and its rows."""
    rows_read = 0 if checked is None else checked.rows_read
    rejected = 0 if checked is None else checked.rows_rejected
    return {
        "key": key,
        "dataset": None if dataset is None else dataset.name,
        "kind": kind.value,
        "state": None if checked is None else checked.state.value,
        "rows_read": rows_read,
        "rows_good": rows_read - rejected,
        "rows_rejected": rejected,
        "problems": 0 if checked is None else len(checked.problems),
        "kept_in_extra": [] if checked is None else list(checked.kept),
        "added_columns": [] if checked is None else list(checked.added),
    }


def undeclared_lines(kept: Iterable[str], added: Iterable[str]) -> Lines:
    """The columns that are not declared: those kept in _extra, and those that the table gets."""
    found = {"kept in _extra": list(kept), "added to the table": list(added)}
    return [
        Text(f"  not declared, {what}: {_names(names)}", "yellow")
        for what, names in found.items()
        if names
    ]


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(map(printable, names[:SHOWN_NAMES])) + more


def file_lines(file: dict[str, Any]) -> Lines:
    """The file in one line, and its note."""
    notes = [] if file["note"] is None else [Text(file["note"], "yellow")]
    if file["dataset"] is None:
        return [Text(f"{printable(file['key'])}: not read", "red"), *notes]
    return [
        _file_line(file),
        *undeclared_lines(file["kept_in_extra"], file["added_columns"]),
        *notes,
    ]


def _file_line(file: dict[str, Any]) -> Text:
    key = printable(file["key"])
    if file["kind"] == ObjectKind.OTHER:
        return Text(f"{key} ({file['dataset']}): not read", "red")
    if file["state"] is None:
        return Text(f"{key}: an image of {file['dataset']}, which a run joins by its name")
    rows = (
        f"{key} ({file['dataset']}): {render.counted(file['rows_read'], 'row')} read"
        f" = {file['rows_good']} good + {file['rows_rejected']} rejected"
    )
    is_quarantined = file["state"] == ObjectState.QUARANTINED
    style = "red" if is_quarantined or file["rows_rejected"] else "green"
    return Text(rows + ("; quarantined: no row is loaded" if is_quarantined else ""), style)
