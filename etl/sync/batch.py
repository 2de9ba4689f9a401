"""Read one batch of changes: fetch the objects, then parse and validate them, by dataset."""

from __future__ import annotations

from collections import ChainMap, Counter
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from etl.model.errors import UnreadableObject
from etl.model.values import (
    Change,
    ChangeKind,
    ObjectKind,
    ObjectState,
    Problem,
    ProblemCode,
    SourceFile,
    SourceObject,
)
from etl.read import file_rules
from etl.read.formats import read_files
from etl.read.validate import validate
from etl.runtime.pools import map_in_threads
from etl.sync.copy_text import StagedRows, joined_rows, staged_rows
from etl.sync.reading import BucketReading, StagedObject, entry

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    import pyarrow as pa

    from etl.model.dataset import Dataset
    from etl.read.rows.extract import Extract
    from etl.read.validate import Validated
    from etl.storage.client import ObjectStore
    from etl.sync.unchanged import Compared

MAX_OBJECTS = 5_000
MAX_BYTES = 2 * 1024 * 1024  # a batch needs about 20 times that; three exist at once


class Discard(NamedTuple):
    """An object whose rows in staging are invalid, and its problems unless they are kept."""

    dataset: str
    key: str
    keeps_problems: bool = False


@dataclass(frozen=True)
class Batch:
    """The result of reading a batch of changes of one bucket.

    Shapes:  rows: by dataset, its valid rows, if any. objects: one per object that was read or
             removed; an object that spans several batches is in the last of them.
             datasets: by key, the dataset of each object with problems, if it has one.
             unreadable: keys that the store refused; the next run tries them again.
             vanished: the number of objects that were listed, but gone when fetched.
             discards: the object whose rows from earlier batches are invalid.
             new_columns: by dataset, the columns that these files add to its table.
             compared: of an object whose rows are compared, the stored rows that differ.
    """

    bucket: str
    rows: Mapping[str, StagedRows]
    objects: list[StagedObject]
    problems: list[Problem]
    datasets: Mapping[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    vanished: int = 0
    discards: Discard | None = None
    new_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    compared: Compared | None = None

    def without(self, datasets: Container[str]) -> Batch:
        """The batch without the objects, rows and problems of some datasets."""
        return replace(
            self,
            rows={name: rows for name, rows in self.rows.items() if name not in datasets},
            objects=[one for one in self.objects if one.dataset not in datasets],
            problems=[one for one in self.problems if self.datasets.get(one.key) not in datasets],
            compared=None
            if self.compared is not None and self.compared.sql.dataset.name in datasets
            else self.compared,
        )

    @property
    def row_count(self) -> int:
        """The number of rows of all datasets."""
        return sum(rows.count for rows in self.rows.values())


@dataclass(frozen=True)
class Fetched:
    """A batch of changes, and the result by key: a file, a problem, or None if it is gone."""

    changes: Sequence[Change]
    outcomes: Mapping[str, SourceFile | Problem | None]


def cut(changes: Iterable[Change], reading: BucketReading) -> Iterator[list[Change]]:
    """Cut changes into batches of at most 5,000 objects and 2 MB of files, or one larger file."""
    batch: list[Change] = []
    size = 0
    for change in changes:
        more = weight(change, reading)
        if batch and (len(batch) >= MAX_OBJECTS or size + more > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(change)
        size += more
    if batch:
        yield batch


def weight(change: Change, reading: BucketReading) -> int:
    """About how many bytes the contents have when they are not compressed."""
    if not reading.is_read(change):
        return 0
    return change.source.size * reading.format_of(change.source.key).growth


def fetch(store: ObjectStore, reading: BucketReading, changes: Sequence[Change]) -> Fetched:
    """Fetch the batch's files of rows; for other objects, the key is enough.

    Raises:  ObjectStoreUnavailable. An error of one object is a problem, not an exception.
    """
    files = [change for change in changes if reading.is_read(change)]
    found = map_in_threads(
        lambda change: _fetch(store, reading.bucket, change), files, lambda: store.pace.at_once
    )
    keys = (change.source.key for change in files)
    return Fetched(changes, dict(zip(keys, found, strict=True)))


def check(fetched: Fetched, reading: BucketReading) -> Batch:
    """Parse and validate the fetched files."""
    changes = fetched.changes
    outcomes = {
        one.source.key: fetched.outcomes[one.source.key]
        for one in changes
        if one.source.key in fetched.outcomes
    }
    refused = [found for found in outcomes.values() if isinstance(found, Problem)]
    checked = {
        dataset.name: _joined(_check_files(files, dataset, reading))
        for dataset, files in _by_dataset(outcomes.values(), reading)
    }
    objects = [
        staged
        for change in changes
        if (staged := _entry_of(change, outcomes, reading, checked)) is not None
    ]
    problems = [problem for files in checked.values() for problem in files.problems]
    problems += [
        file_rules.unsupported(item.key, item.etag, reading.dataset_of(item.key))
        for item in objects
        if _is_unsupported(item)
    ]
    problems += refused
    return Batch(
        reading.bucket,
        {name: files.rows for name, files in checked.items() if files.rows.count},
        objects,
        problems,
        datasets_of(problems, reading),
        unreadable=[problem.key for problem in refused],
        vanished=sum(found is None for found in outcomes.values()),
        new_columns=reading.take_new_columns(checked),
    )


def is_huge(changes: Sequence[Change], reading: BucketReading) -> bool:
    """Whether this is one file that is too large for memory."""
    return len(changes) == 1 and weight(changes[0], reading) > MAX_BYTES


def datasets_of(problems: Iterable[Problem], reading: BucketReading) -> dict[str, str]:
    """The datasets of the objects with problems, by key."""
    routes = {key: reading.route(key) for key in {problem.key for problem in problems}}
    return {key: route.dataset.name for key, route in routes.items() if route.dataset is not None}


def _by_dataset(
    outcomes: Iterable[SourceFile | Problem | None], reading: BucketReading
) -> Iterable[tuple[Dataset, list[SourceFile]]]:
    found: dict[str, tuple[Dataset, list[SourceFile]]] = {}
    for file in outcomes:
        if isinstance(file, SourceFile):
            dataset = reading.dataset_of(file.source.key)
            found.setdefault(dataset.name, (dataset, []))[1].append(file)
    return found.values()


class _CheckedFiles(NamedTuple):
    """The valid rows of files, their problems, and by key the figures for the manifest."""

    rows: StagedRows
    problems: list[Problem]
    figures: Mapping[str, Figures]


def _joined(checked: Iterable[_CheckedFiles]) -> _CheckedFiles:
    rows, problems, figures = zip(*checked, strict=True)
    return _CheckedFiles(
        joined_rows(rows),
        list(chain(*problems)),
        ChainMap(*figures),
    )


def _check_files(
    files: Sequence[SourceFile], dataset: Dataset, reading: BucketReading
) -> Iterator[_CheckedFiles]:
    etags = {file.source.key: file.source.etag for file in files}
    for extract in read_files(files, dataset, reading.added[dataset.name]):
        yield _check_extract(extract, dataset, reading, etags)


def _check_extract(
    extract: Extract, dataset: Dataset, reading: BucketReading, etags: Mapping[str, str]
) -> _CheckedFiles:
    """Validate each row, then each file as a whole."""
    checked = validate(extract.rows, dataset, etags, reading.today)
    problems = [*extract.problems, *checked.problems]
    more = _merged_counts(extract.more, checked.more)
    figures = Figures(extract, checked, problems)

    differing = file_rules.keys_with_differing_rows(checked.rows, dataset, extract.without_id)
    if differing:
        problems = [problem for problem in problems if problem.key not in differing]
        problems += [file_rules.rows_without_id(key, etags[key]) for key in sorted(differing)]
        more = {key: counted for key, counted in more.items() if key not in differing}
        figures.refuse(differing)
    faulty = figures.keys_with_too_many_faults(dataset) - differing
    problems += [
        file_rules.too_many_faults(key, etags[key], dataset, *figures.of(key)[:2])
        for key in sorted(faulty)
    ]
    figures.refuse(faulty, keeps_day=True)
    rows = file_rules.without_keys(checked.rows, differing | faulty)
    problems += _seconds(rows, dataset, checked.dated, figures, etags, reading.today)
    return _CheckedFiles(
        staged_rows(rows, dataset),
        file_rules.limit_problems(problems, more, etags),
        dict.fromkeys(extract.rows_read, figures),
    )


def _seconds(  # noqa: PLR0913, PLR0917 - all that the rule depends on
    rows: pa.Table,
    dataset: Dataset,
    dated: frozenset[str],
    figures: Figures,
    etags: Mapping[str, str],
    today: date,
) -> list[Problem]:
    """The warnings of files whose timestamps could be seconds. Those of a later day are noted."""
    column = file_rules.timestamps(dataset)
    if column is None:
        return []
    problems = []
    for key, span in file_rules.early_spans(rows, column, dated).items():
        if span.last_day_of_seconds <= today:
            problems.append(file_rules.epoch_seconds(key, etags[key]))
        else:
            figures.reread(key, span.last_day_of_seconds)
    return problems


def _merged_counts(
    one: Mapping[str, Counter[ProblemCode]], other: Mapping[str, Counter[ProblemCode]]
) -> dict[str, Counter[ProblemCode]]:
    return {key: one.get(key, Counter()) + other.get(key, Counter()) for key in {*one, *other}}


def _fetch(store: ObjectStore, bucket: str, change: Change) -> SourceFile | Problem | None:
    try:
        return store.fetch(bucket, change.source)
    except UnreadableObject as error:
        return refusal(change.source, error)


def refusal(source: SourceObject, error: UnreadableObject) -> Problem:
    """The problem of an object that the store refuses to return."""
    return Problem(
        ProblemCode.ACCESS_REFUSED,
        source.key,
        source.etag,
        f"{error.message} Allow S3_ACCESS_KEY to read it; every run tries again.",
    )


def crashed(source: SourceObject, reading: BucketReading) -> Batch:
    """The batch of an object whose reading kills each process; the next run reads it again."""
    problem = Problem(
        ProblemCode.READER_KILLED,
        source.key,
        source.etag,
        "Each worker that read the object was killed. Look for the reason in the logs of the"
        " workers, such as too little memory; every run tries again.",
    )
    named = datasets_of([problem], reading)
    return Batch(reading.bucket, {}, [], [problem], named, unreadable=[source.key])


class Figures:
    """By key: rows read, rows rejected, when to reread, and whether the object was rejected."""

    def __init__(self, extract: Extract, checked: Validated, problems: Iterable[Problem]) -> None:
        self._read = extract.rows_read
        self._rejected = Counter(extract.rows_rejected) + Counter(checked.rows_rejected)
        self._refused = {found.key for found in problems if file_rules.is_refusal(found)}
        self._reread_on = dict(checked.reread_on)

    def keys_with_too_many_faults(self, dataset: Dataset) -> set[str]:
        """The keys of objects with a greater share of rejected rows than the dataset allows."""
        return {
            key
            for key, rejected in self._rejected.items()
            if file_rules.has_too_many_faults(dataset, self._read[key], rejected)
        }

    def refuse(self, keys: Iterable[str], *, keeps_day: bool = False) -> None:
        """Reject all rows of these objects, whatever the date unless `keeps_day`."""
        for key in keys:
            self._rejected[key] = self._read[key]
            self._refused.add(key)
            if not keeps_day:
                self._reread_on.pop(key, None)

    def reread(self, key: str, day: date) -> None:
        """Schedule another reading of the object on that day at the latest."""
        self._reread_on[key] = min(day, self._reread_on.get(key, day))

    def of(self, key: str) -> tuple[int, int, date | None]:
        """Rows read, rows rejected, and the day on which to read the object again."""
        return self._read.get(key, 0), self._rejected[key], self._reread_on.get(key)

    def state(self, key: str) -> ObjectState:
        """Quarantined if the object as a whole was rejected."""
        return ObjectState.QUARANTINED if key in self._refused else ObjectState.LOADED


def _entry_of(
    change: Change,
    outcomes: Mapping[str, SourceFile | Problem | None],
    reading: BucketReading,
    checked: Mapping[str, _CheckedFiles],
) -> StagedObject | None:
    """The object's manifest entry; None if the manifest stays as it is."""
    key = change.source.key
    if change.kind is ChangeKind.REMOVED:
        return entry(ChangeKind.REMOVED, change.source, reading, ObjectState.LOADED)
    if reading.route(key).dataset is None:
        return None
    if not reading.is_read(change):
        known = reading.route(key).kind is not ObjectKind.OTHER
        state = ObjectState.LOADED if known else ObjectState.QUARANTINED
        return entry(change.kind, change.source, reading, state)
    outcome = outcomes.get(key)
    dataset = reading.route(key).dataset
    if isinstance(outcome, SourceFile) and dataset is not None:
        figures = checked[dataset.name].figures[key]
        state = figures.state(key)
        return entry(change.kind, outcome.source, reading, state, figures.of(key))
    if outcome is None and change.kind is ChangeKind.MODIFIED:  # gone since the listing
        return entry(ChangeKind.REMOVED, change.source, reading, ObjectState.LOADED)
    return None


def _is_unsupported(item: StagedObject) -> bool:
    return item.kind is ObjectKind.OTHER and item.change is not ChangeKind.REMOVED
