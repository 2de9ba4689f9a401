"""Read one batch of changes: fetch the objects, then parse and validate them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from etl.model.errors import UnreadableObject
from etl.model.keys import image_id_of, kind_of
from etl.model.values import (
    Change,
    ChangeKind,
    ObjectKind,
    ObjectState,
    Problem,
    ProblemCode,
    Severity,
    SourceFile,
    SourceObject,
)
from etl.read import file_rules
from etl.read.csv import parse
from etl.read.validate import validate
from etl.runtime.pools import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    import pandas as pd

    from etl.read.csv import Extract
    from etl.read.validate import Validated
    from etl.storage.client import ObjectStore

MAX_OBJECTS = 5_000
MAX_BYTES = 2 * 1024 * 1024  # a batch needs about 20 times that; three exist at once


class StagedObject(NamedTuple):
    """The new manifest entry of one source object."""

    change: ChangeKind
    key: str
    dataset: str | None
    kind: ObjectKind
    attachment: str | None
    attachment_id: str | None
    etag: str
    size: int
    last_modified: str
    state: ObjectState
    rows_read: int = 0
    rows_rejected: int = 0
    reread_on: date | None = None


@dataclass(frozen=True)
class Batch:
    """The result of reading a batch of changes.

    Shapes:  rows (n, 7): key, line, user_id, first_name, last_name, birthts, extra; valid rows
             only. objects: one per object that was read or removed; an object that spans
             several batches is in the last of them.
             unreadable: keys that the store refused; the next run tries them again.
             vanished: the number of objects that were listed, but gone when fetched.
             discards: the key whose rows from earlier batches are invalid.
    """

    rows: pd.DataFrame
    objects: list[StagedObject]
    problems: list[Problem]
    unreadable: list[str]
    vanished: int = 0
    discards: str | None = None


@dataclass(frozen=True)
class Fetched:
    """A batch of changes, and the result by key: a file, a problem, or None if it is gone."""

    changes: Sequence[Change]
    outcomes: Mapping[str, SourceFile | Problem | None]


def cut(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Cut changes into batches of at most 5,000 objects and 2 MB of CSV, or one larger CSV."""
    batch: list[Change] = []
    size = 0
    for change in changes:
        weight = change.source.size if _is_read(change) else 0
        if batch and (len(batch) >= MAX_OBJECTS or size + weight > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(change)
        size += weight
    if batch:
        yield batch


def fetch(store: ObjectStore, bucket: str, changes: Sequence[Change]) -> Fetched:
    """Fetch the batch's CSVs; for other objects, the key is enough.

    Raises:  ObjectStoreUnavailable. An error of one object is a problem, not an exception.
    """
    csvs = [change for change in changes if _is_read(change)]
    found = map_in_threads(
        lambda change: _fetch(store, bucket, change), csvs, store.fetch_concurrency
    )
    keys = (change.source.key for change in csvs)
    return Fetched(changes, dict(zip(keys, found, strict=True)))


def check(fetched: Fetched, today: date) -> Batch:
    """Parse and validate the fetched files."""
    changes, outcomes = fetched.changes, fetched.outcomes
    files = [found for found in outcomes.values() if isinstance(found, SourceFile)]
    refused = [found for found in outcomes.values() if isinstance(found, Problem)]

    etags = {file.source.key: file.source.etag for file in files}
    validated = _validate(parse(files), etags, today)
    problems = validated.problems
    objects = [
        staged
        for change in changes
        if (staged := _entry_of(change, outcomes.get(change.source.key), validated.figures))
        is not None
    ]
    problems += [_unsupported(item) for item in objects if _is_unsupported(item)]
    vanished = sum(found is None for found in outcomes.values())
    unreadable = [problem.key for problem in refused]
    return Batch(validated.rows, objects, problems + refused, unreadable, vanished)


class _ValidatedFiles(NamedTuple):
    """The valid rows of files, their problems, and the figures for the manifest."""

    rows: pd.DataFrame
    problems: list[Problem]
    figures: Figures


def _validate(extract: Extract, etags: Mapping[str, str], today: date) -> _ValidatedFiles:
    """Validate each row, then each file as a whole."""
    checked = validate(extract.rows, etags, today)
    refused = file_rules.keys_with_differing_rows(checked.rows, extract.of_one_user)
    rows = file_rules.without_keys(checked.rows, refused)
    problems = [*extract.problems, *checked.problems]
    if refused:
        problems = [problem for problem in problems if problem.key not in refused]
        problems += [file_rules.rows_without_id(key, etags[key]) for key in sorted(refused)]
    early = file_rules.early_spans(rows, checked.dated)
    seconds = {key for key, span in early.items() if span.last_day_of_seconds <= today}
    problems += [file_rules.epoch_seconds(key, etags[key]) for key in early if key in seconds]
    figures = Figures(extract, checked, problems)
    figures.refuse(refused)
    for key in early.keys() - seconds:
        figures.reread(key, early[key].last_day_of_seconds)
    more = _merged_counts(extract.more, checked.more)
    for key in refused:
        more.pop(key, None)
    return _ValidatedFiles(rows, file_rules.limit_problems(problems, more, etags), figures)


def _merged_counts(
    one: Mapping[str, Counter[ProblemCode]], other: Mapping[str, Counter[ProblemCode]]
) -> dict[str, Counter[ProblemCode]]:
    return {key: one.get(key, Counter()) + other.get(key, Counter()) for key in {*one, *other}}


def is_huge(changes: Sequence[Change]) -> bool:
    """Whether this is one CSV that is too large for memory."""
    return len(changes) == 1 and _is_read(changes[0]) and changes[0].source.size > MAX_BYTES


def _is_read(change: Change) -> bool:
    return change.kind is not ChangeKind.REMOVED and kind_of(change.source.key) is ObjectKind.CSV


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


class Figures:
    """By key: rows read, rows rejected, when to reread, and whether the object was rejected."""

    def __init__(self, extract: Extract, checked: Validated, problems: Iterable[Problem]) -> None:
        self._read = extract.rows_read
        self._rejected = Counter(extract.rows_rejected) + Counter(checked.rows_rejected)
        self._refused = {found.key for found in problems if file_rules.is_refusal(found)}
        self._reread_on = dict(checked.reread_on)

    def refuse(self, keys: Iterable[str]) -> None:
        """Reject all rows of these objects, whatever the date."""
        for key in keys:
            self._rejected[key] = self._read[key]
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
    change: Change, outcome: SourceFile | Problem | None, figures: Figures
) -> StagedObject | None:
    """The object's manifest entry; None if the manifest stays as it is."""
    if change.kind is ChangeKind.REMOVED:
        return entry(ChangeKind.REMOVED, change.source, ObjectState.LOADED)
    if not _is_read(change):
        known = kind_of(change.source.key) is not ObjectKind.OTHER
        state = ObjectState.LOADED if known else ObjectState.QUARANTINED
        return entry(change.kind, change.source, state)
    if isinstance(outcome, SourceFile):
        key = outcome.source.key
        return entry(change.kind, outcome.source, figures.state(key), figures.of(key))
    if outcome is None and change.kind is ChangeKind.MODIFIED:  # gone since the listing
        return entry(ChangeKind.REMOVED, change.source, ObjectState.LOADED)
    return None


def entry(
    kind: ChangeKind,
    source: SourceObject,
    state: ObjectState,
    figures: tuple[int, int, date | None] = (0, 0, None),
) -> StagedObject:
    """The object's manifest entry; `figures` as returned by Figures.of."""
    of_object = kind_of(source.key)
    is_image = of_object is ObjectKind.IMAGE
    return StagedObject(
        kind,
        source.key,
        dataset_of(source.key),
        of_object,
        "img_path" if is_image else None,
        image_id_of(source.key) if is_image else None,
        source.etag,
        source.size,
        source.last_modified.isoformat(),
        state,
        *figures,
    )


def dataset_of(key: str) -> str | None:
    """The dataset of an object; None if it belongs to none."""
    return None if kind_of(key) is ObjectKind.OTHER else "users"


def _is_unsupported(item: StagedObject) -> bool:
    return item.kind is ObjectKind.OTHER and item.change is not ChangeKind.REMOVED


def _unsupported(item: StagedObject) -> Problem:
    return Problem(
        ProblemCode.UNSUPPORTED_TYPE,
        item.key,
        item.etag,
        "Only .csv files and png, jpg, jpeg, webp and gif images are read. "
        "Rename the object if it is one of these, or move it out of the bucket.",
        severity=Severity.WARNING,
    )
