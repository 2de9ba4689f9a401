"""Find the changes of one bucket: by a listing of it, or of the keys that events name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.db import runs
from etl.db.manifest import StoredRoute, manifest, split_points
from etl.model.keys import is_ignored
from etl.model.values import Change, ChangeKind, ObjectKind
from etl.sync.diff import changes, changes_by_page
from etl.sync.probe import THREADS, confirm_removals, stat_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from sqlalchemy import Connection, Engine

    from etl.model.routing import ObjectRoute
    from etl.model.values import ListingEntry, SourceObject
    from etl.storage.client import ObjectStore
    from etl.sync.stats import RunStats


@dataclass(frozen=True)
class Finder:
    """Finds the changes of one bucket and counts its objects in `stats`.

    `route` gives the dataset of a key; objects of the datasets in `left_out` stay as they are.
    `hashes` stand for the declarations. With `is_new`, the manifest may have objects of other
    datasets than `route` gives them.
    """

    store: ObjectStore
    engine: Engine
    bucket: str
    route: Callable[[str], ObjectRoute]
    left_out: frozenset[str]
    hashes: Mapping[str, str]
    is_new: bool
    today: date
    stats: RunStats

    def listed(self, range_objects: int, progress: Callable[[str, int], None]) -> Iterator[Change]:
        """The changes between listing and manifest; unchanged objects are only counted.

        If the store lists ranges concurrently, they have about `range_objects` each.
        """
        stored_route = self._stored_route if self.is_new else None
        with manifest(self.engine, self.bucket, self.today, self.hashes, stored_route) as committed:
            found = changes_by_page(self._pages(range_objects, progress), committed)
            confirmed = confirm_removals(self.store, self.bucket, found, self.stats, self._ignores)
            for change in confirmed:
                if isinstance(change, int):
                    self.stats.unchanged += change
                else:
                    yield from self._routed(change)

    def named(
        self, connection: Connection, keys: list[str], committed: Sequence[SourceObject]
    ) -> list[Change]:
        """The differences of these keys between the store and their manifest entries.

        Only the keys come from events; everything else comes from the store.
        """
        stats = self.stats
        # Without it, the first keys are checked one by one as well.
        objects_known = runs.objects_listed_last(connection) if len(keys) > THREADS else 0
        connection.commit()
        stored = stat_keys(self.store, self.bucket, keys, objects_known=objects_known)
        relevant = [source for source in stored if not self._ignores(source)]
        found = list(changes(relevant, committed))
        stats.listed += len(stored)
        stats.ignored += len(stored) - len(relevant)
        stats.unchanged += found.count(None)
        differing: Iterable[Change] = (change for change in found if change is not None)
        return [one for change in differing for one in self._routed(change)]

    def _ignores(self, source: SourceObject) -> bool:
        """Whether the object is operating system metadata or a folder marker."""
        return is_ignored(source, self._is_used)

    def _is_used(self, key: str) -> bool:
        return self.route(key).kind is not ObjectKind.OTHER

    def _pages(
        self, range_objects: int, progress: Callable[[str, int], None]
    ) -> Iterator[list[ListingEntry]]:
        has_ranges = self.store.ranges_at_once(self.bucket) > 1
        points = split_points(self.engine, self.bucket, range_objects) if has_ranges else []
        for page in self.store.list_pages(self.bucket, points, self._is_used):
            self.stats.listed += len(page.rows) + page.ignored
            self.stats.ignored += page.ignored
            progress("list", self.stats.listed)
            yield page.rows

    def _routed(self, change: Change) -> Iterator[Change]:
        """The change, unless the object is of no dataset; one that was of a dataset is removed."""
        dataset = self.route(change.source.key).dataset
        is_listed = change.kind is not ChangeKind.REMOVED
        if dataset is not None and dataset.name not in self.left_out:
            yield change
        elif is_listed:
            self.stats.ignored += 1
            if dataset is None and change.kind is ChangeKind.MODIFIED:
                yield Change(ChangeKind.REMOVED, change.source)
        elif dataset is None:
            yield change

    def _stored_route(self, key: str) -> StoredRoute:
        route = self.route(key)
        return (
            None if route.dataset is None else route.dataset.name,
            str(route.kind),
            None if route.attachment is None else route.attachment.column,
            route.attachment_id,
        )
