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

import pandas as pd

from etl.model.errors import ObjectChanged, Undecodable, UnreadableObject
from etl.model.values import Change, ChangeKind, ObjectState, Problem, SourceObject
from etl.read import file_rules
from etl.read.csv import ChunkReader, Extract, sort_problems, undecodable
from etl.read.validate import validate
from etl.runtime.pools import flat_map_ahead, map_ahead
from etl.storage.client import FETCH_ATTEMPTS, always_replaced
from etl.sync import batch
from etl.sync.batch import Batch, Fetched

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from etl.read.validate import Validated
    from etl.storage.client import ObjectStore

BATCHES_AHEAD = 1
PART_BYTES = 2 * 1024 * 1024  # per request, to amortize the round trip to the store
PIECE_BYTES = 768 * 1024  # parsed at once, in ten times as much memory
PIECE_LINES = 50_000  # short lines need more memory per byte


def fetch(store: ObjectStore, bucket: str, changes: Sequence[Change]) -> Fetched:
    """Fetch a batch from `batch.cut`, but not a huge CSV.

    Raises:  as `batch.fetch`.
    """
    return Fetched(changes, {}) if batch.is_huge(changes) else batch.fetch(store, bucket, changes)


def read(store: ObjectStore, bucket: str, fetched: Fetched, today: date) -> Iterator[Batch]:
    """Parse and validate the batch; a huge CSV is fetched meanwhile.

    Raises:  as `batch.fetch`.
    """
    if batch.is_huge(fetched.changes):
        return _HugeFileReader(store, bucket, fetched.changes[0], today).batches()
    return iter((batch.check(fetched, today),))


def read_changes(
    store: ObjectStore, bucket: str, changes: Iterator[Change], today: date
) -> Iterator[Batch]:
    """Fetch and parse the changes in batches, one batch ahead of the caller."""

    def fetch_batch(items: list[Change]) -> Fetched:
        return fetch(store, bucket, items)

    def read_batch(fetched: Fetched) -> Iterator[Batch]:
        return read(store, bucket, fetched, today)

    fetched = map_ahead(fetch_batch, batch.cut(changes), BATCHES_AHEAD)
    return flat_map_ahead(read_batch, fetched, BATCHES_AHEAD)


class _HugeFileReader:
    """Reads one huge CSV in batches."""

    def __init__(self, store: ObjectStore, bucket: str, change: Change, today: date) -> None:
        self._store = store
        self._bucket = bucket
        self._change = change
        self._today = today
        self._discards: str | None = None

    def batches(self) -> Iterator[Batch]:
        """Read one version of the object completely, in several attempts if it changes."""
        source = self._change.source
        for _ in range(FETCH_ATTEMPTS):
            try:
                yield from self._read_version(source)
            except ObjectChanged:
                self._discards = source.key
            except UnreadableObject as error:
                yield self._refusal(source, error)
                return
            else:
                return
            found = self._store.stat(self._bucket, source.key)
            if found is None:
                yield self._removal(source)
                return
            source = found
        yield self._refusal(source, always_replaced(source))

    def _read_version(self, source: SourceObject) -> Iterator[Batch]:
        """Read this version of the object, or reject it if it is not valid UTF-16."""
        try:
            yield from self._read_parts(source, ChunkReader(source))
        except Undecodable:
            self._discards = source.key
            validator = _Validator(source, self._today)
            found = validator.validate(undecodable(source), is_of_one_user=False)
            yield self._last_batch(source, found, validator)

    def _read_parts(self, source: SourceObject, reader: ChunkReader) -> Iterator[Batch]:
        validator = _Validator(source, self._today)
        with closing(self._store.fetch_in_parts(self._bucket, source, PART_BYTES)) as parts:
            for part in parts:
                for piece in _pieces(part):
                    extract = reader.read(piece)
                    found = validator.validate(extract, is_of_one_user=reader.is_of_one_user)
                    yield self._batch(source, found)
        extract = reader.finish()
        found = validator.validate(extract, is_of_one_user=reader.is_of_one_user)
        yield self._last_batch(source, found, validator)

    def _batch(self, source: SourceObject, found: _Found) -> Batch:
        if found.rejects_object:
            self._discards = source.key
        return Batch(found.rows, [], found.problems, [], discards=self._take_discards())

    def _last_batch(self, source: SourceObject, found: _Found, validator: _Validator) -> Batch:
        last = self._batch(source, found)
        staged = batch.entry(self._change.kind, source, validator.state, validator.figures)
        problems = [*found.problems, *validator.object_problems()]
        return replace(last, objects=[staged], problems=problems)

    def _removal(self, source: SourceObject) -> Batch:
        """The batch for an object that was deleted meanwhile: a removal if it was known."""
        removed = batch.entry(ChangeKind.REMOVED, source, ObjectState.LOADED)
        known = self._change.kind is ChangeKind.MODIFIED
        objects = [removed] if known else []
        discards = self._take_discards()
        return Batch(pd.DataFrame(), objects, [], [], vanished=1, discards=discards)

    def _refusal(self, source: SourceObject, error: UnreadableObject) -> Batch:
        problems = [batch.refusal(source, error)]
        return Batch(pd.DataFrame(), [], problems, [source.key], discards=source.key)

    def _take_discards(self) -> str | None:
        discards, self._discards = self._discards, None
        return discards


class _Found(NamedTuple):
    """The valid rows and problems of a piece, and whether it rejects the whole object."""

    rows: pd.DataFrame
    problems: list[Problem]
    rejects_object: bool = False


class _Validator:
    """Validates one object piece by piece, and as a whole."""

    def __init__(self, source: SourceObject, today: date) -> None:
        self._source = source
        self._today = today
        self._limit = file_rules.ProblemLimit()
        self._first: pd.DataFrame | None = None  # valid row, for comparison with the others
        self._span: file_rules.Span | None = None
        self._rows_read = 0
        self._rows_rejected = 0
        self._reread_on: date | None = None
        self._has_dates = False
        self._is_without_id = False
        self.state = ObjectState.LOADED

    def validate(self, extract: Extract, *, is_of_one_user: bool) -> _Found:
        """Validate the next rows of the object."""
        key = self._source.key
        checked = validate(extract.rows, {key: self._source.etag}, self._today)
        self._count(extract, checked)
        if self._is_without_id:
            return _Found(checked.rows[:0], [])
        if is_of_one_user and self._differs(checked.rows):
            self._is_without_id, self.state = True, ObjectState.QUARANTINED
            return _Found(checked.rows[:0], [], rejects_object=True)
        more = extract.more.get(key, Counter()) + checked.more.get(key, Counter())
        problems = sort_problems([*extract.problems, *checked.problems])
        if any(map(file_rules.is_refusal, problems)):
            self.state = ObjectState.QUARANTINED
        return _Found(checked.rows, list(self._limit.passing(problems, more)))

    def object_problems(self) -> list[Problem]:
        """The problems of the object as a whole."""
        key, etag = self._source.key, self._source.etag
        if self._is_without_id:
            return [file_rules.rows_without_id(key, etag)]
        day = self._day_of_seconds()
        is_seconds = day is not None and day <= self._today
        warnings = [file_rules.epoch_seconds(key, etag)] if is_seconds else []
        return warnings + self._limit.rest(key, etag)

    @property
    def figures(self) -> tuple[int, int, date | None]:
        """As returned by Figures.of."""
        if self._is_without_id:
            return self._rows_read, self._rows_read, None
        day = self._day_of_seconds()
        days = [self._reread_on, day if day is not None and day > self._today else None]
        reread_on = min((day for day in days if day is not None), default=None)
        return self._rows_read, self._rows_rejected, reread_on

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
        found = file_rules.span(checked.rows)
        self._span = self._span if found is None else found.joined(self._span)
        days = [self._reread_on, checked.reread_on.get(key)]
        self._reread_on = min((day for day in days if day is not None), default=None)

    def _differs(self, rows: pd.DataFrame) -> bool:
        """Whether these valid rows differ from each other or from earlier rows."""
        if self._first is None:
            self._first = rows[:1].copy() if len(rows) else None
        else:
            rows = pd.concat([self._first, rows], ignore_index=True)
        return bool(file_rules.keys_with_differing_rows(rows, [self._source.key]))


def _pieces(part: bytes) -> Iterator[bytes]:
    """Cut the part at any byte into equal pieces of at most 768 KB and about 50,000 lines."""
    line_ends = max(part.count(b"\n"), part.count(b"\r"))
    count = max(-(-len(part) // PIECE_BYTES), -(-line_ends // PIECE_LINES))
    step = -(-len(part) // count)
    for start in range(0, len(part), step):
        yield part[start : start + step]
