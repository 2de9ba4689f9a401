"""Ask the store what single keys hold now: those that events named, those that a listing lacks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from etl.model.keys import is_ignored
from etl.model.values import Change, ChangeKind
from etl.runtime.pools import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from etl.model.values import SourceObject
    from etl.storage.client import ObjectStore
    from etl.sync.stats import RunStats

THREADS = 16
ASKED_AT_ONCE = 1_000
LISTED_PER_SECOND = 20_000  # what a slow store manages


def look(
    store: ObjectStore, bucket: str, keys: Sequence[str], *, objects_known: int
) -> list[SourceObject]:
    """The objects there are now under these keys, which are in byte order, and so is the answer.

    Key by key, as long as that is quicker than one listing of the bucket, which holds about
    `objects_known`: some stores read a whole folder to find one object in it.
    """
    first, rest = keys[:THREADS], keys[THREADS:]
    started = time.monotonic()
    found = _one_by_one(store, bucket, first)
    seconds_each = (time.monotonic() - started) / max(1, len(first))
    if seconds_each * len(rest) > objects_known / LISTED_PER_SECOND:
        return found + _listed(store, bucket, set(rest))
    return found + _one_by_one(store, bucket, rest)


def _one_by_one(store: ObjectStore, bucket: str, keys: Iterable[str]) -> list[SourceObject]:
    looked = map_in_threads(lambda key: store.stat(bucket, key), keys, THREADS)
    return [source for source in looked if source is not None]


def _listed(store: ObjectStore, bucket: str, keys: set[str]) -> list[SourceObject]:
    found = [source for source in store.list_objects(bucket) if source.key in keys]
    lacking = sorted(keys - {source.key for source in found})
    overlooked = [source for source in _held_still(store, bucket, lacking) if source is not None]
    return sorted(found + overlooked, key=lambda source: source.key)


def confirmed(
    store: ObjectStore, bucket: str, changes: Iterable[Change | int], tally: RunStats
) -> Iterator[Change | int]:
    """The changes, with only those removals that the store confirms, key by key.

    Some stores return the stale rest of a listing that stopped; it must not retire users. What is
    there after all is counted as listed: it was modified since the manifest was written, or else
    is in sync with it, which a number stands for as in `changes_by_page`. What is there but
    ignored, and counted as such, is removed: it was not a file of ours when it was listed.
    """
    removed: list[Change] = []
    for change in changes:
        if isinstance(change, int) or change.kind is not ChangeKind.REMOVED:
            yield change
            continue
        removed.append(change)
        if len(removed) == ASKED_AT_ONCE:
            yield from _confirmed(store, bucket, removed, tally)
            removed = []
    yield from _confirmed(store, bucket, removed, tally)


def _confirmed(
    store: ObjectStore, bucket: str, removed: Sequence[Change], tally: RunStats
) -> Iterator[Change | int]:
    keys = [change.source.key for change in removed]
    for change, there in zip(removed, _held_still(store, bucket, keys), strict=True):
        if there is None or is_ignored(there):
            yield change
        else:
            tally.listed += 1
            yield 1 if there == change.source else Change(ChangeKind.MODIFIED, there)


def _held_still(store: ObjectStore, bucket: str, keys: Sequence[str]) -> list[SourceObject | None]:
    """What the store holds under keys of which it most likely holds none."""

    def held(key: str) -> SourceObject | None:
        return None if store.is_gone(bucket, key) else store.stat(bucket, key)

    return map_in_threads(held, keys, THREADS)
