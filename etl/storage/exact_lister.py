"""List a bucket with minio, which returns every key as the store spells it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

from minio.error import S3Error

from etl.model.errors import ObjectStoreUnavailable
from etl.model.etags import bare_etag
from etl.model.values import SourceObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from minio import Minio
    from minio.datatypes import Object

    from etl.model.values import ListingEntry

PAGE_OBJECTS = 1000  # the most that S3 returns per request
_INVALID_KEY_CODES = {"KeyTooLongError", "XMinioInvalidObjectName", "XMinioInvalidResourceName"}


class ExactLister:
    """Lists buckets with exact keys, ignored objects included.

    Raises (every method):  as those of ObjectStore.
    """

    def __init__(
        self, minio: Minio, translating: Callable[[str, str], AbstractContextManager[None]]
    ) -> None:
        self._minio = minio
        self._translating = translating

    def pages(self, bucket: str, after: str | None) -> Iterator[list[ListingEntry]]:
        """Every object after the key `after`, 1,000 at a time."""
        entries = self.entries(bucket, after=after)
        while rows := list(islice(entries, PAGE_OBJECTS)):
            yield rows

    def entries(self, bucket: str, *, after: str | None = None) -> Iterator[ListingEntry]:
        """Every object after the key `after`."""
        with self._translating(f"list bucket {bucket}", bucket):
            for entry in self._minio.list_objects(bucket, recursive=True, start_after=after):
                yield _entry(entry)

    def first(self, bucket: str, *, prefix: str = "") -> ListingEntry | None:
        """The first object whose key begins with `prefix`."""
        return next(iter(self.first_entries(bucket, 1, prefix=prefix)), None)

    def first_entries(self, bucket: str, count: int, *, prefix: str = "") -> list[ListingEntry]:
        """The first `count` objects whose keys begin with `prefix`.

        The client's public method would always request 1,000.
        """
        with self._translating(f"list bucket {bucket}", bucket):
            found = self._minio._list_objects(  # noqa: SLF001
                bucket, prefix=prefix, encoding_type="url", max_keys=count
            )
            return [_entry(entry) for entry in islice(found, count)]

    def has_leading_slash(self, bucket: str) -> bool:
        """Whether a key begins with a slash. Some stores list everything for the prefix `/`."""
        found = self.first(bucket, prefix="/")
        return found is not None and found[0].startswith("/")

    def stat(self, bucket: str, key: str) -> SourceObject | None:
        """One object as the listing shows it; None if it does not exist or the key is invalid."""
        try:
            found = self.first(bucket, prefix=key)
        except ObjectStoreUnavailable as error:
            if _is_invalid_key(error.__cause__):
                return None
            raise
        return SourceObject(*found) if found is not None and found[0] == key else None


def _is_invalid_key(error: BaseException | None) -> bool:
    return isinstance(error, S3Error) and error.code in _INVALID_KEY_CODES


def _entry(entry: Object) -> ListingEntry:
    row = entry.object_name, bare_etag(entry.etag), entry.size, entry.last_modified
    return cast("ListingEntry", row)  # a listing always has all four
