"""Conditional writes: only if an object is unchanged, or still does not exist.

Some stores refuse such a write, others ignore the condition and write. Each kind of write is
therefore tested once on an object of our own, and never sent to a store that fails the test.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import uuid4

from minio.error import S3Error

from etl.model.errors import EtlError, NotSupported, ObjectChanged, ObjectExists
from etl.model.etags import bare_etag
from etl.model.keys import OWN_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from etl.storage.client import ObjectStore
    from etl.storage.put import SignedPut

OWN_PREFIX = f"{OWN_FOLDER}/"  # of objects that are ours, in our own buckets

_PROBE = b"ok"
_OTHER_ETAG = "0" * 32
# NoSuchKey: what some stores answer where If-Match finds no object.
_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412"}
_NOT_IMPLEMENTED = {"NotImplemented", "501"}


class Write(StrEnum):
    """The conditional writes that a store may support."""

    NEW = "create an object only if there is none"
    OVER = "replace an object only if it is unchanged"
    REMOVAL = "remove an object only if it is unchanged"


class ConditionalWrites:
    """The conditional writes of one store, tested in a bucket of our own."""

    def __init__(self, store: ObjectStore, sender: SignedPut, own_bucket: str) -> None:
        self._store = store
        self._sender = sender
        self._own_bucket = own_bucket
        self._known: dict[Write, bool] = {}

    @contextmanager
    def guarding(self, write: Write, key: str, etag: str = "") -> Iterator[Mapping[str, str]]:
        """The headers that make this write conditional.

        Raises:  NotSupported when the store cannot; ObjectExists or ObjectChanged when the
        condition fails.
        """
        self._require(write)
        try:
            yield _condition(write, etag)
        except S3Error as error:
            if error.code not in _FAILED:
                raise
            raise _failure(write, key) from error

    def _require(self, write: Write) -> None:
        if write not in self._known:
            self._known[write] = self._try(write)
        if not self._known[write]:
            raise NotSupported(
                f"The object store cannot {write}.",
                hint="Leave out the condition; compare the ETag from HEAD first.",
            )

    def _try(self, write: Write) -> bool:
        """Whether the store writes if the condition holds, and only then."""
        key = f"{OWN_PREFIX}condition-{uuid4().hex}"  # others may try at the same time
        with self._store.translating("try a conditional write", self._own_bucket):
            try:
                etag = bare_etag(self._put(key, {}))
                return self._is_compared(write, key, etag)
            finally:
                self._remove(key, {})

    def _is_compared(self, write: Write, key: str, etag: str) -> bool:
        send = self._remove if write is Write.REMOVAL else self._put
        if not _is_refused(lambda: send(key, _condition(write, _OTHER_ETAG))):
            return False
        return write is Write.NEW or not _is_refused(lambda: send(key, _condition(write, etag)))

    def _put(self, key: str, condition: Mapping[str, str]) -> str:
        headers = {"Content-Type": "text/plain", **condition}
        return self._sender.put(self._own_bucket, key, io.BytesIO(_PROBE), len(_PROBE), headers)

    def _remove(self, key: str, condition: Mapping[str, str]) -> None:
        self._sender.remove(self._own_bucket, key, condition)


def _condition(write: Write, etag: str) -> dict[str, str]:
    return {"If-None-Match": "*"} if write is Write.NEW else {"If-Match": f'"{etag}"'}


def _is_refused(send: Callable[[], object]) -> bool:
    """Whether the store refused because the condition fails; false if it ignores conditions."""
    try:
        send()
    except S3Error as error:
        if error.code in _FAILED:
            return True
        if error.code in _NOT_IMPLEMENTED:
            return False
        raise
    return False


def _failure(write: Write, key: str) -> EtlError:
    if write is Write.NEW:
        return ObjectExists(f"There is an object {key!r} already.", key=key)
    return ObjectChanged(f"{key!r} was replaced or removed in the meantime.", key=key)
