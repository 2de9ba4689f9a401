"""JSON documents in a bucket of their own: saved under a name, every upload kept as a version.

Each upload is an object below `.versions/NAME/` that never changes, so that any store has
versions, also one that knows none itself. The newest by name is what the document holds,
whoever wrote it; the object under the document's own name is a copy for the list and for other
clients, written last and removed last. One process changes a name once at a time; where several
do, the versions alone still tell all of them the same.
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
PATIENCE_SECONDS = 10  # how long a change waits for others of the same document

_VERSIONS = ".versions/"
_FIRST_NAME = ".~"  # comes after whatever of ours begins with a dot, and before every name
_VERSION = "version"
_MOMENT = "%Y%m%dT%H%M%S_%f"
_MANY_LOCKS = 64  # each for a part of all names
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a document, without its content.

    `version` is empty where another client put an object under the name, past this API.
    """

    name: str
    version: str
    etag: str
    size: int
    last_modified: datetime | None = None


def new_name(now: datetime) -> str:
    """A name nobody has: the time, and enough chance for any number of uploads at once."""
    return f"data_{_moment(now)}_{secrets.token_hex(4)}.json"


def _moment(now: datetime) -> str:
    return f"{now:{_MOMENT}}"


def _moment_of(version: str) -> datetime:
    return datetime.strptime(version.rpartition("_")[0], _MOMENT).replace(tzinfo=UTC)


class StripedLocks:
    """Lets one thread at a time change a name."""

    def __init__(self) -> None:
        self._locks = [Lock() for _ in range(_MANY_LOCKS)]

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Hold the name.

        Raises:  TransientError when others hold it for too long.
        """
        lock = self._locks[hash(name) % _MANY_LOCKS]
        if not lock.acquire(timeout=PATIENCE_SECONDS):
            raise TransientError(
                f"Document {name!r} is being changed by others.",
                hint="Try again in a few seconds.",
            )
        try:
            yield
        finally:
            lock.release()


class DocumentStore:
    """The documents of one bucket.

    Raises (every method):  as `Objects`; TransientError where others change the same name.
    """

    def __init__(self, objects: Objects, bucket: str, turns: StripedLocks) -> None:
        self._objects = objects
        self._bucket = bucket
        self._turns = turns

    def save(self, name: str | None, content: bytes, now: datetime) -> Document:
        """Make this content the document of that name, and one more of its versions.

        Without a name it gets one of its own.
        """
        if name is None:
            return self._add(new_name(now), content, now)
        with self._turns.of(name):
            return self._add(name, content, self._after_the_newest(name, now))

    def _after_the_newest(self, name: str, now: datetime) -> datetime:
        """Now, or right behind the newest version: clocks are set back, and processes differ."""
        newest = self._newest(name)
        try:
            return now if newest is None else max(now, _moment_of(newest.version) + _TICK)
        except (ValueError, OverflowError):  # no version of ours
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
        """Up to `limit` versions of the document, the newest first; none when it is not there."""
        found = [_document(name, info) for info in self._version_objects(name)]
        return found[::-1][:limit]

    def find(self, name: str, version: str | None = None) -> Document | None:
        """The document, or one of its versions, without the content."""
        if version is not None:
            return self._look(name, version)
        return self._newest(name) or self._look(name, "")

    def read(self, document: Document) -> bytes | None:
        """The content of what was found, None when it was removed since."""
        return self._objects.read(self._bucket, _key(document.name, document.version))

    def remove(self, name: str) -> bool:
        """Remove the document with all its versions; whether there was anything of it.

        The document goes last: what is interrupted can be asked for again.
        """
        with self._turns.of(name):
            keys = [info.key for info in self._version_objects(name)]
            if self._objects.head(self._bucket, name) is not None:
                keys.append(name)
            for key in keys:
                self._objects.remove(self._bucket, key)
        return bool(keys)

    def _look(self, name: str, version: str) -> Document | None:
        info = self._objects.head(self._bucket, _key(name, version))
        if info is None:
            return None
        return Document(name, version, info.etag, info.size, info.last_modified)

    def _newest(self, name: str) -> Document | None:
        """The last of the versions. Of many, only those are listed that the copy does not know."""
        page = self._versions_after(name, "")
        found = page.objects
        if page.after is not None:
            copy = self._objects.head(self._bucket, name)
            known = copy.metadata.get(_VERSION, "") if copy else ""
            just_before = _version_key(name, known)[:-1]
            found = list(self._version_objects(name, just_before))
        return _document(name, found[-1]) if found else None

    def _version_objects(self, name: str, after: str = "") -> Iterator[ObjectInfo]:
        """Oldest first: a version begins with the time it was made."""
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
