"""Read a batch of changes as one Batch, or, where it is one huge CSV, as many small ones.

A huge object is never held whole: its parts are fetched, parsed, checked and handed on to be
staged one after the other. Its entry for the manifest comes last, so that what an end without
one left in staging is never merged. If the object turns out to be another than it seemed, the
first batch of the next attempt throws away what the last one brought.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from etl import batch
from etl.batch import Batch, Fetched, Figures
from etl.bucket import FETCH_ATTEMPTS, never_still
from etl.errors import NotUtf8, ObjectChanged, Undecodable, UnreadableObject
from etl.extract import Extract, PieceReader, undecodable
from etl.model import Change, ChangeKind, ObjectState, SourceObject
from etl.validate import validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from etl.bucket import ObjectStore

PART_BYTES = 2 * 1024 * 1024  # fetched at once, to make up for the way to the store
PIECE_BYTES = 768 * 1024  # parsed at once; it takes ten times as much while that is done
PIECE_LINES = 50_000  # short lines take more memory than their bytes


def fetch(store: ObjectStore, bucket: str, changes: Sequence[Change]) -> Fetched:
    """Fetch the changes that `batch.cut` put together; of a huge CSV nothing yet.

    Raises:  as `batch.fetch`.
    """
    return Fetched(changes, {}) if batch.is_huge(changes) else batch.fetch(store, bucket, changes)


def read(store: ObjectStore, bucket: str, fetched: Fetched, today: date) -> Iterator[Batch]:
    """Parse and check what was fetched; a huge CSV is fetched as it is read.

    Raises:  as `batch.fetch`.
    """
    if batch.is_huge(fetched.changes):
        return _Stream(store, bucket, fetched.changes[0], today).batches()
    return iter((batch.check(fetched, today),))


class _Stream:
    """One huge CSV on its way into staging."""

    def __init__(self, store: ObjectStore, bucket: str, change: Change, today: date) -> None:
        self._store = store
        self._bucket = bucket
        self._change = change
        self._today = today
        self._discards: str | None = None

    def batches(self) -> Iterator[Batch]:
        """The object as it holds still for one whole reading."""
        source = self._change.source
        for _ in range(FETCH_ATTEMPTS):
            try:
                yield from self._version(source)
            except ObjectChanged:
                self._discards = source.key
            except UnreadableObject as error:
                yield self._refused(source, error)
                return
            else:
                return
            found = self._store.stat(self._bucket, source.key)
            if found is None:
                yield self._gone(source)
                return
            source = found
        yield self._refused(source, never_still(source))

    def _version(self, source: SourceObject) -> Iterator[Batch]:
        """This very version of the object, in whichever encoding it turns out to be."""
        try:
            try:
                yield from self._pass(source, PieceReader(source))
            except NotUtf8 as error:
                self._discards = source.key
                yield from self._pass(source, PieceReader(source, guessed_from_line=error.line))
        except Undecodable:
            self._discards = source.key
            yield self._last(source, undecodable(source), _Total())

    def _pass(self, source: SourceObject, reader: PieceReader) -> Iterator[Batch]:
        total = _Total()
        with closing(self._store.fetch_in_parts(self._bucket, source, PART_BYTES)) as parts:
            for part in parts:
                for piece in _pieces(part):
                    yield self._batch(source, reader.read(piece), total)
        yield self._last(source, reader.finish(), total)

    def _batch(self, source: SourceObject, extract: Extract, total: _Total) -> Batch:
        checked = validate(extract.rows, {source.key: source.etag}, self._today)
        problems = [*extract.problems, *checked.problems]
        total.add(source.key, Figures(extract.rows_read, problems, self._today))
        return Batch(checked.rows, [], problems, [], discards=self._take_discards())

    def _last(self, source: SourceObject, extract: Extract, total: _Total) -> Batch:
        last = self._batch(source, extract, total)
        figures = total.rows_read, total.rows_rejected, total.reread_on
        staged = batch.entry(self._change.kind, source, total.state, figures)
        return replace(last, objects=[staged])

    def _gone(self, source: SourceObject) -> Batch:
        """What is left of an object that went while it was read: that it is gone, if we had it."""
        removed = batch.entry(ChangeKind.REMOVED, source, ObjectState.LOADED)
        known = self._change.kind is ChangeKind.MODIFIED
        objects = [removed] if known else []
        discards = self._take_discards()
        return Batch(pd.DataFrame(), objects, [], [], vanished=1, discards=discards)

    def _refused(self, source: SourceObject, error: UnreadableObject) -> Batch:
        problems = [batch.refusal(source, error)]
        return Batch(pd.DataFrame(), [], problems, [source.key], discards=source.key)

    def _take_discards(self) -> str | None:
        discards, self._discards = self._discards, None
        return discards


@dataclass
class _Total:
    """An object's figures, gathered over its batches."""

    rows_read: int = 0
    rows_rejected: int = 0
    reread_on: date | None = None
    state: ObjectState = ObjectState.LOADED

    def add(self, key: str, figures: Figures) -> None:
        """Take the figures of one batch; no line is in two of them."""
        rows_read, rows_rejected, reread_on = figures.of(key)
        self.rows_read += rows_read
        self.rows_rejected += rows_rejected
        days = [day for day in (self.reread_on, reread_on) if day is not None]
        self.reread_on = min(days, default=None)
        if figures.state(key) is ObjectState.QUARANTINED:
            self.state = ObjectState.QUARANTINED


def _pieces(part: bytes) -> Iterator[bytes]:
    """The part cut into equal pieces, anywhere, of 768 KB and about 50,000 lines at most."""
    line_ends = max(part.count(b"\n"), part.count(b"\r"))
    count = max(-(-len(part) // PIECE_BYTES), -(-line_ends // PIECE_LINES))
    step = -(-len(part) // count)
    for start in range(0, len(part), step):
        yield part[start : start + step]
