"""List a bucket with obstore: ten times as fast as minio, but it changes or rejects some keys.

It drops a leading or trailing slash, and fails at a control character or an empty path segment.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import obstore

from etl.model.etags import bare_etag
from etl.storage.order import are_rising, keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from obstore.store import S3Store

    from etl.model.values import ListingEntry

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Keys that obstore sends unchanged when a listing continues after them.
PLAIN_KEY = re.compile(r"[A-Za-z0-9](?:/?[A-Za-z0-9._-])*")


class BulkLister:
    """Lists buckets with the bulk clients that `ObjectStore` made."""

    def __init__(
        self,
        bulk_store: Callable[[str], S3Store],
        translating: Callable[[str, str], AbstractContextManager[None]],
    ) -> None:
        self._bulk_store = bulk_store
        self._translating = translating

    def pages(
        self, bucket: str, after: str | None, page_objects: int
    ) -> Iterator[list[ListingEntry]]:
        """The objects after the key `after`, `page_objects` at a time.

        Raises:  InvalidPathError at a key that obstore rejects; as those of ObjectStore.
        """
        with self._translating(f"list bucket {bucket}", bucket):
            store = self._bulk_store(bucket)
            for page in obstore.list(store, offset=after, chunk_size=page_objects):
                yield [
                    (
                        entry["path"],
                        bare_etag(entry["e_tag"]),
                        entry["size"],
                        entry["last_modified"],
                    )
                    for entry in page
                ]


def are_trusted(rows: list[ListingEntry], last: str | None) -> bool:
    """Whether these can be the keys as the store spells them.

    Dropped slashes change the order, and characters that XML does not allow are replaced.
    """
    keys = keys_of(rows, last)
    return REPLACEMENT not in "".join(keys) and are_rising(keys)
