"""What a bucket holds, in the order of its keys: in bulk, or exactly where a key is odd.

obstore lists ten times as fast as minio, but it cannot spell every key: it drops a leading or
trailing slash and gives up a whole listing at a control character or an empty path segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import InvalidPathError

from etl.changes import are_rising
from etl.errors import ObjectStoreUnavailable
from etl.executor import one_ahead
from etl.keys import without_ignored
from etl.model import SourceObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from minio import Minio
    from obstore.store import S3Store

    from etl.model import Facts

PAGE_OBJECTS = 1000  # as many as S3 gives at once
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of the listing: its objects, and how many more are of the ignored kind."""

    rows: list[Facts]
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

    def pages(self, bucket: str) -> Iterator[Page]:
        """The whole bucket, in the order the store lists: UTF-8 bytes of the key.

        In bulk, as long as every key can be trusted; from the first page with one that cannot,
        exactly. An outage shows there too. The next page comes while one is looked at.
        """
        return one_ahead(self._pages(bucket))

    def _pages(self, bucket: str) -> Iterator[Page]:
        last: str | None = None
        if not self._has_leading_slash(bucket):
            try:
                for page in self._bulk(bucket):
                    if page.rows:
                        if not _are_trusted(page.rows, last):
                            break
                        last = page.rows[-1][0]
                    yield page
                else:
                    return
            except (InvalidPathError, ObjectStoreUnavailable):
                pass
        exact = self.exactly(bucket, after=last)
        while rows := list(islice(exact, PAGE_OBJECTS)):
            yield _page(rows)

    def _bulk(self, bucket: str) -> Iterator[Page]:
        with self._translating(f"list bucket {bucket}", bucket):
            for chunk in obstore.list(self._bulk_store(bucket), chunk_size=PAGE_OBJECTS):
                page = _page(
                    [
                        (
                            entry["path"],
                            bare_etag(entry["e_tag"]),
                            entry["size"],
                            entry["last_modified"],
                        )
                        for entry in chunk
                    ]
                )
                yield Page([row for row in page.rows if self._is_there(bucket, row)], page.ignored)

    def _is_there(self, bucket: str, row: Facts) -> bool:
        """An empty `1000.csv` may be the marker of a folder called `1000.csv/`."""
        key, _, size, _ = row
        return size > 0 or self.stat(bucket, key) is not None

    def _has_leading_slash(self, bucket: str) -> bool:
        """Asked for the prefix `/`, some stores list everything: the answer is looked at."""
        found = next(self.exactly(bucket, prefix="/"), None)
        return found is not None and found[0].startswith("/")

    def exactly(
        self, bucket: str, *, prefix: str | None = None, after: str | None = None
    ) -> Iterator[Facts]:
        """Every object, ignored ones too, with its key as the store spells it."""
        with self._translating(f"list bucket {bucket}", bucket):
            for entry in self._minio.list_objects(
                bucket, prefix=prefix, recursive=True, start_after=after
            ):
                yield (entry.object_name, bare_etag(entry.etag), entry.size, entry.last_modified)

    def stat(self, bucket: str, key: str) -> SourceObject | None:
        """One object as the listing shows it, or None."""
        found = next(self.exactly(bucket, prefix=key), None)
        return SourceObject(*found) if found is not None and found[0] == key else None


def bare_etag(etag: str | None) -> str:
    """An ETag without its quotes."""
    return (etag or "").removeprefix("W/").strip('"')


def _page(rows: list[Facts]) -> Page:
    kept = without_ignored(rows)
    return Page(kept, len(rows) - len(kept))


def _are_trusted(rows: list[Facts], last: str | None) -> bool:
    """Whether the bulk client can have spelt these keys as the store does.

    It drops slashes, which shows in the order, and sees what XML cannot hold replaced.
    """
    keys = [row[0] for row in rows] if last is None else [last, *(row[0] for row in rows)]
    return REPLACEMENT not in "".join(keys) and are_rising(keys)
