"""JSON documents in a bucket of their own: saved under a name, every upload kept as a version.

A document is the object of its name; each version is a copy below `.versions/`, so that any
store has versions, also one that knows none itself. The version is written before the
document: whatever a reader finds under a name is also among its versions.
"""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from etl.objects import LARGEST_PAGE, ObjectInfo, Objects, Page, Upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
CONTENT_TYPE = "application/json"

_VERSIONS = ".versions/"
_FIRST_NAME = ".~"  # comes after whatever of ours begins with a dot, and before every name
_VERSION = "version"


class NotJson(ValueError):
    """Content that is no JSON value; `line` and `column` are where reading it ended, from 1."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a document, without its content."""

    name: str
    version: str
    etag: str
    size: int
    last_modified: datetime | None = None


def check_json(content: bytes) -> None:
    """Pass over one JSON value of RFC 8259, encoded in UTF-8: no NaN, no comments, no BOM.

    Raises:  NotJson, with the place.
    """
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError as error:
        reason = error.msg.partition(":")[0]
        raise NotJson(reason, error.lineno, error.colno) from error


def new_name(now: datetime) -> str:
    """A name nobody has: the time, and enough chance for any number of uploads at once."""
    return f"data_{_moment(now)}_{secrets.token_hex(4)}.json"


def _moment(now: datetime) -> str:
    return f"{now:%Y%m%dT%H%M%S_%f}"


class Documents:
    """The documents of one bucket.

    Raises (every method):  as `Objects`.
    """

    def __init__(self, objects: Objects, bucket: str) -> None:
        self._objects = objects
        self._bucket = bucket

    def save(self, name: str, content: bytes, now: datetime) -> Document:
        """Make this content the document of that name, and one more of its versions."""
        version = f"{_moment(now)}_{secrets.token_hex(4)}"
        for key in (_version_key(name, version), name):
            upload = Upload(io.BytesIO(content), len(content), CONTENT_TYPE, {_VERSION: version})
            etag = self._objects.put(self._bucket, key, upload)
        return Document(name, version, etag, len(content), now)

    def page(self, prefix: str, after: str, limit: int) -> Page:
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
        info = self._objects.head(self._bucket, _key(name, version))
        if info is None:
            return None
        known = version or info.metadata.get(_VERSION, "")
        return Document(name, known, info.etag, info.size, info.last_modified)

    def read(self, name: str, version: str | None = None) -> bytes | None:
        """The content of the document, or of one of its versions."""
        return self._objects.read(self._bucket, _key(name, version))

    def remove(self, name: str) -> bool:
        """Remove the document with all its versions; whether there was one.

        The document goes last: what is interrupted can be asked for again.
        """
        if self._objects.head(self._bucket, name) is None:
            return False
        for info in self._version_objects(name):
            self._objects.remove(self._bucket, info.key)
        self._objects.remove(self._bucket, name)
        return True

    def _version_objects(self, name: str) -> Iterator[ObjectInfo]:
        """Oldest first: a version begins with the time it was made."""
        after = ""
        while True:
            page = self._objects.page(
                self._bucket, prefix=_version_key(name, ""), after=after, limit=LARGEST_PAGE
            )
            yield from page.objects
            if page.after is None:
                return
            after = page.after


def _document(name: str, info: ObjectInfo) -> Document:
    version = info.key.rpartition("/")[2]
    return Document(name, version, info.etag, info.size, info.last_modified)


def _version_key(name: str, version: str) -> str:
    return f"{_VERSIONS}{name}/{version}"


def _key(name: str, version: str | None) -> str:
    return name if version is None else _version_key(name, version)
