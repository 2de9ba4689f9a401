"""Operations on single objects: head, list by page, open, put, remove, presign.

`client` reads the source bucket in bulk for runs; this module serves API requests and uploads,
with the same clients and timeouts.
"""

from __future__ import annotations

import io
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from minio.error import S3Error

from etl.model.errors import InvalidKey, KeyConflict, NotSupported
from etl.model.etags import bare_etag
from etl.storage.conditional import OWN_PREFIX, ConditionalWrites, Write
from etl.storage.put import LARGEST_PUT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from minio.datatypes import Object

    from etl.settings import Settings
    from etl.storage.client import ObjectStore

CHUNK_BYTES = 512 * 1024  # of a download in memory
PART_BYTES = 16 * 1024 * 1024  # of an upload in memory
PROBE_KEY = f"{OWN_PREFIX}writable"
LARGEST_PAGE = 1000  # the most that stores list per request

_GONE = {"NoSuchKey", "NoSuchObject", "NoSuchVersion"}
_CONFLICTS = {"XMinioObjectExistsAsDirectory", "XMinioParentIsObject"}
_INVALID_KEYS = {
    "AllAccessDisabled",
    "InvalidObjectName",
    "KeyTooLongError",
    "XMinioInvalidObjectName",
    "XMinioInvalidResourceName",
}
_PAST_THE_END = "InvalidRange"
_USER_METADATA = "x-amz-meta-"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object, or a folder: `etag` without quotes, `size` in bytes, times in UTC.

    Listings lack `content_type` and `metadata`. HEAD and GET lack the milliseconds.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime | None
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """An object, or a range of it, being read: ETag and size of the whole, and the bytes."""

    etag: str
    size: int
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Upload:
    """The content of a new object: `size` bytes of the stream, or all if -1."""

    content: IO[bytes]
    size: int
    content_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PresignOptions:
    """What a presigned URL allows: its method, lifetime and response headers."""

    method: str
    lifetime: timedelta
    response_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """A page of a listing in key order; the next page begins after the key `after`."""

    objects: Sequence[ObjectInfo]
    after: str | None


class Objects:
    """Reads and writes objects one by one.

    Raises (every method):  ObjectStoreUnavailable if the store does not respond after retries;
    ConfigurationError if it denies access or the bucket is missing; UnreadableObject if it
    denies access to this object only.
    """

    def __init__(self, store: ObjectStore, settings: Settings) -> None:
        self._store = store
        self._sender = store.sender()
        self._signer = store.client_of(store.endpoint.at(settings.s3_public_endpoint))
        self._conditional = ConditionalWrites(store, self._sender, settings.document_bucket)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """The object without its content, or None if it does not exist."""
        with self._store.translating(f"check {bucket}/{key}", bucket, key):
            try:
                return _info(self._store.client.stat_object(bucket, key))
            except S3Error as error:
                if error.code in _GONE:
                    return None
                raise

    def list(
        self, bucket: str, *, prefix: str = "", after: str = "", recursive: bool = True
    ) -> Iterator[ObjectInfo]:
        """The objects whose keys begin with `prefix` and sort after `after`, in key order.

        If not recursive, keys with another `/` after the prefix are grouped into folders.
        """
        if _is_never_a_key(prefix):
            return
        if not after.startswith(prefix):  # some stores reject such a request
            if after > prefix:
                return
            after = ""
        if recursive and not prefix:  # a long listing: in bulk
            for rows in self._store.list_everything(bucket, after or None):
                yield from (ObjectInfo(key, size, etag, at) for key, etag, size, at in rows)
            return
        with self._store.translating(f"list bucket {bucket}", bucket):
            found = self._store.client.list_objects(
                bucket,
                prefix=_accepted_prefix(prefix) or None,
                recursive=recursive,
                start_after=after or None,
            )
            for info in _in_order(_info(entry) for entry in found):
                if not info.key.startswith(prefix):  # stores may return other keys too
                    if info.key > prefix:
                        return
                elif info.key > after:  # a folder is also listed after itself
                    yield info

    def page(
        self, bucket: str, *, prefix: str = "", after: str = "", limit: int = LARGEST_PAGE
    ) -> ObjectPage:
        """Up to `limit` objects from a recursive `list`."""
        found = list(islice(self.list(bucket, prefix=prefix, after=after), limit + 1))
        return ObjectPage(found[:limit], found[limit - 1].key if len(found) > limit else None)

    @contextmanager
    def open(
        self, bucket: str, key: str, *, start: int = 0, length: int = 0
    ) -> Iterator[Opened | None]:
        """The object's bytes from `start`, or None if there are none; `length` 0 is to the end."""
        with self._store.translating(f"get {bucket}/{key}", bucket, key):
            try:
                response = self._store.client.get_object(bucket, key, start, length)
            except S3Error as error:
                if error.code not in _GONE | {_PAST_THE_END}:
                    raise
                yield None
                return
            try:
                yield Opened(
                    bare_etag(response.headers.get("ETag")),
                    _whole_size(response.headers),
                    response.stream(CHUNK_BYTES, decode_content=False),  # as stored
                )
            finally:
                response.close()
                response.release_conn()

    def read(self, bucket: str, key: str) -> bytes | None:
        """The content of a small object, or None if it does not exist."""
        with self.open(bucket, key) as opened:
            return None if opened is None else b"".join(opened.chunks)

    def put(self, bucket: str, key: str, upload: Upload) -> str:
        """Write the object, complete or not at all; return its ETag.

        Raises:  KeyConflict or InvalidKey if the store cannot have an object of this key.
        """
        with self._putting(bucket, key):
            if _fits_one_put(upload):
                return self._put_at_once(bucket, key, upload)
            written = self._store.client.put_object(
                bucket,
                key,
                cast("BinaryIO", upload.content),
                upload.size,
                content_type=upload.content_type,
                metadata=dict(upload.metadata),
                part_size=PART_BYTES,
                num_parallel_uploads=1,  # each additional one buffers two more parts
            )
        return bare_etag(written.etag)

    def put_if_unchanged(
        self, bucket: str, key: str, upload: Upload, seen: ObjectInfo | None
    ) -> str:
        """As `put`, but only if the object is still the one seen, or with None does not exist.

        Raises:  ObjectChanged or ObjectExists if it is not; NotSupported if the store does not
                 support conditional writes, or the size is unknown or too large.
        """
        write = Write.NEW if seen is None else Write.OVER
        if not _fits_one_put(upload):
            raise NotSupported(
                "An object above 5 GiB, or of unknown size, cannot be stored conditionally.",
                hint="Send the request without the condition, after comparing the ETag from HEAD.",
            )
        etag = "" if seen is None else seen.etag
        with self._putting(bucket, key), self._conditional.guarding(write, key, etag) as condition:
            return self._put_at_once(bucket, key, upload, condition)

    @contextmanager
    def _putting(self, bucket: str, key: str) -> Iterator[None]:
        with self._store.translating(f"put {bucket}/{key}", bucket, key):
            try:
                yield
            except S3Error as error:
                if _is_conflict(error):
                    raise KeyConflict(
                        f"Object {key!r} conflicts with an existing folder or object.", key=key
                    ) from error
                if error.code in _INVALID_KEYS:
                    raise InvalidKey(
                        f"The object store does not accept the key {key!r}.", key=key
                    ) from error
                raise

    def _put_at_once(
        self, bucket: str, key: str, upload: Upload, conditions: Mapping[str, str] | None = None
    ) -> str:
        metadata = {f"{_USER_METADATA}{name}": value for name, value in upload.metadata.items()}
        headers = {"Content-Type": upload.content_type, **metadata, **(conditions or {})}
        return bare_etag(self._sender.put(bucket, key, upload.content, upload.size, headers))

    def presign(self, bucket: str, key: str, options: PresignOptions) -> str:
        """A URL for one operation, without credentials, at the store's public address."""
        url: str = self._signer.get_presigned_url(
            options.method,
            bucket,
            key,
            expires=options.lifetime,
            response_headers=dict(options.response_headers),
            extra_query_params=dict(self._store.endpoint.headers),
        )
        return url

    def check_writable(self, bucket: str) -> None:
        """Put and remove a tiny object, which raises an error if that is not possible."""
        self.put(bucket, PROBE_KEY, Upload(io.BytesIO(b"ok"), 2, "text/plain"))
        self.remove(bucket, PROBE_KEY)

    def remove(self, bucket: str, key: str) -> None:
        """Remove the object, if it exists."""
        with self._store.translating(f"remove {bucket}/{key}", bucket, key):
            self._store.client.remove_object(bucket, key)

    def remove_if_unchanged(self, bucket: str, key: str, seen: ObjectInfo) -> None:
        """Remove the object, but only if it is still the one seen.

        Raises:  ObjectChanged if it was replaced or removed; NotSupported if the store does not
                 support conditional removals.
        """
        with (
            self._store.translating(f"remove {bucket}/{key}", bucket, key),
            self._conditional.guarding(Write.REMOVAL, key, seen.etag) as condition,
        ):
            self._sender.remove(bucket, key, condition)


def _info(entry: Object) -> ObjectInfo:
    metadata = {
        name.lower().removeprefix(_USER_METADATA): value
        for name, value in (entry.metadata or {}).items()
        if name.lower().startswith(_USER_METADATA)
    }
    return ObjectInfo(
        entry.object_name or "",
        entry.size or 0,
        bare_etag(entry.etag),
        entry.last_modified,
        entry.content_type,
        metadata,
        is_folder=bool(entry.is_dir) and entry.last_modified is None,
    )


def _is_conflict(error: S3Error) -> bool:
    """Whether the key is, or needs, a folder. File-based stores return 500 for that."""
    return error.code in _CONFLICTS or (
        error.code == "InternalError" and "directory" in (error.message or "")
    )


def _whole_size(headers: Mapping[str, str]) -> int:
    """The size of the whole object, also from the response to a range request."""
    whole = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length")
    return int(whole) if whole and whole.isdecimal() else -1


def _in_order(found: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Objects and folders in key order.

    The client returns each response, of at most 1,000 entries, with objects before folders.
    """
    objects: deque[ObjectInfo] = deque()
    folders: list[ObjectInfo] = []
    for info in found:
        if folders and (not info.is_folder or len(folders) > LARGEST_PAGE):
            yield from merge(objects, folders, key=attrgetter("key"))
            objects.clear()
            folders.clear()
        (folders if info.is_folder else objects).append(info)
        if len(objects) > LARGEST_PAGE:
            yield objects.popleft()
    yield from merge(objects, folders, key=attrgetter("key"))


def _is_never_a_key(prefix: str) -> bool:
    """Whether it has a segment that no key can have; some stores replace such a prefix."""
    return any(segment in ("", ".", "..") for segment in prefix.split("/")[:-1])


def _accepted_prefix(prefix: str) -> str:
    """The prefix without a last segment `.` or `..`, which some stores reject; `..a` is valid."""
    head, slash, last = prefix.rpartition("/")
    return head + slash if last in (".", "..") else prefix


def _fits_one_put(upload: Upload) -> bool:
    return 0 <= upload.size <= LARGEST_PUT_BYTES
