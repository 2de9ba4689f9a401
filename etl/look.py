"""Ask the store what the keys that events named hold now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from etl.executor import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etl.bucket import ObjectStore
    from etl.model import SourceObject

THREADS = 16
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
    return [source for source in store.list_objects(bucket) if source.key in keys]
