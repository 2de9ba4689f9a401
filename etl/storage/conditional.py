"""Conditional writes: only if an object is unchanged, or does not exist.

Some stores reject every such write, others ignore the condition and write. Each kind of write is
therefore tested once on a test object, and never sent to a store that fails the test.
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

OWN_PREFIX = f"{OWN_FOLDER}/"  # of test objects in buckets of Bucketline

_PROBE = b"ok"
_OTHER_ETAG = "0" * 32
# Some stores return NoSuchKey if there is no object to compare with If-Match.
_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412"}
_NOT_IMPLEMENTED = {"NotImplemented", "501"}


class Write(StrEnum):
    """The conditional writes that a store may support."""

    NEW = "creating an object only if it does not exist"
    OVER = "replacing an object only if it is unchanged"
    REMOVAL = "removing an object only if it is unchanged"


class ConditionalWrites:
    """The conditional writes of one store, tested in `own_bucket`, below `own_prefix`."""

    def __init__(
        self, store: ObjectStore, sender: SignedPut, own_bucket: str, own_prefix: str = OWN_PREFIX
    ) -> None:
        self._store = store
        self._own_prefix = own_prefix
        self._sender = sender
        self._own_bucket = own_bucket
        self._supported: dict[Write, bool] = {}

    @contextmanager
    def guarding(self, write: Write, key: str, etag: str = "") -> Iterator[Mapping[str, str]]:
        """The headers that make this write conditional.

        Raises:  NotSupported if the store does not support it; ObjectExists or ObjectChanged if
                 the condition fails.
        """
        self._require(write)
        try:
            yield _condition(write, etag)
        except S3Error as error:
            if error.code not in _FAILED:
                raise
            raise _failure(write, key) from error

    def supports(self, write: Write) -> bool:
        """Whether the store supports this kind of write."""
        if write not in self._supported:
            self._supported[write] = self._test(write)
        return self._supported[write]

    def _require(self, write: Write) -> None:
        if not self.supports(write):
            raise NotSupported(
                f"The object store does not support {write}.",
                hint="Send the request without the condition, after comparing the ETag from HEAD.",
            )

    def _test(self, write: Write) -> bool:
        """Whether the store writes if, and only if, the condition holds."""
        # Other processes may test at the same time.
        key = f"{self._own_prefix}condition-{uuid4().hex}"
        with self._store.translating("test a conditional write", self._own_bucket):
            try:
                etag = bare_etag(self._put(key, {}))
                return self._honors_condition(write, key, etag)
            finally:
                self._remove(key, {})

    def _honors_condition(self, write: Write, key: str, etag: str) -> bool:
        send = self._remove if write is Write.REMOVAL else self._put
        if not _is_rejected(lambda: send(key, _condition(write, _OTHER_ETAG))):
            return False
        return write is Write.NEW or not _is_rejected(lambda: send(key, _condition(write, etag)))

    def _put(self, key: str, condition: Mapping[str, str]) -> str:
        headers = {"Content-Type": "text/plain", **condition}
        return self._sender.put(self._own_bucket, key, io.BytesIO(_PROBE), len(_PROBE), headers)

    def _remove(self, key: str, condition: Mapping[str, str]) -> None:
        self._sender.remove(self._own_bucket, key, condition)


def _condition(write: Write, etag: str) -> dict[str, str]:
    return {"If-None-Match": "*"} if write is Write.NEW else {"If-Match": f'"{etag}"'}


def _is_rejected(send: Callable[[], object]) -> bool:
    """Whether the store rejects the write because the condition fails, and does not ignore it."""
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
        return ObjectExists(f"Object {key!r} already exists.", key=key)
    return ObjectChanged(f"Object {key!r} was replaced or removed in the meantime.", key=key)
