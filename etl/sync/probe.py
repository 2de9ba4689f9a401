"""Check single keys in the store: keys that events named, and keys missing from a listing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from etl.model.values import Change, ChangeKind
from etl.runtime.pools import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from etl.model.values import SourceObject
    from etl.storage.client import ObjectStore
    from etl.sync.stats import RunStats

    Ignores: TypeAlias = Callable[[SourceObject], bool]

THREADS = 16
KEYS_PER_CHECK = 1_000
LISTED_PER_SECOND = 20_000  # by a slow store


def stat_keys(
    store: ObjectStore, bucket: str, keys: Sequence[str], *, objects_known: int
) -> list[SourceObject]:
    """The current objects of these keys. Keys and result are in byte order.

    Keys are checked one by one unless a listing of the bucket, with about `objects_known`
    objects, is faster: some stores read a whole folder to find one object.
    """
    first, rest = keys[:THREADS], keys[THREADS:]
    started = time.monotonic()
    found = _stat_each(store, bucket, first)
    seconds_each = (time.monotonic() - started) / max(1, len(first))
    if seconds_each * len(rest) > objects_known / LISTED_PER_SECOND:
        return found + _list_and_filter(store, bucket, set(rest))
    return found + _stat_each(store, bucket, rest)


def _stat_each(store: ObjectStore, bucket: str, keys: Iterable[str]) -> list[SourceObject]:
    found = map_in_threads(lambda key: store.stat(bucket, key), keys, THREADS)
    return [source for source in found if source is not None]


def _list_and_filter(store: ObjectStore, bucket: str, keys: set[str]) -> list[SourceObject]:
    found = [source for source in store.list_objects(bucket) if source.key in keys]
    missing = sorted(keys - {source.key for source in found})
    unlisted = [source for source in recheck_missing(store, bucket, missing) if source is not None]
    return sorted(found + unlisted, key=lambda source: source.key)


def confirm_removals(
    store: ObjectStore,
    bucket: str,
    changes: Iterable[Change | int],
    stats: RunStats,
    ignores: Ignores,
) -> Iterator[Change | int]:
    """The changes, where the store confirms each removal with a check of its key.

    Some stores return the stale remainder of an unfinished listing, which must not retire users.
    An object that still exists counts as listed: it is modified, or unchanged, which a number
    stands for as in `changes_by_page`. An object that still exists, but which the listing
    `ignores`, is removed; the listing counted it as ignored.
    """
    removed: list[Change] = []
    for change in changes:
        if isinstance(change, int) or change.kind is not ChangeKind.REMOVED:
            yield change
            continue
        removed.append(change)
        if len(removed) == KEYS_PER_CHECK:
            yield from _confirm(store, bucket, removed, stats, ignores)
            removed = []
    yield from _confirm(store, bucket, removed, stats, ignores)


def _confirm(
    store: ObjectStore,
    bucket: str,
    removed: Sequence[Change],
    stats: RunStats,
    ignores: Ignores,
) -> Iterator[Change | int]:
    keys = [change.source.key for change in removed]
    for change, found in zip(removed, recheck_missing(store, bucket, keys), strict=True):
        if found is None or ignores(found):
            yield change
        else:
            stats.listed += 1
            yield 1 if found == change.source else Change(ChangeKind.MODIFIED, found)


def recheck_missing(
    store: ObjectStore, bucket: str, keys: Sequence[str]
) -> list[SourceObject | None]:
    """The objects of keys that most likely do not exist."""

    def check(key: str) -> SourceObject | None:
        return None if store.is_gone(bucket, key) else store.stat(bucket, key)

    return map_in_threads(check, keys, THREADS)
