"""Read a batch of changes as one Batch, or one huge file as many small batches.

A huge object is never in memory as a whole: its parts are fetched, parsed, validated and staged
one after the other. Small files whose rows may be many, such as Parquet, are read like that too.
The manifest entry of the object comes last, so an incomplete object is never merged. If the
object changes meanwhile, the first batch of the next attempt discards the rows staged so far. So
does the batch that finds different users in a file of one user; the remaining rows are then only
counted.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from etl.model.errors import ObjectChanged, RefusedObject, UnreadableObject
from etl.model.values import Change, ChangeKind, ObjectState, SourceObject
from etl.read.formats import expanded_parts, read_object
from etl.read.pieces import FoundRows, ObjectValidator
from etl.read.rows.extract import refused_extract
from etl.runtime.pools import flat_map_ahead, map_ahead
from etl.storage.client import FETCH_ATTEMPTS, always_replaced
from etl.sync import batch
from etl.sync.batch import Batch, Discard, Fetched
from etl.sync.copy_text import staged_rows
from etl.sync.grouping import grouped
from etl.sync.reading import BucketReading, entry
from etl.sync.unchanged import Comparison, Comparisons

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from etl.read.rows.extract import Extract
    from etl.storage.client import ObjectStore

BATCHES_AHEAD = 1
PARTS_AHEAD = 1  # expanded while the part before is parsed
PART_BYTES = 2 * 1024 * 1024  # per request, to amortize the round trip to the store
RELEASE_EVERY = 16  # batches, after which Arrow returns memory to the system


def fetch(store: ObjectStore, reading: BucketReading, changes: Sequence[Change]) -> Fetched:
    """Fetch a batch from `batch.cut`, but not a huge file.

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
    """Parse and validate the batch; a huge file is fetched meanwhile, and compared if it is known.

    Raises:  as `batch.fetch`.
    """
    comparisons = comparisons or Comparisons()
    if batch.is_huge(fetched.changes, reading):
        yield from _ObjectReader(store, reading, fetched.changes[0], comparisons).batches()
        return
    groups = grouped(fetched, reading)
    for group in groups.together:
        found = batch.check(group, reading)
        comparisons.end_for(found.new_columns)
        yield found
    for change, content in groups.alone:
        yield from _ObjectReader(store, reading, change, comparisons, content).batches()


def read_changes(
    store: ObjectStore,
    reading: BucketReading,
    changes: Iterator[Change],
    comparisons: Comparisons | None = None,
) -> Generator[Batch, None, None]:
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


class _ObjectReader:
    """Reads one file in batches, and compares a modified one with the stored rows.

    `content` is the file, if it is fetched already.
    """

    def __init__(
        self,
        store: ObjectStore,
        reading: BucketReading,
        change: Change,
        comparisons: Comparisons,
        content: bytes | None = None,
    ) -> None:
        self._store = store
        self._content = content
        self._reading = reading
        self._dataset = reading.dataset_of(change.source.key)
        self._change = change
        self._comparisons = comparisons
        self._comparison: Comparison | None = None
        self._discards: Discard | None = None
        self._is_staged = False  # whether a batch had rows or problems of the object

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
        """Read this version of the object; if it is refused, discard the rows of it so far."""
        self._comparison = self._comparisons.begin(self._change, self._dataset.name)
        try:
            limits = self._reading.limits
            with (
                closing(self._parts(source)) as parts,
                closing(expanded_parts(source, self._dataset, parts, limits)) as expanded,
                closing(flat_map_ahead(iter, [expanded], PARTS_AHEAD)) as ahead,
            ):
                added = self._reading.added[self._dataset.name]
                extracts = read_object(source, self._dataset, added, ahead)
                yield from self._read_extracts(source, extracts)
        except RefusedObject as refused:
            self._discards = self._discard()
            yield from self._read_extracts(
                source, [refused_extract(source, self._dataset, refused)]
            )

    def _parts(self, source: SourceObject) -> Generator[bytes, None, None]:
        if self._content is not None:
            return (content for content in [self._content])
        return self._store.fetch_in_parts(self._reading.bucket, source, PART_BYTES)

    def _read_extracts(self, source: SourceObject, extracts: Iterable[Extract]) -> Iterator[Batch]:
        validator = ObjectValidator(source, self._dataset, self._reading.today)
        for extract in extracts:
            found = validator.validate(extract)
            yield self._batch(found, extract.added)
        yield self._last_batch(source, found, validator)

    def _batch(self, found: FoundRows, added: tuple[str, ...]) -> Batch:
        if found.rejects_object:
            self._discards = self._discard()
        discards = self._take_discards()
        name = self._dataset.name
        new = self._reading.take_new_columns([name])
        if added or new:
            self._comparisons.end_for([name])
        rows, compared = found.rows, None
        if self._comparison is not None:
            rows, compared = self._comparison.compare(rows)
        self._is_staged = self._is_staged or bool(len(rows) or found.problems)
        return Batch(
            self._reading.bucket,
            {name: staged_rows(rows, self._dataset)} if len(rows) else {},
            [],
            found.problems,
            batch.datasets_of(found.problems, self._reading),
            discards=discards,
            new_columns=new,
            compared=compared,
        )

    def _last_batch(
        self, source: SourceObject, last: FoundRows, validator: ObjectValidator
    ) -> Batch:
        """The batch after the last rows, without rows: what concerns the whole object."""
        if validator.has_too_many_faults:
            discard = self._discard(keeps_problems=True)
            self._discards = self._discards or discard
        ended = self._batch(FoundRows(last.rows[:0], validator.object_problems()), ())
        staged = entry(self._change.kind, source, self._reading, validator.state, validator.figures)
        if self._comparison is not None:
            ended = replace(ended, compared=self._comparison.finish(ended.compared))
        return replace(ended, objects=[staged])

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

    def _discard(self, *, keeps_problems: bool = False) -> Discard | None:
        """Discard the rows staged so far, if any; what the comparison found is not used."""
        if self._comparison is not None:
            self._comparison.stop()
            self._comparison = None
        if not self._is_staged:  # to look for rows in staging takes as long as there are many
            return None
        return Discard(self._dataset.name, self._change.source.key, keeps_problems)

    def _take_discards(self) -> Discard | None:
        discards, self._discards = self._discards, None
        return discards
