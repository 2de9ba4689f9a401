"""Read a batch of changes as one Batch, or one huge CSV as many small batches.

A huge object is never in memory as a whole: its parts are fetched, parsed, validated and staged
one after the other. Its manifest entry comes last, so an incomplete object is never merged. If
the object changes meanwhile, the first batch of the next attempt discards the rows staged so
far. So does the batch that finds different users in a file of one user; the remaining rows are
then only counted.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from etl.model.errors import ObjectChanged, Undecodable, UnreadableObject
from etl.model.values import Change, ChangeKind, ObjectState, Problem, SourceObject
from etl.read import file_rules
from etl.read.csv import ChunkReader, Extract, sort_problems, undecodable
from etl.read.validate import validate
from etl.runtime.pools import flat_map_ahead, map_ahead
from etl.storage.client import FETCH_ATTEMPTS, always_replaced
from etl.sync import batch
from etl.sync.batch import Batch, Discard, Fetched
from etl.sync.copy_text import staged_rows
from etl.sync.reading import BucketReading, entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from etl.model.dataset import Dataset
    from etl.read.validate import Validated
    from etl.storage.client import ObjectStore

BATCHES_AHEAD = 1
PART_BYTES = 2 * 1024 * 1024  # per request, to amortize the round trip to the store
PIECE_BYTES = 2 * 1024 * 1024  # parsed at once, in ten times as much memory
PIECE_LINES = 100_000  # short lines need more memory per byte
RELEASE_EVERY = 16  # batches, after which Arrow returns memory to the system


def fetch(store: ObjectStore, reading: BucketReading, changes: Sequence[Change]) -> Fetched:
    """Fetch a batch from `batch.cut`, but not a huge CSV.

    Raises:  as `batch.fetch`.
    """
    return (
        Fetched(changes, {})
        if batch.is_huge(changes, reading)
        else batch.fetch(store, reading, changes)
    )


def read(store: ObjectStore, reading: BucketReading, fetched: Fetched) -> Iterator[Batch]:
    """Parse and validate the batch; a huge CSV is fetched meanwhile.

    Raises:  as `batch.fetch`.
    """
    if batch.is_huge(fetched.changes, reading):
        return _HugeFileReader(store, reading, fetched.changes[0]).batches()
    return iter((batch.check(fetched, reading),))


def read_changes(
    store: ObjectStore, reading: BucketReading, changes: Iterator[Change]
) -> Iterator[Batch]:
    """Fetch and parse the changes in batches, one batch ahead of the caller."""

    def fetch_batch(items: list[Change]) -> Fetched:
        return fetch(store, reading, items)

    def read_batch(fetched: Fetched) -> Iterator[Batch]:
        return read(store, reading, fetched)

    fetched = map_ahead(fetch_batch, batch.cut(changes, reading), BATCHES_AHEAD)
    with closing(flat_map_ahead(read_batch, fetched, BATCHES_AHEAD)) as batches:
        for number, done in enumerate(batches, 1):
            yield done
            if number % RELEASE_EVERY == 0:  # each time would take a tenth of the reading
                pa.default_memory_pool().release_unused()


class _HugeFileReader:
    """Reads one huge CSV in batches."""

    def __init__(self, store: ObjectStore, reading: BucketReading, change: Change) -> None:
        self._store = store
        self._reading = reading
        self._dataset = reading.dataset_of(change.source.key)
        self._change = change
        self._discards: Discard | None = None

    def batches(self) -> Iterator[Batch]:
        """Read one version of the object completely, in several attempts if it changes."""
        source = self._change.source
        for _ in range(FETCH_ATTEMPTS):
            try:
                yield from self._read_version(source)
            except ObjectChanged:
                self._discards = self._discard()
            except UnreadableObject as error:
                yield self._refusal(source, error)
                return
            else:
                return
            found = self._store.stat(self._reading.bucket, source.key)
            if found is None:
                yield self._removal(source)
                return
            source = found
        yield self._refusal(source, always_replaced(source))

    def _read_version(self, source: SourceObject) -> Iterator[Batch]:
        """Read this version of the object, or reject it if it is not valid UTF-16."""
        added = self._reading.added[self._dataset.name]
        try:
            yield from self._read_parts(source, ChunkReader(source, self._dataset, added))
        except Undecodable:
            self._discards = self._discard()
            validator = _Validator(source, self._dataset, self._reading.today)
            extract = undecodable(source, self._dataset)
            yield self._last_batch(source, extract, validator, is_without_id=False)

    def _read_parts(self, source: SourceObject, reader: ChunkReader) -> Iterator[Batch]:
        validator = _Validator(source, self._dataset, self._reading.today)
        parts = self._store.fetch_in_parts(self._reading.bucket, source, PART_BYTES)
        with closing(parts):
            for part in parts:
                for piece in _pieces(part):
                    extract = reader.read(piece)
                    found = validator.validate(extract, is_without_id=reader.is_without_id)
                    yield self._batch(found, extract.added)
        extract = reader.finish()
        yield self._last_batch(source, extract, validator, is_without_id=reader.is_without_id)

    def _batch(self, found: _Found, added: tuple[str, ...]) -> Batch:
        if found.rejects_object:
            self._discards = self._discard()
        name = self._dataset.name
        return Batch(
            self._reading.bucket,
            {name: staged_rows(found.rows)} if len(found.rows) else {},
            [],
            found.problems,
            batch.datasets_of(found.problems, self._reading),
            discards=self._take_discards(),
            new_columns={name: added} if added else {},
        )

    def _last_batch(
        self, source: SourceObject, extract: Extract, validator: _Validator, *, is_without_id: bool
    ) -> Batch:
        found = validator.validate(extract, is_without_id=is_without_id)
        problems = [*found.problems, *validator.object_problems()]
        if validator.has_too_many_faults:
            found = found._replace(rows=found.rows[:0])
            self._discards = self._discards or self._discard(keeps_problems=True)
        last = self._batch(found._replace(problems=problems), extract.added)
        staged = entry(self._change.kind, source, self._reading, validator.state, validator.figures)
        return replace(last, objects=[staged])

    def _removal(self, source: SourceObject) -> Batch:
        """The batch for an object that was deleted meanwhile: a removal if it was known."""
        removed = entry(ChangeKind.REMOVED, source, self._reading, ObjectState.LOADED)
        known = self._change.kind is ChangeKind.MODIFIED
        objects = [removed] if known else []
        discards = self._take_discards()
        return Batch(self._reading.bucket, {}, objects, [], vanished=1, discards=discards)

    def _refusal(self, source: SourceObject, error: UnreadableObject) -> Batch:
        problems = [batch.refusal(source, error)]
        return Batch(
            self._reading.bucket,
            {},
            [],
            problems,
            batch.datasets_of(problems, self._reading),
            unreadable=[source.key],
            discards=self._discard(),
        )

    def _discard(self, *, keeps_problems: bool = False) -> Discard:
        return Discard(self._dataset.name, self._change.source.key, keeps_problems)

    def _take_discards(self) -> Discard | None:
        discards, self._discards = self._discards, None
        return discards


class _Found(NamedTuple):
    """The valid rows and problems of a piece, and whether it rejects the whole object."""

    rows: pa.Table
    problems: list[Problem]
    rejects_object: bool = False


class _Validator:
    """Validates one object piece by piece, and as a whole."""

    def __init__(self, source: SourceObject, dataset: Dataset, today: date) -> None:
        self._source = source
        self._dataset = dataset
        self._timestamps = file_rules.timestamps(dataset)
        self._today = today
        self._limit = file_rules.ProblemLimit()
        self._first: pa.Table | None = None  # valid row, for comparison with the others
        self._span: file_rules.Span | None = None
        self._rows_read = 0
        self._rows_rejected = 0
        self._reread_on: date | None = None
        self._has_dates = False
        self._rows_differ = False
        self._is_refused = False

    def validate(self, extract: Extract, *, is_without_id: bool) -> _Found:
        """Validate the next rows of the object. Without an id, all of them must be equal."""
        key = self._source.key
        checked = validate(extract.rows, self._dataset, {key: self._source.etag}, self._today)
        self._count(extract, checked)
        if self._rows_differ:
            return _Found(checked.rows[:0], [])
        if is_without_id and self._differs(checked.rows):
            self._rows_differ = True
            return _Found(checked.rows[:0], [], rejects_object=True)
        more = extract.more.get(key, Counter()) + checked.more.get(key, Counter())
        problems = sort_problems([*extract.problems, *checked.problems])
        self._is_refused |= any(map(file_rules.is_refusal, problems))
        return _Found(checked.rows, list(self._limit.passing(problems, more)))

    def object_problems(self) -> list[Problem]:
        """The problems of the object as a whole, after its last rows."""
        key, etag = self._source.key, self._source.etag
        if self._rows_differ:
            return [file_rules.rows_without_id(key, etag)]
        day = self._day_of_seconds()
        is_seconds = day is not None and day <= self._today
        found = [file_rules.epoch_seconds(key, etag)] if is_seconds else []
        if self.has_too_many_faults:
            counts = self._rows_read, self._rows_rejected
            found.append(file_rules.too_many_faults(key, etag, self._dataset, *counts))
        return found + self._limit.rest(key, etag)

    @property
    def has_too_many_faults(self) -> bool:
        """Whether the object is refused because of its faulty rows, after its last rows."""
        return not self._rows_differ and file_rules.has_too_many_faults(
            self._dataset, self._rows_read, self._rows_rejected
        )

    @property
    def state(self) -> ObjectState:
        """Quarantined if the object as a whole was rejected."""
        is_rejected = self._is_refused or self._rows_differ or self.has_too_many_faults
        return ObjectState.QUARANTINED if is_rejected else ObjectState.LOADED

    @property
    def figures(self) -> tuple[int, int, date | None]:
        """As returned by Figures.of."""
        if self._rows_differ:
            return self._rows_read, self._rows_read, None
        day = self._day_of_seconds()
        days = [self._reread_on, day if day is not None and day > self._today else None]
        reread_on = min((day for day in days if day is not None), default=None)
        rejected = self._rows_read if self.has_too_many_faults else self._rows_rejected
        return self._rows_read, rejected, reread_on

    def _day_of_seconds(self) -> date | None:
        """The last birthdate if all values could be seconds."""
        if self._span is None or self._has_dates or not self._span.could_be_seconds:
            return None
        return self._span.last_day_of_seconds

    def _count(self, extract: Extract, checked: Validated) -> None:
        key = self._source.key
        rejected = extract.rows_rejected, checked.rows_rejected
        self._rows_read += extract.rows_read[key]
        self._rows_rejected += sum(by_key.get(key, 0) for by_key in rejected)
        self._has_dates |= bool(checked.dated)
        if self._timestamps is not None:
            found = file_rules.span(checked.rows[self._timestamps])
            self._span = self._span if found is None else found.joined(self._span)
        days = [self._reread_on, checked.reread_on.get(key)]
        self._reread_on = min((day for day in days if day is not None), default=None)

    def _differs(self, rows: pa.Table) -> bool:
        """Whether these valid rows differ from each other or from earlier rows."""
        if self._first is None:
            # A copy, or it would keep all rows.
            self._first = rows.take(pa.array([0])) if len(rows) else None
        else:
            rows = pa.concat_tables([self._first, rows], promote_options="default")
        key = self._source.key
        return bool(file_rules.keys_with_differing_rows(rows, self._dataset, [key]))


def _pieces(part: bytes) -> Iterator[bytes]:
    """Cut the part at any byte into equal pieces of at most 2 MB and about 100,000 lines."""
    line_ends = max(part.count(b"\n"), part.count(b"\r"))
    count = max(-(-len(part) // PIECE_BYTES), -(-line_ends // PIECE_LINES))
    step = -(-len(part) // count)
    for start in range(0, len(part), step):
        yield part[start : start + step]
