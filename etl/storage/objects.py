"""Single objects on a client's behalf: look at, list by page, open, put, remove, presign.

Where `bucket.py` reads the source bucket in bulk for a run, this serves whoever handles
objects one by one; the clients and their time limits are the same.
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

PIECE_BYTES = 512 * 1024  # what a download holds at a time
PART_BYTES = 16 * 1024 * 1024  # what an upload holds at a time
PROBE_KEY = f"{OWN_PREFIX}writable"
LARGEST_PAGE = 1000  # what stores list at once

_GONE = {"NoSuchKey", "NoSuchObject", "NoSuchVersion"}
_TAKEN = {"XMinioObjectExistsAsDirectory", "XMinioParentIsObject"}
_BAD_NAMES = {
    "AllAccessDisabled",
    "InvalidObjectName",
    "KeyTooLongError",
    "XMinioInvalidObjectName",
    "XMinioInvalidResourceName",
}
_BEHIND_THE_END = "InvalidRange"
_USER_METADATA = "x-amz-meta-"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object, or a folder: `etag` without quotes, `size` in bytes, times in UTC.

    Listings leave out `content_type` and `metadata`; HEAD and GET know no milliseconds.
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
    """An object, or a part of it, that is being read: facts of the whole, and its bytes."""

    etag: str
    size: int
    pieces: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to become an object: `size` bytes of the stream, or with -1 all there are."""

    content: IO[bytes]
    size: int
    content_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """What a presigned URL allows: GET or PUT, for how long, answered with which headers."""

    method: str
    lifetime: timedelta
    response_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """Part of a listing, in the order of the keys; `after` is where the next part begins."""

    objects: Sequence[ObjectInfo]
    after: str | None


class Objects:
    """Handles objects one by one.

    Raises (every method):  ObjectStoreUnavailable when the store does not answer after
    retries; ConfigurationError when it refuses our keys or the bucket is missing;
    UnreadableObject when it denies this object.
    """

    def __init__(self, store: ObjectStore, settings: Settings) -> None:
        self._store = store
        self._sender = store.sender()
        self._public = store.client_at(settings.s3_public_endpoint or settings.s3_endpoint)
        self._conditional = ConditionalWrites(store, self._sender, settings.document_bucket)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """The object without its content, or None when there is none."""
        with self._store.translating(f"look at {bucket}/{key}", bucket, key):
            try:
                return _info(self._store.client.stat_object(bucket, key))
            except S3Error as error:
                if error.code in _GONE:
                    return None
                raise

    def list(
        self, bucket: str, *, prefix: str = "", after: str = "", recursive: bool = True
    ) -> Iterator[ObjectInfo]:
        """The objects whose keys begin with `prefix` and come after `after`, in the order of keys.

        Not recursive, whatever lies deeper than the next `/` is one folder.
        """
        if _is_never_a_key(prefix):
            return
        if not after.startswith(prefix):  # some stores refuse such a question
            if after > prefix:
                return
            after = ""
        if recursive and not prefix:  # what may be long is asked for in bulk
            for rows in self._store.list_everything(bucket, after or None):
                yield from (ObjectInfo(key, size, etag, at) for key, etag, size, at in rows)
            return
        with self._store.translating(f"list bucket {bucket}", bucket):
            found = self._store.client.list_objects(
                bucket,
                prefix=_askable(prefix) or None,
                recursive=recursive,
                start_after=after or None,
            )
            for info in _in_order(_info(entry) for entry in found):
                if not info.key.startswith(prefix):  # stores give more than was asked for
                    if info.key > prefix:
                        return
                elif info.key > after:  # a folder also comes after itself
                    yield info

    def page(
        self, bucket: str, *, prefix: str = "", after: str = "", limit: int = LARGEST_PAGE
    ) -> ObjectPage:
        """Up to `limit` of the objects that `list` gives, of every depth."""
        found = list(islice(self.list(bucket, prefix=prefix, after=after), limit + 1))
        return ObjectPage(found[:limit], found[limit - 1].key if len(found) > limit else None)

    @contextmanager
    def open(
        self, bucket: str, key: str, *, start: int = 0, length: int = 0
    ) -> Iterator[Opened | None]:
        """The object's bytes, or None when there are none there; `length` 0 is to the end."""
        with self._store.translating(f"get {bucket}/{key}", bucket, key):
            try:
                response = self._store.client.get_object(bucket, key, start, length)
            except S3Error as error:
                if error.code not in _GONE | {_BEHIND_THE_END}:
                    raise
                yield None
                return
            try:
                yield Opened(
                    bare_etag(response.headers.get("ETag")),
                    _whole_size(response.headers),
                    response.stream(PIECE_BYTES, decode_content=False),  # as it is stored
                )
            finally:
                response.close()
                response.release_conn()

    def read(self, bucket: str, key: str) -> bytes | None:
        """A small object whole, or None when there is none."""
        with self.open(bucket, key) as opened:
            return None if opened is None else b"".join(opened.pieces)

    def put(
        self,
        bucket: str,
        key: str,
        upload: Upload,
    ) -> str:
        """Write the object, whole or not at all; its ETag.

        Raises:  KeyConflict or InvalidKey when there can be no object of this key.
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
                num_parallel_uploads=1,  # each more holds two parts more
            )
        return bare_etag(written.etag)

    def put_over(self, bucket: str, key: str, upload: Upload, seen: ObjectInfo | None) -> str:
        """As `put`, but only while the object is the one seen, or with None is not there.

        Raises:  ObjectChanged or ObjectExists when it is another; NotSupported when the store
                 compares nothing before a put, or the size is not known.
        """
        write = Write.NEW if seen is None else Write.OVER
        if not _fits_one_put(upload):
            raise NotSupported(
                "An object above 5 GiB, or of unknown size, cannot be stored conditionally.",
                hint="Leave out the condition; compare the ETag from HEAD first.",
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
                if _is_taken(error):
                    raise KeyConflict(
                        f"{key!r} is, or lies below, what is there already.", key=key
                    ) from error
                if error.code in _BAD_NAMES:
                    raise InvalidKey(
                        f"The object store takes no object called {key!r}.", key=key
                    ) from error
                raise

    def _put_at_once(
        self,
        bucket: str,
        key: str,
        upload: Upload,
        conditions: Mapping[str, str] | None = None,
    ) -> str:
        metadata = {f"{_USER_METADATA}{name}": value for name, value in upload.metadata.items()}
        headers = {"Content-Type": upload.content_type, **metadata, **(conditions or {})}
        return bare_etag(self._sender.put(bucket, key, upload.content, upload.size, headers))

    def presign(self, bucket: str, key: str, link: Link) -> str:
        """A URL that lets whoever holds it do this one thing, at the address others see."""
        url: str = self._public.get_presigned_url(
            link.method,
            bucket,
            key,
            expires=link.lifetime,
            response_headers=dict(link.response_headers),
        )
        return url

    def check_writable(self, bucket: str) -> None:
        """Put a tiny object and remove it again.

        Raises:  as every method, when one of the two is refused.
        """
        self.put(bucket, PROBE_KEY, _probe())
        self.remove(bucket, PROBE_KEY)

    def remove(self, bucket: str, key: str) -> None:
        """Remove the object; nothing happens when there is none."""
        with self._store.translating(f"remove {bucket}/{key}", bucket, key):
            self._store.client.remove_object(bucket, key)

    def remove_seen(self, bucket: str, key: str, seen: ObjectInfo) -> None:
        """Remove the object, but only while it is the one seen.

        Raises:  ObjectChanged when it is another, or gone; NotSupported when the store compares
                 nothing before a removal.
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


def _is_taken(error: S3Error) -> bool:
    """Whether an object would have to be a folder; stores over a file system call that a 500."""
    return error.code in _TAKEN or (
        error.code == "InternalError" and "directory" in (error.message or "")
    )


def _whole_size(headers: Mapping[str, str]) -> int:
    """The size of the object, also in an answer that holds a part of it."""
    whole = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length")
    return int(whole) if whole and whole.isdecimal() else -1


def _in_order(found: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Objects and folders in the order of their keys.

    The client gives the objects of each of the store's answers before its folders; an answer
    holds no more than 1,000 of both.
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
    """Whether it has a part that no key has here; some stores take it for another prefix."""
    return any(part in ("", ".", "..") for part in prefix.split("/")[:-1])


def _askable(prefix: str) -> str:
    """The prefix without dots at its end, which some stores refuse, though `..a` may be a key."""
    head, slash, last = prefix.rpartition("/")
    return head + slash if last in (".", "..") else prefix


def _probe() -> Upload:
    return Upload(io.BytesIO(b"ok"), 2, "text/plain")


def _fits_one_put(upload: Upload) -> bool:
    return 0 <= upload.size <= LARGEST_PUT_BYTES
