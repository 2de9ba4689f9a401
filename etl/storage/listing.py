"""What a bucket holds, in the order of its keys: in bulk, or exactly where a key is odd.

obstore lists ten times as fast as minio, but it cannot spell every key: it drops a leading or
trailing slash and gives up a whole listing at a control character or an empty path segment.

Gateways that grew out of MinIO's, the embedded store too, keep the rest of a listing that nobody
read to its end, for half an hour, and give it to whoever next asks for what is behind the same
key: who reads on in pages of a thousand may read what was there when another stopped. So a
listing begins with a page of a random length, and no two stop at the same keys.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from itertools import islice, pairwise, takewhile
from typing import TYPE_CHECKING, cast

import obstore
from minio.error import S3Error
from obstore.exceptions import InvalidPathError

from etl.model.errors import ObjectStoreUnavailable
from etl.model.keys import without_ignored
from etl.model.values import SourceObject
from etl.runtime.pools import flat_map_ahead
from etl.storage.order import are_rising, check_order, keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from minio import Minio
    from minio.datatypes import Object
    from obstore.store import S3Store

    from etl.model.values import ListingEntry

PAGE_OBJECTS = 1000  # as many as S3 gives at once
# With neither the first nor the last no page ends where a client's does that lists from the start,
# or looks only whether there is anything.
HEAD_OBJECTS = range(2, PAGE_OBJECTS)
STRETCH_OBJECTS = 10_000  # between two cuts
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_NO_KEYS = {"KeyTooLongError", "XMinioInvalidObjectName", "XMinioInvalidResourceName"}

# Keys that the bulk client is sure to spell as the store does when it lists what is behind them.
_PLAIN = re.compile(r"[A-Za-z0-9](?:/?[A-Za-z0-9._-])*")


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of the listing: its objects, and how many more are of the ignored kind."""

    rows: list[ListingEntry]
    ignored: int


class Listing:
    """Lists the buckets of one endpoint with the clients that `ObjectStore` made for it.

    Raises (every method):  as those of ObjectStore.
    """

    def __init__(
        self,
        minio: Minio,
        bulk_store: Callable[[str], S3Store],
        translating: Callable[[str, str], AbstractContextManager[None]],
    ) -> None:
        self._minio = minio
        self._bulk_store = bulk_store
        self._translating = translating

    def pages(self, bucket: str, cuts: Iterable[str] = (), at_once: int = 1) -> Iterator[Page]:
        """The whole bucket, in the order the store lists: UTF-8 bytes of the key.

        In bulk behind the first page, as long as every key can be trusted; from the first page
        with one that cannot, exactly. An outage shows there too. The next page comes while one is
        looked at.

        `cuts` are keys in that order, which need not be there any more. They part the bucket
        into stretches of which `at_once` are listed at the same time.
        """
        head = self._head(bucket)
        if head:
            yield _page(head)
        elif self._has_leading_slash(bucket):
            yield from self._exact_pages(bucket, None, None)
            return
        start = head[-1][0] if head else None
        behind = [cut for cut in cuts if _PLAIN.fullmatch(cut) and cut > (start or "")]
        stretches = pairwise([start, *behind, None])
        yield from flat_map_ahead(lambda ends: self._stretch(bucket, *ends), stretches, at_once)

    def everything(self, bucket: str, after: str | None = None) -> Iterator[list[ListingEntry]]:
        """The objects behind `after`, those of the ignored kind too, spelt as the store does.

        In bulk and exactly, as `pages` does; the next page comes while one is looked at.
        """
        return flat_map_ahead(lambda start: self._everything(bucket, start), [after], 1)

    def _everything(self, bucket: str, after: str | None) -> Iterator[list[ListingEntry]]:
        last = after
        if last is None and (head := self._head(bucket)):
            yield head
            last = head[-1][0]
        if last is None or _PLAIN.fullmatch(last):
            try:
                for rows in self._bulk(bucket, last, None):
                    if not self._is_exact(bucket, rows, last):
                        break
                    last = rows[-1][0]
                    yield rows
                else:
                    return
            except (InvalidPathError, ObjectStoreUnavailable):
                pass
        exact = self.exactly(bucket, after=last)
        while rows := list(islice(exact, PAGE_OBJECTS)):
            yield rows

    def _is_exact(self, bucket: str, rows: list[ListingEntry], last: str | None) -> bool:
        """Whether each row is an object by that very key; the first page also: no slash leads."""
        if last is None and self._has_leading_slash(bucket):
            return False
        return _are_trusted(rows, last) and all(self._is_there(bucket, row) for row in rows)

    def _stretch(self, bucket: str, after: str | None, through: str | None) -> Iterator[Page]:
        """The keys behind `after`, up to and with `through`; without end where that is None."""
        last = after
        try:
            for rows in self._bulk(bucket, after, through):
                kept = without_ignored(rows)
                if kept:
                    if not _are_trusted(kept, last):
                        break
                    last = kept[-1][0]
                inside = rows if through is None else self._inside(bucket, rows, through)
                yield self._bulk_page(bucket, inside)
                if len(inside) < len(rows):
                    return
            else:
                return
        except (InvalidPathError, ObjectStoreUnavailable):
            pass
        yield from self._exact_pages(bucket, last, through)

    def _exact_pages(self, bucket: str, after: str | None, through: str | None) -> Iterator[Page]:
        exact, last = self.exactly(bucket, after=after), after
        while rows := list(islice(exact, PAGE_OBJECTS)):
            check_order(rows, last)  # or what is behind the end could be before it
            last = rows[-1][0]
            inside = [row for row in rows if through is None or row[0] <= through]
            yield _page(inside)
            if len(inside) < len(rows):
                return

    def _bulk(
        self, bucket: str, after: str | None, through: str | None
    ) -> Iterator[list[ListingEntry]]:
        # A stretch with an end comes whole: nothing more of it is made before it is asked for.
        size = PAGE_OBJECTS if through is None else STRETCH_OBJECTS + PAGE_OBJECTS
        with self._translating(f"list bucket {bucket}", bucket):
            for chunk in obstore.list(self._bulk_store(bucket), offset=after, chunk_size=size):
                yield [
                    (
                        entry["path"],
                        bare_etag(entry["e_tag"]),
                        entry["size"],
                        entry["last_modified"],
                    )
                    for entry in chunk
                ]

    def _bulk_page(self, bucket: str, rows: list[ListingEntry]) -> Page:
        there = [row for row in without_ignored(rows) if self._is_there(bucket, row)]
        return Page(there, len(rows) - len(there))

    def _inside(self, bucket: str, rows: list[ListingEntry], through: str) -> list[ListingEntry]:
        """The rows of a page up to and with `through`; a marker is spelt before its place."""
        return [
            row
            for row in takewhile(lambda row: row[0] <= through, rows)
            if f"{row[0]}/" <= through or self._is_there(bucket, row)
        ]

    def _is_there(self, bucket: str, row: ListingEntry) -> bool:
        """An empty `1000.csv` may be the marker of a folder called `1000.csv/`."""
        key, _, size, _ = row
        return size > 0 or self.stat(bucket, key) is not None

    def _head(self, bucket: str) -> list[ListingEntry]:
        """The first objects, exactly, up to a plain key; none where there is no such key.

        Behind a plain key none begins with a slash, as that is less. A store that reads the whole
        bucket before it answers goes on from there when it is asked for what is behind; asked for
        a prefix first, it would read the bucket twice.
        """
        rows = self._first(bucket, "", secrets.choice(HEAD_OBJECTS))
        check_order(rows, None)
        while rows and not _PLAIN.fullmatch(rows[-1][0]):
            rows.pop()
        return rows

    def _has_leading_slash(self, bucket: str) -> bool:
        """Asked for the prefix `/`, some stores list everything: the answer is looked at."""
        found = self.first(bucket, prefix="/")
        return found is not None and found[0].startswith("/")

    def exactly(self, bucket: str, *, after: str | None = None) -> Iterator[ListingEntry]:
        """Every object, ignored ones too, with its key as the store spells it."""
        with self._translating(f"list bucket {bucket}", bucket):
            for entry in self._minio.list_objects(bucket, recursive=True, start_after=after):
                yield _entry(entry)

    def first(self, bucket: str, *, prefix: str = "") -> ListingEntry | None:
        """The first object whose key begins so, spelt as the store does."""
        return next(iter(self._first(bucket, prefix, 1)), None)

    def _first(self, bucket: str, prefix: str, count: int) -> list[ListingEntry]:
        """No more is asked for; the client's public method would have the store list a thousand."""
        with self._translating(f"list bucket {bucket}", bucket):
            found = self._minio._list_objects(  # noqa: SLF001
                bucket, prefix=prefix, encoding_type="url", max_keys=count
            )
            return [_entry(entry) for entry in islice(found, count)]

    def stat(self, bucket: str, key: str) -> SourceObject | None:
        """One object as the listing shows it, or None, also where there can be no such key."""
        try:
            found = self.first(bucket, prefix=key)
        except ObjectStoreUnavailable as error:
            if _refuses_key(error.__cause__):
                return None
            raise
        return SourceObject(*found) if found is not None and found[0] == key else None


def _refuses_key(error: BaseException | None) -> bool:
    """Whether the store's answer is that there can be no such key."""
    return isinstance(error, S3Error) and error.code in _NO_KEYS


def _entry(entry: Object) -> ListingEntry:
    row = entry.object_name, bare_etag(entry.etag), entry.size, entry.last_modified
    return cast("ListingEntry", row)  # a listing leaves none of them out


def bare_etag(etag: str | None) -> str:
    """An ETag without its quotes."""
    return (etag or "").removeprefix("W/").strip('"')


def _page(rows: list[ListingEntry]) -> Page:
    """The page that such rows are, as the store spells them."""
    kept = without_ignored(rows)
    return Page(kept, len(rows) - len(kept))


def _are_trusted(rows: list[ListingEntry], last: str | None) -> bool:
    """Whether the bulk client can have spelt these keys as the store does.

    It drops slashes, which shows in the order, and sees what XML cannot hold replaced.
    """
    keys = keys_of(rows, last)
    return REPLACEMENT not in "".join(keys) and are_rising(keys)
