"""Single objects on a client's behalf: look at, list by page, open, put, remove, presign.

Where `bucket.py` reads the source bucket in bulk for a run, this serves whoever handles
objects one by one; the clients and their time limits are the same.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from minio.error import S3Error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from minio.datatypes import Object

    from etl.bucket import ObjectStore

PIECE_BYTES = 256 * 1024  # what a download holds at a time
PART_BYTES = 16 * 1024 * 1024  # what an upload holds at a time
PROBE_KEY = ".bucketline/writable"
LARGEST_PAGE = 1000  # what stores list at once

_GONE = {"NoSuchKey", "NoSuchObject", "NoSuchVersion"}
_USER_METADATA = "x-amz-meta-"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object: `etag` without quotes, `size` in bytes, times in UTC.

    Listings leave out `content_type` and `metadata`; HEAD and GET know no milliseconds.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime | None
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to become an object: `size` bytes of the stream, or with -1 all there are."""

    content: BinaryIO
    size: int
    content_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing, in the order of the keys; `after` is where the next part begins."""

    objects: list[ObjectInfo]
    folders: list[str]
    after: str | None


class Objects:
    """Handles objects one by one.

    Raises (every method):  ObjectStoreUnavailable when the store does not answer after
    retries; ConfigurationError when it refuses our keys or the bucket is missing;
    UnreadableObject when it denies this object.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """The object without its content, or None when there is none."""
        with self._store.translating(f"look at {bucket}/{key}", bucket, key):
            try:
                return _info(self._store.client.stat_object(bucket, key))
            except S3Error as error:
                if error.code in _GONE:
                    return None
                raise

    def page(
        self, bucket: str, *, prefix: str = "", after: str = "", limit: int = LARGEST_PAGE
    ) -> Page:
        """Up to `limit` objects of every depth, of the keys that begin with `prefix`."""
        with self._store.translating(f"list bucket {bucket}", bucket):
            found = self._store.client.list_objects(
                bucket,
                prefix=prefix or None,
                recursive=True,
                start_after=after or None,
                extra_query_params={"max-keys": str(min(limit + 1, LARGEST_PAGE))},
            )
            objects = [_info(entry) for entry in islice(found, limit + 1)]
        is_more = len(objects) > limit
        objects = objects[:limit]
        return Page(objects, [], objects[-1].key if is_more else None)

    @contextmanager
    def open(
        self, bucket: str, key: str, *, start: int = 0, length: int = 0
    ) -> Iterator[Iterator[bytes] | None]:
        """The object's bytes in pieces, or None when there is none; `length` 0 is to the end."""
        with self._store.translating(f"get {bucket}/{key}", bucket, key):
            try:
                response = self._store.client.get_object(bucket, key, start, length)
            except S3Error as error:
                if error.code not in _GONE:
                    raise
                yield None
                return
            try:
                yield response.stream(PIECE_BYTES)
            finally:
                response.close()
                response.release_conn()

    def read(self, bucket: str, key: str) -> bytes | None:
        """A small object whole, or None when there is none."""
        with self.open(bucket, key) as pieces:
            return None if pieces is None else b"".join(pieces)

    def put(
        self,
        bucket: str,
        key: str,
        upload: Upload,
    ) -> str:
        """Write the object, whole or not at all; its ETag."""
        with self._store.translating(f"put {bucket}/{key}", bucket, key):
            written = self._store.client.put_object(
                bucket,
                key,
                upload.content,
                upload.size,
                content_type=upload.content_type,
                metadata=dict(upload.metadata),
                part_size=PART_BYTES,
                num_parallel_uploads=1,  # each more holds two parts more
            )
        return (written.etag or "").strip('"')

    def check_writable(self, bucket: str) -> None:
        """Put a tiny object and remove it again.

        Raises:  as every method, when one of the two is refused.
        """
        self.put(bucket, PROBE_KEY, Upload(io.BytesIO(b"ok"), 2, "text/plain"))
        self.remove(bucket, PROBE_KEY)

    def remove(self, bucket: str, key: str) -> None:
        """Remove the object; nothing happens when there is none."""
        with self._store.translating(f"remove {bucket}/{key}", bucket, key):
            self._store.client.remove_object(bucket, key)


def _info(entry: Object) -> ObjectInfo:
    metadata = {
        name.lower().removeprefix(_USER_METADATA): value
        for name, value in (entry.metadata or {}).items()
        if name.lower().startswith(_USER_METADATA)
    }
    return ObjectInfo(
        entry.object_name or "",
        entry.size or 0,
        (entry.etag or "").strip('"'),
        entry.last_modified,
        entry.content_type,
        metadata,
    )
