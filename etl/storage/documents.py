"""JSON documents in a bucket of their own; every upload is kept as a version.

Each upload is an immutable object below `.versions/NAME/`, so stores without versioning work too.
The document's content is that of its newest version by name. The object under the document's own
name is a copy for listings and other clients, written last and removed last. Within a process,
changes to a name are serialized. Several processes agree too, because only the versions count.
"""

from __future__ import annotations

import io
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

from etl.model.errors import TransientError
from etl.storage.objects import LARGEST_PAGE, ObjectInfo, ObjectPage, Objects, Upload

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
CONTENT_TYPE = "application/json"
LOCK_TIMEOUT_SECONDS = 10  # for a change to wait for other changes of the same document

_VERSIONS = ".versions/"
_FIRST_NAME = ".~"  # sorts after `.versions/` and `.bucketline/`, and before every name
_VERSION = "version"
_MOMENT = "%Y%m%dT%H%M%S_%f"
_LOCKS = 64  # each for a share of the names
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a document, without its content.

    `version` is empty if another client put the object under the name, without this API.
    """

    name: str
    version: str
    etag: str
    size: int
    last_modified: datetime | None = None


def new_name(now: datetime) -> str:
    """A unique name: the time, and random digits for concurrent uploads."""
    return f"data_{_moment(now)}_{secrets.token_hex(4)}.json"


def _moment(now: datetime) -> str:
    return f"{now:{_MOMENT}}"


def _moment_of(version: str) -> datetime:
    return datetime.strptime(version.rpartition("_")[0], _MOMENT).replace(tzinfo=UTC)


class StripedLocks:
    """Locks that let one thread at a time change a name."""

    def __init__(self, timeout_seconds: float = LOCK_TIMEOUT_SECONDS) -> None:
        self._locks = [Lock() for _ in range(_LOCKS)]
        self._timeout_seconds = timeout_seconds

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Hold the lock of the name.

        Raises:  TransientError if it is not free in time.
        """
        lock = self._locks[hash(name) % _LOCKS]
        if not lock.acquire(timeout=self._timeout_seconds):
            raise TransientError(
                f"Other requests are changing document {name!r}.",
                hint="Try again in a few seconds.",
            )
        try:
            yield
        finally:
            lock.release()


class DocumentStore:
    """The documents of one bucket.

    Raises (every method):  as `Objects`; TransientError if others are changing the same name.
    """

    def __init__(self, objects: Objects, bucket: str, locks: StripedLocks) -> None:
        self._objects = objects
        self._bucket = bucket
        self._locks = locks

    def save(self, name: str | None, content: bytes, now: datetime) -> Document:
        """Save the content as the newest version of the document; None makes a new name."""
        if name is None:
            return self._add(new_name(now), content, now)
        with self._locks.of(name):
            return self._add(name, content, self._time_after_newest(name, now))

    def _time_after_newest(self, name: str, now: datetime) -> datetime:
        """Now, or just after the newest version if the clock was set back."""
        newest = self._newest(name)
        try:
            return now if newest is None else max(now, _moment_of(newest.version) + _TICK)
        except (ValueError, OverflowError):  # not a version made here
            return now

    def _add(self, name: str, content: bytes, at: datetime) -> Document:
        version = f"{_moment(at)}_{secrets.token_hex(4)}"
        etag = self._put(_version_key(name, version), version, content)
        self._put(name, version, content)
        return Document(name, version, etag, len(content), at)

    def _put(self, key: str, version: str, content: bytes) -> str:
        upload = Upload(io.BytesIO(content), len(content), CONTENT_TYPE, {_VERSION: version})
        return self._objects.put(self._bucket, key, upload)

    def page(self, prefix: str, after: str, limit: int) -> ObjectPage:
        """Up to `limit` documents whose names begin with `prefix` and come after `after`."""
        return self._objects.page(
            self._bucket, prefix=prefix, after=max(after, _FIRST_NAME), limit=limit
        )

    def versions(self, name: str, limit: int) -> list[Document]:
        """Up to `limit` versions of the document, newest first; empty if it does not exist."""
        found = [_document(name, info) for info in self._version_objects(name)]
        return found[::-1][:limit]

    def find(self, name: str, version: str | None = None) -> Document | None:
        """The document, or one of its versions, without the content."""
        if version is not None:
            return self._head(name, version)
        return self._newest(name) or self._head(name, "")

    def read(self, document: Document) -> bytes | None:
        """The content of a document or version; None if it has been removed."""
        return self._objects.read(self._bucket, _key(document.name, document.version))

    def remove(self, name: str) -> bool:
        """Remove the document with all its versions; return whether any of them existed.

        The document is removed last, so that an interrupted removal can be repeated.
        """
        with self._locks.of(name):
            keys = [info.key for info in self._version_objects(name)]
            if self._objects.head(self._bucket, name) is not None:
                keys.append(name)
            for key in keys:
                self._objects.remove(self._bucket, key)
        return bool(keys)

    def _head(self, name: str, version: str) -> Document | None:
        info = self._objects.head(self._bucket, _key(name, version))
        if info is None:
            return None
        return Document(name, version, info.etag, info.size, info.last_modified)

    def _newest(self, name: str) -> Document | None:
        """The newest version; with many, only those from the copy's version on are listed."""
        page = self._versions_after(name, "")
        found = page.objects
        if page.after is not None:
            copy = self._objects.head(self._bucket, name)
            known = copy.metadata.get(_VERSION, "") if copy else ""
            just_before = _version_key(name, known)[:-1]
            found = list(self._version_objects(name, just_before))
        return _document(name, found[-1]) if found else None

    def _version_objects(self, name: str, after: str = "") -> Iterator[ObjectInfo]:
        """The versions, oldest first: each name begins with its creation time."""
        while True:
            page = self._versions_after(name, after)
            yield from page.objects
            if page.after is None:
                return
            after = page.after

    def _versions_after(self, name: str, after: str) -> ObjectPage:
        return self._objects.page(
            self._bucket, prefix=_version_key(name, ""), after=after, limit=LARGEST_PAGE
        )


def _document(name: str, info: ObjectInfo) -> Document:
    version = info.key.rpartition("/")[2]
    return Document(name, version, info.etag, info.size, info.last_modified)


def _version_key(name: str, version: str) -> str:
    return f"{_VERSIONS}{name}/{version}"


def _key(name: str, version: str) -> str:
    return _version_key(name, version) if version else name
