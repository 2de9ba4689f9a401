"""List a bucket in key order: with the bulk lister, or with the exact one where keys need it.

MinIO-based gateways, including the embedded store, cache the remainder of an unfinished listing
for 30 minutes. They return it to the next client that continues from the same key, so a client
that reads pages of 1,000 may get another's outdated remainder. Every listing therefore begins
with an exact page of random length, and no two listings continue from the same keys.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from obstore.exceptions import InvalidPathError

from etl.model.errors import ObjectStoreUnavailable
from etl.model.keys import is_csv_or_image, without_ignored
from etl.runtime.pools import flat_map_ahead
from etl.storage.bulk_lister import PLAIN_KEY, are_trusted
from etl.storage.exact_lister import PAGE_OBJECTS
from etl.storage.order import ListingOrder, check_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from etl.model.keys import IsUsed
    from etl.model.values import ListingEntry
    from etl.storage.bulk_lister import BulkLister
    from etl.storage.exact_lister import ExactLister

# Neither 1 nor 1,000: other clients stop there when they check for any object, or read one page.
FIRST_PAGE_SIZES = range(2, PAGE_OBJECTS)
RANGE_OBJECTS = 10_000  # between two split points
LONGEST_POINT = 1000  # bytes; stores take keys of 1,024


@dataclass(frozen=True, slots=True)
class ListingPage:
    """The objects of one page of a listing, and the number of ignored objects."""

    rows: list[ListingEntry]
    ignored: int


@dataclass(frozen=True, slots=True)
class KeyRanges:
    """The key ranges to list, of which `at_once` are listed concurrently.

    `split_points` are keys that divide the bucket; they need not exist. If ranges
    `may_be_given_up`, only the first is listed separately if it takes longer than the first page:
    gateways of file systems read a whole folder before the first page of every range.
    """

    split_points: Sequence[str] = ()
    at_once: int = 1
    order: ListingOrder = ListingOrder.BYTES
    may_be_given_up: bool = False

    def points_after(self, start: str | None) -> list[str]:
        """The split points after a key, in the order of the store."""
        place = self.order.place
        points = [self._point(key) for key in self.split_points if PLAIN_KEY.fullmatch(key)]
        after = [key for key in points if start is None or place(key) > place(start)]
        return sorted(after, key=place)

    def _point(self, key: str) -> str:
        """The key, or one near it that is no folder: after those, SeaweedFS omits their objects."""
        if self.order is ListingOrder.BYTES:
            return key
        return key[:LONGEST_POINT] + secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class _KeyRange:
    """The keys after `after`, up to and including `through`; None is the bucket's end."""

    after: str | None
    through: str | None
    order: ListingOrder = ListingOrder.BYTES

    @property
    def least(self) -> str | None:
        """A key that is less than those of the range in bytes; None if there may be none."""
        return self.after if self.order is ListingOrder.BYTES else None

    def has(self, key: str) -> bool:
        """Whether a key after `after` is not after `through`."""
        return self.through is None or self.order.place(key) <= self.order.place(self.through)


class BucketListing:
    """Chooses between the bulk and the exact lister, page by page.

    `first_page_sizes` are the possible lengths of the exact page at the beginning; `clock` tells
    seconds.

    Raises (every method):  as those of ObjectStore.
    """

    def __init__(
        self,
        exact: ExactLister,
        bulk: BulkLister,
        first_page_sizes: Sequence[int] = FIRST_PAGE_SIZES,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._exact = exact
        self._bulk = bulk
        self._first_page_sizes = first_page_sizes
        self._clock = clock

    def pages(
        self, bucket: str, ranges: KeyRanges = KeyRanges(), is_used: IsUsed = is_csv_or_image
    ) -> Iterator[ListingPage]:
        """The whole bucket, in the order the store lists: UTF-8 bytes of the key.

        The bulk lister reads on after the first page. The exact lister takes over at the first
        page that the bulk lister fails on or may have misspelled; an outage fails there too.
        The next page is listed while the caller processes one. `is_used` tells empty data and
        image objects from folder markers.
        """
        begun = self._clock()
        head = self._head(bucket)
        head_seconds = self._clock() - begun
        if head:
            yield _page(head, is_used)
        elif self._exact.has_leading_slash(bucket):
            yield from self._exact_pages(bucket, _KeyRange(None, None), is_used)
            return
        start = head[-1][0] if head else None
        inner = ranges.points_after(start)
        if inner and ranges.may_be_given_up:
            begun, first = self._clock(), _KeyRange(start, inner[0], ranges.order)
            first_pages = list(self._range_pages(bucket, first, is_used))
            start, *inner = inner if self._clock() - begun >= head_seconds else inner[:1]
            yield from first_pages
        # A range is one page: no more of it is listed before the caller asks for it.
        page_objects = RANGE_OBJECTS + PAGE_OBJECTS if inner else PAGE_OBJECTS
        yield from flat_map_ahead(
            lambda ends: self._range_pages(
                bucket, _KeyRange(*ends, ranges.order), is_used, page_objects
            ),
            pairwise([start, *inner, None]),
            ranges.at_once,
        )

    def all_rows(self, bucket: str, after: str | None = None) -> Iterator[list[ListingEntry]]:
        """The objects after the key `after`, ignored ones included, with exact keys.

        Pages come from the bulk or the exact lister, as in `pages`. The next page is listed while
        the caller processes one.
        """
        return flat_map_ahead(lambda start: self._all_rows(bucket, start), [after], 1)

    def _all_rows(self, bucket: str, after: str | None) -> Iterator[list[ListingEntry]]:
        last = after
        if last is None and (head := self._head(bucket)):
            yield head
            last = head[-1][0]
        if last is None or PLAIN_KEY.fullmatch(last):
            try:
                for rows in self._bulk.pages(bucket, last, PAGE_OBJECTS):
                    if not self._are_exact(bucket, rows, last):
                        break
                    last = rows[-1][0]
                    yield rows
                else:
                    return
            except (InvalidPathError, ObjectStoreUnavailable):
                pass
        yield from self._exact.pages(bucket, last)

    def _are_exact(self, bucket: str, rows: list[ListingEntry], last: str | None) -> bool:
        """Whether every row is an object with exactly that key.

        A key with a leading slash can only be on the first page.
        """
        if last is None and self._exact.has_leading_slash(bucket):
            return False
        return are_trusted(rows, last) and all(self._exists(bucket, row) for row in rows)

    def _range_pages(
        self, bucket: str, keys: _KeyRange, is_used: IsUsed, page_objects: int = PAGE_OBJECTS
    ) -> Iterator[ListingPage]:
        last, least = keys.after, keys.least
        try:
            for rows in self._bulk.pages(bucket, keys.after, page_objects):
                kept = without_ignored(rows, is_used)
                if kept:
                    if not are_trusted(kept, least):
                        break
                    last = least = kept[-1][0]
                inside = self._inside(bucket, rows, keys)
                yield self._bulk_page(bucket, inside, is_used)
                if len(inside) < len(rows):
                    return
            else:
                return
        except (InvalidPathError, ObjectStoreUnavailable):
            pass
        yield from self._exact_pages(bucket, replace(keys, after=last), is_used)

    def _exact_pages(self, bucket: str, keys: _KeyRange, is_used: IsUsed) -> Iterator[ListingPage]:
        least = keys.least
        for rows in self._exact.pages(bucket, keys.after):
            check_order(rows, least)  # in any other order, keys of the range could follow its end
            least = rows[-1][0]
            inside = [row for row in rows if keys.has(row[0])]
            yield _page(inside, is_used)
            if len(inside) < len(rows):
                return

    def _bulk_page(self, bucket: str, rows: list[ListingEntry], is_used: IsUsed) -> ListingPage:
        existing = [row for row in without_ignored(rows, is_used) if self._exists(bucket, row)]
        return ListingPage(existing, len(rows) - len(existing))

    def _inside(self, bucket: str, rows: list[ListingEntry], keys: _KeyRange) -> list[ListingEntry]:
        """The rows of a page that are in the range.

        The bulk lister drops the slash of a folder marker, so its key may sort too early.
        """
        through = keys.through
        if through is None:
            return rows
        return [
            row
            for row in takewhile(lambda row: keys.has(row[0]), rows)
            if not through.startswith(row[0]) or keys.has(f"{row[0]}/") or self._exists(bucket, row)
        ]

    def _exists(self, bucket: str, row: ListingEntry) -> bool:
        """Whether the row is an object; an empty `1000.csv` may be the marker `1000.csv/`."""
        key, _, size, _ = row
        return size > 0 or self._exact.stat(bucket, key) is not None

    def _head(self, bucket: str) -> list[ListingEntry]:
        """The first objects, exactly, up to a plain key; empty if there is no plain key.

        No key after a plain one begins with a slash, which sorts first. A store that reads the
        whole bucket before it responds continues from this listing. After a listing with a
        prefix it would read the bucket twice.
        """
        rows = self._exact.first_entries(bucket, secrets.choice(self._first_page_sizes))
        check_order(rows, None)
        while rows and not PLAIN_KEY.fullmatch(rows[-1][0]):
            rows.pop()
        return rows


def _page(rows: list[ListingEntry], is_used: IsUsed) -> ListingPage:
    kept = without_ignored(rows, is_used)
    return ListingPage(kept, len(rows) - len(kept))
