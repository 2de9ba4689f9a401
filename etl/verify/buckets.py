"""Read the source buckets: each is listed once, and each file is parsed and dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.model.errors import ConfigurationError, UnreadableObject
from etl.model.values import ObjectKind, ProblemCode
from etl.verify import names, store
from etl.verify.expected import Expectation, Listed, ObjectPlace
from etl.verify.routes import Routes
from etl.verify.unpack import MAX_EXPANDED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import date

    from minio import Minio

    from etl.verify.expected import Expected
    from etl.verify.layout import ObjectColumns

    ProgressCallback = Callable[[int, int], None]


class BucketReader:
    """Reads the objects of all datasets; `listing` is updated for those that change meanwhile.

    `paused` holds the places of objects of paused datasets, which are not read. `unreadable` has
    the errors of buckets that do not exist or may not be listed; `buckets` are all others.
    """

    def __init__(self, client: Minio, layouts: Sequence[ObjectColumns], source_bucket: str) -> None:
        self._client = client
        self._layouts = layouts
        datasets = [layout.dataset for layout in layouts]
        self.listing: dict[ObjectPlace, Listed] = {}
        self.paused: set[ObjectPlace] = set()
        self.buckets: list[str] = []
        self.unreadable: dict[str, ConfigurationError] = {}
        for bucket in sorted({dataset.bucket or source_bucket for dataset in datasets}):
            try:
                self._list(bucket, Routes(datasets, bucket, source_bucket))
                self.buckets.append(bucket)
            except ConfigurationError as error:
                self.unreadable[bucket] = error
        if not self.buckets and self.unreadable:
            raise next(iter(self.unreadable.values()))
        self._forget(self.unreadable)

    def _list(self, bucket: str, routes: Routes) -> None:
        for source in store.list_objects(self._client, bucket):
            route = None if names.is_junk(source.key) else routes.of(source.key)
            if route is None or (source.size == 0 and route.kind is ObjectKind.OTHER):
                continue
            place = ObjectPlace(bucket, source.key)
            if route.dataset.is_paused:
                self.paused.add(place)
            else:
                self.listing[place] = Listed(place, source, route)

    def _forget(self, buckets: Collection[str]) -> None:
        """Leave out what was listed before a listing failed."""
        self.paused = {place for place in self.paused if place.bucket not in buckets}
        self.listing = {
            place: one for place, one in self.listing.items() if place.bucket not in buckets
        }

    def expect(
        self, today: date, progress: ProgressCallback, most_expanded: int = MAX_EXPANDED
    ) -> Expected:
        """Read all data objects; `progress` receives their number read and their total.

        `most_expanded` is the number of bytes to which a compressed file may expand.
        """
        expectation = Expectation(
            (layout for layout in self._layouts if not layout.dataset.is_paused),
            today,
            most_expanded,
        )
        files = [one for one in self.listing.values() if one.route.kind is ObjectKind.DATA]
        progress(0, len(files))
        for done, listed in enumerate(files, start=1):
            self._add(listed, expectation)
            progress(done, len(files))
        for listed in self.listing.values():
            if listed.route.kind is not ObjectKind.DATA:
                expectation.add_unopened(listed)
        return expectation.finish()

    def _add(self, listed: Listed, expectation: Expectation) -> None:
        """Parse the current version of an object, unless it no longer exists."""
        place = listed.place
        try:
            read = store.read_object(self._client, place.bucket, listed.source)
        except UnreadableObject:
            expectation.add_problem(place, ProblemCode.ACCESS_REFUSED)
            return
        if read is None:
            del self.listing[place]
            return
        source, content = read
        current = Listed(place, source, listed.route)
        self.listing[place] = current
        expectation.add_file(current, content)
