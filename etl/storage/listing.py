"""List a bucket in key order: with the bulk lister, or with the exact one where keys need it.

MinIO-based gateways, including the embedded store, cache the remainder of an unfinished listing
for 30 minutes. They return it to the next client that continues from the same key, so a client
that reads pages of 1,000 may get another's outdated remainder. Every listing therefore begins
with an exact page of random length, and no two listings continue from the same keys.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from obstore.exceptions import InvalidPathError

from etl.model.errors import ObjectStoreUnavailable
from etl.model.keys import is_csv_or_image, without_ignored
from etl.runtime.pools import flat_map_ahead
from etl.storage.bulk_lister import PLAIN_KEY, are_trusted
from etl.storage.exact_lister import PAGE_OBJECTS
from etl.storage.order import check_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from etl.model.keys import IsUsed
    from etl.model.values import ListingEntry
    from etl.storage.bulk_lister import BulkLister
    from etl.storage.exact_lister import ExactLister

# Neither 1 nor 1,000: other clients stop there when they check for any object, or read one page.
FIRST_PAGE_SIZES = range(2, PAGE_OBJECTS)
RANGE_OBJECTS = 10_000  # between two split points


@dataclass(frozen=True, slots=True)
class ListingPage:
    """The objects of one page of a listing, and the number of ignored objects."""

    rows: list[ListingEntry]
    ignored: int


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
        self,
        bucket: str,
        split_points: Iterable[str] = (),
        at_once: int = 1,
        is_used: IsUsed = is_csv_or_image,
        *,
        may_give_up_ranges: bool = False,
    ) -> Iterator[ListingPage]:
        """The whole bucket, in the order the store lists: UTF-8 bytes of the key.

        The bulk lister reads on after the first page. The exact lister takes over at the first
        page that the bulk lister fails on or may have misspelled; an outage fails there too.
        The next page is listed while the caller processes one.

        `split_points` are keys in that order, which need not exist. They divide the bucket into
        key ranges, of which `at_once` are listed concurrently. `is_used` tells empty data and
        image objects from folder markers. With `may_give_up_ranges`, only the first range is
        listed separately if ranges take longer: gateways of file systems read a whole folder
        before the first page of every range.
        """
        begun = self._clock()
        head = self._head(bucket)
        head_seconds = self._clock() - begun
        if head:
            yield _page(head, is_used)
        elif self._exact.has_leading_slash(bucket):
            yield from self._exact_pages(bucket, None, None, is_used)
            return
        start = head[-1][0] if head else None
        inner = [key for key in split_points if PLAIN_KEY.fullmatch(key) and key > (start or "")]
        if inner and may_give_up_ranges:
            begun, first_range = self._clock(), (start, inner[0])
            first_pages = list(self._key_range(bucket, *first_range, is_used))
            start, *inner = inner if self._clock() - begun >= head_seconds else inner[:1]
            yield from first_pages
        ranges = pairwise([start, *inner, None])
        yield from flat_map_ahead(
            lambda ends: self._key_range(bucket, *ends, is_used), ranges, at_once
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

    def _key_range(
        self, bucket: str, after: str | None, through: str | None, is_used: IsUsed
    ) -> Iterator[ListingPage]:
        """The keys after `after`, up to and including `through`; None is the end of the bucket."""
        # A range with an end is one page: no more of it is listed before the caller asks for it.
        page_objects = PAGE_OBJECTS if through is None else RANGE_OBJECTS + PAGE_OBJECTS
        last = after
        try:
            for rows in self._bulk.pages(bucket, after, page_objects):
                kept = without_ignored(rows, is_used)
                if kept:
                    if not are_trusted(kept, last):
                        break
                    last = kept[-1][0]
                inside = rows if through is None else self._inside(bucket, rows, through)
                yield self._bulk_page(bucket, inside, is_used)
                if len(inside) < len(rows):
                    return
            else:
                return
        except (InvalidPathError, ObjectStoreUnavailable):
            pass
        yield from self._exact_pages(bucket, last, through, is_used)

    def _exact_pages(
        self, bucket: str, after: str | None, through: str | None, is_used: IsUsed
    ) -> Iterator[ListingPage]:
        last = after
        for rows in self._exact.pages(bucket, after):
            check_order(rows, last)  # in any other order, keys of this range could follow its end
            last = rows[-1][0]
            inside = [row for row in rows if through is None or row[0] <= through]
            yield _page(inside, is_used)
            if len(inside) < len(rows):
                return

    def _bulk_page(self, bucket: str, rows: list[ListingEntry], is_used: IsUsed) -> ListingPage:
        existing = [row for row in without_ignored(rows, is_used) if self._exists(bucket, row)]
        return ListingPage(existing, len(rows) - len(existing))

    def _inside(self, bucket: str, rows: list[ListingEntry], through: str) -> list[ListingEntry]:
        """The rows of a page up to and including `through`.

        The bulk lister drops the slash of a folder marker, so its key may sort too early.
        """
        return [
            row
            for row in takewhile(lambda row: row[0] <= through, rows)
            if f"{row[0]}/" <= through or self._exists(bucket, row)
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
