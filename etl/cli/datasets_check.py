"""`datasets check`: what a run would say of the declarations, and of some objects of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from etl.cli import render
from etl.cli.check import FoundFiles, all_option, undeclared_lines
from etl.cli.common import print_lines, stdout_console
from etl.cli.completion import dataset_names
from etl.cli.runs import installed_datasets, running_on
from etl.model.dataset import USERS
from etl.model.errors import ConfigurationError
from etl.model.routing import Router, unnamed_folders
from etl.model.values import ObjectKind
from etl.settings import read_settings
from etl.settings.declared import file_datasets

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from etl.model.dataset import Dataset
    from etl.model.errors import EtlError
    from etl.model.values import SourceObject
    from etl.settings import Settings
    from etl.storage.client import ObjectStore

CHECKED_OBJECTS = 100
_PART_BYTES = 2 * 1024 * 1024


@click.command("check")
@click.argument("name", required=False, shell_complete=dataset_names)
@all_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print all problems, objects and datasets as JSON."
)
def check_command(*, name: str | None, shows_all: bool, as_json: bool) -> None:
    """Check the datasets file, then read up to 100 objects of each dataset, or of one.

    Without a file, the installed datasets are checked. Exits with 1 if `datasets apply` would
    refuse a dataset, its bucket cannot be read, or a row or an object would be rejected; with 2 if
    the file has faults. Nothing is stored.
    """
    given = read_settings()
    datasets = file_datasets(given)
    found = FoundFiles(as_json=as_json, shows_all=shows_all, shows_good=False)
    samples = []
    with running_on(given, datasets, [] if name is None else [name]) as settings:
        from etl.storage.client import ObjectStore
        from etl.sync.apply import planned

        known = installed_datasets(settings)
        every = datasets or tuple(known) or (USERS,)
        changes, refused = planned(settings, every)
        changes |= _new(every, known, refused)
        checker = _Checker(ObjectStore(settings), settings, every, found)
        for dataset in every:
            if name in {None, dataset.name}:
                sample = checker.check(dataset, refused.get(dataset.name))
                sample.changes = changes.get(dataset.name, [])
                samples.append(sample)
                if not as_json:
                    print_lines(stdout_console(), sample.lines())
    found.has_errors |= any(one.errors for one in samples)
    found.end(datasets=[one.as_json() for one in samples])


def _new(
    datasets: Sequence[Dataset], known: Sequence[Dataset], refused: Container[str]
) -> dict[str, list[str]]:
    """What `datasets apply` would create, as it says it."""
    from etl.sync.declared import new_table

    names = {one.name for one in known}
    return {
        one.name: [new_table(one)]
        for one in datasets
        if one.name not in names and one.name not in refused
    }


@dataclass
class _Sample:
    """What was found of one dataset: the first objects, their rows, and its own errors.

    `taken` counts, by dataset, the objects that its patterns match, but that go to an earlier one.
    `folders` are the names in folders such as `year=2026` that are not path columns. `changes` are
    sentences on what the declaration changes in an installed dataset. `kept` and `added` are the
    columns that are not declared, as in `Checked`.
    """

    dataset: str
    objects: int = 0
    rows_read: int = 0
    rows_rejected: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    folders: dict[str, None] = field(default_factory=dict)
    errors: list[EtlError] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    kept: dict[str, None] = field(default_factory=dict)
    added: dict[str, None] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "objects": self.objects,
            "rows_read": self.rows_read,
            "rows_rejected": self.rows_rejected,
            "taken": dict(self.taken),
            "unnamed_folders": list(self.folders),
            "changes": self.changes,
            "kept_in_extra": list(self.kept),
            "added_columns": list(self.added),
            "errors": [error.as_dict() for error in self.errors],
        }

    def lines(self) -> render.Lines:
        errors = [line for error in self.errors for line in render.error(error)]
        warnings = [Text(self._unnamed(), "yellow")] if self.folders else []
        return [
            *errors,
            *(Text(f"{self.dataset}: {line}") for line in self.changes),
            *warnings,
            render.sentence(f"{self.dataset}: {self._summary()}"),
            *undeclared_lines(self.kept, self.added),
        ]

    def _unnamed(self) -> str:
        named = "/".join(f"{name}=*" for name in self.folders)
        return (
            f"{self.dataset}: the folders {named} of its keys are not columns, because no pattern"
            " of include names them."
        )

    def _summary(self) -> str:
        if not self.objects:
            return "; ".join(map(self._taken_by, self.taken)) or "no object matches its patterns"
        first = "the first " if self.objects == CHECKED_OBJECTS else ""
        good = self.rows_read - self.rows_rejected
        return (
            f"{first}{render.counted(self.objects, 'object')},"
            f" {render.counted(self.rows_read, 'row')} read = {good} good"
            f" + {self.rows_rejected} rejected"
        )

    def _taken_by(self, other: str) -> str:
        count = self.taken[other]
        verb = "matches its patterns and goes" if count == 1 else "match its patterns and go"
        return f"{render.counted(count, 'object')} {verb} to {other}, which comes first"


class _Checker:
    """Reads the first objects of datasets."""

    def __init__(
        self,
        store: ObjectStore,
        settings: Settings,
        datasets: Sequence[Dataset],
        found: FoundFiles,
    ) -> None:
        self._store = store
        self._source_bucket = settings.source_bucket
        self._expanded_max_size = settings.expanded_max_size
        self._router = Router(datasets, settings.source_bucket)
        self._found = found
        self._today = datetime.now(UTC).date()

    def check(self, dataset: Dataset, refusal: EtlError | None) -> _Sample:
        """Read the first objects of the dataset."""
        sample = _Sample(dataset.name)
        if refusal is not None:
            sample.errors.append(refusal)
        try:
            for source in self._objects(dataset, sample):
                self._check_object(dataset, source, sample)
                if sample.objects == CHECKED_OBJECTS:
                    break
        except ConfigurationError as error:  # the bucket is missing, or may not be listed
            sample.errors.append(error)
        return sample

    def _objects(self, dataset: Dataset, sample: _Sample) -> Iterator[SourceObject]:
        bucket = dataset.bucket or self._source_bucket
        route = self._router.for_bucket(bucket)
        own = Router([dataset], self._source_bucket).for_bucket(bucket)
        for source in self._store.list_objects(bucket):
            if own(source.key).kind is not ObjectKind.DATA:
                continue
            routed = route(source.key).dataset
            if routed == dataset:
                yield source
            elif routed is not None:
                sample.taken[routed.name] += 1

    def _check_object(self, dataset: Dataset, source: SourceObject, sample: _Sample) -> None:
        from etl.model.errors import ObjectChanged, UnreadableObject
        from etl.runtime.arrow import import_arrow

        import_arrow()
        from etl.read.check import check_object
        from etl.read.limits import ExpansionLimits

        bucket = dataset.bucket or self._source_bucket
        sample.objects += 1
        sample.folders |= dict.fromkeys(unnamed_folders(dataset, source.key))
        try:
            checked = check_object(
                source,
                dataset,
                lambda: self._store.fetch_in_parts(bucket, source, _PART_BYTES),
                self._today,
                limits=ExpansionLimits(self._expanded_max_size),
            )
        except (ObjectChanged, UnreadableObject) as error:
            sample.errors.append(error)
            return
        sample.rows_read += checked.rows_read
        sample.rows_rejected += checked.rows_rejected
        sample.kept |= dict.fromkeys(checked.kept)
        sample.added |= dict.fromkeys(checked.added)
        self._found.add(source.key, self._router.for_bucket(bucket)(source.key), checked)
