"""Read a batch of changes as one Batch, or one huge CSV as many small batches.

A huge object is never in memory as a whole: its parts are fetched, parsed, validated and staged
one after the other. Its manifest entry comes last, so an incomplete object is never merged. If
the object changes meanwhile, the first batch of the next attempt discards the rows staged so
far. So does the batch that finds different users in a file of one user; the remaining rows are
then only counted.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from etl.model.errors import ObjectChanged, Undecodable, UnreadableObject
from etl.model.values import Change, ChangeKind, ObjectState, SourceObject
from etl.read.csv import ChunkReader, undecodable
from etl.read.pieces import ObjectValidator, pieces
from etl.runtime.pools import flat_map_ahead, map_ahead
from etl.storage.client import FETCH_ATTEMPTS, always_replaced
from etl.sync import batch
from etl.sync.batch import Batch, Discard, Fetched
from etl.sync.copy_text import staged_rows
from etl.sync.reading import BucketReading, entry
from etl.sync.unchanged import Comparison, Comparisons

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etl.read.pieces import FoundRows
    from etl.read.rows.extract import Extract
    from etl.storage.client import ObjectStore

BATCHES_AHEAD = 1
PART_BYTES = 2 * 1024 * 1024  # per request, to amortize the round trip to the store
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


def read(
    store: ObjectStore,
    reading: BucketReading,
    fetched: Fetched,
    comparisons: Comparisons | None = None,
) -> Iterator[Batch]:
    """Parse and validate the batch; a huge CSV is fetched meanwhile, and compared if it is known.

    Raises:  as `batch.fetch`.
    """
    comparisons = comparisons or Comparisons()
    if batch.is_huge(fetched.changes, reading):
        return _HugeFileReader(store, reading, fetched.changes[0], comparisons).batches()
    found = batch.check(fetched, reading)
    comparisons.end_for(found.new_columns)
    return iter((found,))


def read_changes(
    store: ObjectStore,
    reading: BucketReading,
    changes: Iterator[Change],
    comparisons: Comparisons | None = None,
) -> Iterator[Batch]:
    """Fetch and parse the changes in batches, one batch ahead of the caller."""
    comparisons = comparisons or Comparisons()

    def fetch_batch(items: list[Change]) -> Fetched:
        return fetch(store, reading, items)

    def read_batch(fetched: Fetched) -> Iterator[Batch]:
        return read(store, reading, fetched, comparisons)

    fetched = map_ahead(fetch_batch, batch.cut(changes, reading), BATCHES_AHEAD)
    with (
        closing(comparisons),
        closing(flat_map_ahead(read_batch, fetched, BATCHES_AHEAD)) as batches,
    ):
        for number, done in enumerate(batches, 1):
            yield done
            if number % RELEASE_EVERY == 0:  # each time would take a tenth of the reading
                pa.default_memory_pool().release_unused()


class _HugeFileReader:
    """Reads one huge CSV in batches, and compares a modified one with the stored rows."""

    def __init__(
        self,
        store: ObjectStore,
        reading: BucketReading,
        change: Change,
        comparisons: Comparisons,
    ) -> None:
        self._store = store
        self._reading = reading
        self._dataset = reading.dataset_of(change.source.key)
        self._change = change
        self._comparisons = comparisons
        self._comparison: Comparison | None = None
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
        self._comparison = self._comparisons.begin(self._change, self._dataset.name)
        try:
            yield from self._read_parts(source, ChunkReader(source, self._dataset, added))
        except Undecodable:
            self._discards = self._discard()
            validator = ObjectValidator(source, self._dataset, self._reading.today)
            extract = undecodable(source, self._dataset)
            yield self._last_batch(source, extract, validator, is_without_id=False)

    def _read_parts(self, source: SourceObject, reader: ChunkReader) -> Iterator[Batch]:
        validator = ObjectValidator(source, self._dataset, self._reading.today)
        parts = self._store.fetch_in_parts(self._reading.bucket, source, PART_BYTES)
        with closing(parts):
            for part in parts:
                for piece in pieces(part):
                    extract = reader.read(piece)
                    found = validator.validate(extract, is_without_id=reader.is_without_id)
                    yield self._batch(found, extract.added)
        extract = reader.finish()
        yield self._last_batch(source, extract, validator, is_without_id=reader.is_without_id)

    def _batch(self, found: FoundRows, added: tuple[str, ...]) -> Batch:
        if found.rejects_object:
            self._discards = self._discard()
        name = self._dataset.name
        if added:
            self._comparisons.end_for([name])
        rows, compared = found.rows, None
        if self._comparison is not None:
            rows, compared = self._comparison.compare(rows)
        return Batch(
            self._reading.bucket,
            {name: staged_rows(rows, self._dataset)} if len(rows) else {},
            [],
            found.problems,
            batch.datasets_of(found.problems, self._reading),
            discards=self._take_discards(),
            new_columns={name: added} if added else {},
            compared=compared,
        )

    def _last_batch(
        self,
        source: SourceObject,
        extract: Extract,
        validator: ObjectValidator,
        *,
        is_without_id: bool,
    ) -> Batch:
        found = validator.validate(extract, is_without_id=is_without_id)
        problems = [*found.problems, *validator.object_problems()]
        if validator.has_too_many_faults:
            found = found._replace(rows=found.rows[:0])
            discard = self._discard(keeps_problems=True)
            self._discards = self._discards or discard
        last = self._batch(found._replace(problems=problems), extract.added)
        staged = entry(self._change.kind, source, self._reading, validator.state, validator.figures)
        if self._comparison is not None:
            last = replace(last, compared=self._comparison.finish(last.compared))
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
        """Discard the rows staged so far; what the comparison found is not used."""
        if self._comparison is not None:
            self._comparison.stop()
            self._comparison = None
        return Discard(self._dataset.name, self._change.source.key, keeps_problems)

    def _take_discards(self) -> Discard | None:
        discards, self._discards = self._discards, None
        return discards
