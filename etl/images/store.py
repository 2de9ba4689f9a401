"""The thumbnail bucket: put, remove, list."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.storage.client import ObjectStore

CONTENT_TYPE = "image/webp"
CACHE_CONTROL = "public, max-age=31536000, immutable"  # the key is a content hash


class ThumbnailStore:
    """Stores thumbnails by key. Thread-safe.

    Raises (every method):  ObjectStoreUnavailable, ConfigurationError.
    """

    def __init__(self, store: ObjectStore, bucket: str) -> None:
        self._store = store
        self._bucket = bucket

    def put(self, key: str, content: bytes, source_etag: str) -> None:
        """Write a thumbnail that browsers may cache permanently."""
        with self._store.translating(f"put {self._bucket}/{key}", self._bucket):
            self._store.client.put_object(
                self._bucket,
                key,
                io.BytesIO(content),
                len(content),
                content_type=CONTENT_TYPE,
                metadata={"Cache-Control": CACHE_CONTROL, "Source-ETag": source_etag},
            )

    def remove(self, key: str) -> None:
        """Remove a thumbnail if it exists."""
        self._store.remove(self._bucket, key)

    def keys(self) -> Iterator[str]:
        """Yield every key in the bucket, including keys of other objects."""
        return (source.key for source in self._store.list_objects(self._bucket))
