"""Bucket notifications: subscriptions of targets, and a connection to listen.

Subscriptions are the notification configuration of an S3 store. Only those that Bucketline created
are changed, recognized by their ids. All others in the bucket's configuration stay unchanged.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from minio.error import InvalidResponseError, MinioException, S3Error
from minio.notificationconfig import (
    NotificationConfig,
    PrefixFilterRule,
    QueueConfig,
    SuffixFilterRule,
)

from etl.model.errors import ConfigurationError, NotificationsUnsupported
from etl.model.keys import OWN_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from minio import Minio
    from urllib3 import BaseHTTPResponse

    from etl.storage.client import ObjectStore

EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
TARGET_TIMEOUT_SECONDS = 15
_RETRY_SECONDS = 0.2
_ID_PREFIX = "bucketline-"
# The last two: a store that ignores `?notification` treats the PUT as the bucket's creation.
_UNSUPPORTED = {
    "NotImplemented",
    "MethodNotAllowed",
    "BucketAlreadyOwnedByYou",
    "BucketAlreadyExists",
}
_UNSUPPORTED_STATUSES = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
_NO_SUCH_TARGET = {"InvalidArgument"}


@dataclass(frozen=True, slots=True)
class Subscription:
    """One target that receives the notifications of keys with this prefix and suffix."""

    arn: str
    prefix: str = ""
    suffix: str = ""
    events: tuple[str, ...] = EVENTS
    id: str = ""
    bucket: str = field(default="", compare=False)  # of a subscription that the store has

    @property
    def is_ours(self) -> bool:
        """Whether Bucketline created it."""
        return self.id.startswith(_ID_PREFIX)


def wanted(arns: Iterable[str], *, prefix: str = "", suffix: str = "") -> list[Subscription]:
    """The subscriptions that Bucketline creates for these targets, with deterministic ids."""
    return [_made(arn, prefix, suffix) for arn in arns]


def subscribe(
    store: ObjectStore,
    bucket: str,
    requested: Sequence[Subscription],
    *,
    timeout_seconds: float = TARGET_TIMEOUT_SECONDS,
) -> list[Subscription]:
    """Create the subscriptions that are missing, and return them.

    The store registers its targets while it starts, so an unknown target is retried.

    Raises:  ConfigurationError if the store does not support notifications or the target.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        config = _read(store, bucket)
        known = {entry.config_id for entry in config.queue_config_list}
        new = [one for one in requested if one.id not in known]
        entries = [*config.queue_config_list, *map(_entry, new)]
        if not new:
            return new
        if _write(store, bucket, config, entries):
            _check_kept(store, bucket, new)
            return new
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"The object store rejects the target {' or '.join(one.arn for one in new)}.",
                hint="Configure the store's targets (MINIO_NOTIFY_WEBHOOK_…) and restart it. It may"
                " also reject subscriptions whose prefixes and suffixes overlap.",
            )
        time.sleep(_RETRY_SECONDS)


def keeps_subscriptions(store: ObjectStore, bucket: str) -> bool:
    """Whether the store has notification targets: it rejects an unknown one, or keeps it.

    Raises:  NotificationsUnsupported if it says that it has none.
    """
    config = _read(store, bucket)
    trial = _made("arn:minio:sqs::bucketline-trial:webhook", OWN_FOLDER, "")
    if not _write(store, bucket, config, [*config.queue_config_list, _entry(trial)]):
        return True
    is_kept = any(one.id == trial.id for one in subscriptions(store, bucket))
    _write(store, bucket, config, config.queue_config_list)
    return is_kept


def subscriptions(store: ObjectStore, bucket: str) -> list[Subscription]:
    """All subscriptions of the bucket, including those that other programs created.

    Raises:  ConfigurationError if the store does not support notifications.
    """
    return [
        Subscription(
            arn=entry.queue or "",
            prefix=entry.prefix_filter_rule.value if entry.prefix_filter_rule else "",
            suffix=entry.suffix_filter_rule.value if entry.suffix_filter_rule else "",
            events=tuple(entry.events),
            id=entry.config_id or "",
            bucket=bucket,
        )
        for entry in _read(store, bucket).queue_config_list
    ]


def unsubscribe(store: ObjectStore, bucket: str, arns: Sequence[str] = ()) -> list[Subscription]:
    """Remove Bucketline's subscriptions, of these targets or all; return the removed ones.

    Raises:  ConfigurationError if the store does not support notifications.
    """
    gone = [
        one for one in subscriptions(store, bucket) if one.is_ours and (not arns or one.arn in arns)
    ]
    ids = {one.id for one in gone}
    config = _read(store, bucket)
    kept = [entry for entry in config.queue_config_list if entry.config_id not in ids]
    if gone:
        _write(store, bucket, config, kept)
    return gone


def open_events(
    client: Minio, bucket: str, *, prefix: str = "", suffix: str = ""
) -> BaseHTTPResponse:
    """Return the open response with the bucket's events.

    The client's own `listen_bucket_notification` would hide a lost connection.

    Raises:  NotificationsUnsupported if the store does not support it; the client's errors.
    """
    query: dict[str, str | list[str] | tuple[str]] = {
        "prefix": prefix,
        "suffix": suffix,
        "events": list(EVENTS),
    }
    try:
        response = client._execute(  # noqa: SLF001
            "GET", bucket, query_params=query, preload_content=False
        )
    except MinioException as error:
        if is_unsupported(error):
            raise _listening_unsupported(bucket) from error
        raise
    if "xml" in response.headers.get("Content-Type", ""):
        response.close()  # a bucket listing: the store ignores parameters it does not support
        raise _listening_unsupported(bucket)
    return response


def event_lines(response: BaseHTTPResponse) -> Iterator[bytes]:
    """The lines of open events as they arrive, among them the blank ones of an idle connection.

    Iterating over the response would wait for 64 KB if a proxy has removed the chunks.
    """
    rest = b""
    while content := response.read1():
        *lines, rest = (rest + content).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _listening_unsupported(bucket: str) -> NotificationsUnsupported:
    return NotificationsUnsupported(
        f"The object store does not support listening to the events of {bucket}.",
        hint="No change is lost: full runs find every change. Set EVENT_LISTEN=0 to stop trying to"
        " listen. If the store can send events, name its targets in EVENT_ARNS.",
    )


def is_unsupported(error: MinioException) -> bool:
    """Whether the store does not support the operation, by error code or by status."""
    if isinstance(error, InvalidResponseError):
        return error._code in _UNSUPPORTED_STATUSES  # noqa: SLF001
    return isinstance(error, S3Error) and (
        error.code in _UNSUPPORTED or error.response.status in _UNSUPPORTED_STATUSES
    )


def _check_kept(store: ObjectStore, bucket: str, new: Iterable[Subscription]) -> None:
    """Raise ConfigurationError if the store accepted the subscriptions but did not keep them."""
    kept = {entry.config_id for entry in _read(store, bucket).queue_config_list}
    if not kept.issuperset(one.id for one in new):
        raise _unsupported(bucket)


def _made(arn: str, prefix: str, suffix: str) -> Subscription:
    digest = hashlib.sha256(repr((arn, prefix, suffix)).encode()).hexdigest()[:16]
    return Subscription(arn, prefix, suffix, id=f"{_ID_PREFIX}{digest}")


def _entry(one: Subscription) -> QueueConfig:
    return QueueConfig(
        events=list(one.events),
        config_id=one.id,
        prefix_filter_rule=PrefixFilterRule(one.prefix) if one.prefix else None,
        suffix_filter_rule=SuffixFilterRule(one.suffix) if one.suffix else None,
        queue=one.arn,
    )


def _read(store: ObjectStore, bucket: str) -> NotificationConfig:
    with store.translating(f"read the notifications of {bucket}", bucket):
        try:
            return store.client.get_bucket_notification(bucket)
        except MinioException as error:
            raise _translated(error, bucket) from error


def _write(
    store: ObjectStore, bucket: str, config: NotificationConfig, entries: list[QueueConfig]
) -> bool:
    """Write the configuration; return False if the store does not know a target."""
    new = NotificationConfig(
        cloud_func_config_list=config.cloud_func_config_list,
        queue_config_list=entries,
        topic_config_list=config.topic_config_list,
    )
    with store.translating(f"subscribe to {bucket}", bucket):
        try:
            store.client.set_bucket_notification(bucket, new)
        except MinioException as error:
            if isinstance(error, S3Error) and error.code in _NO_SUCH_TARGET:
                return False
            raise _translated(error, bucket) from error
    return True


def _translated(error: MinioException, bucket: str) -> Exception:
    return _unsupported(bucket) if is_unsupported(error) else error


def _unsupported(bucket: str) -> NotificationsUnsupported:
    return NotificationsUnsupported(
        f"The object store does not support bucket notifications for {bucket}.",
        hint="Remove EVENT_ARNS. No change is lost, because full runs find every change.",
    )
