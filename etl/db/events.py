"""Bucket events: the table that stores them.

The webhook, the Kafka and the SQS consumer and the listener all use `event_messages.parse` and
`store`. An event only names a key to check; the current object always comes from the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from sqlalchemy import Connection, Row, text

from etl.db.engine import notify, source_bucket_of
from etl.db.event_messages import MAX_BODY_BYTES, BucketEvent, parse
from etl.db.names import NotifyChannel
from etl.db.sql import statements
from etl.model.keys import spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = [
    "CHANNEL",
    "MAX_BODY_BYTES",
    "NO_RUN",
    "BucketEvent",
    "PendingEvents",
    "any_pending",
    "any_refused",
    "count_pending",
    "handle",
    "handle_listed",
    "listed",
    "missed_by_events",
    "oldest_pending",
    "parse",
    "refuse",
    "source_buckets",
    "store",
]

CHANNEL = NotifyChannel.BUCKET_EVENT
NO_RUN = 0  # in handled_by_run: checked or irrelevant, and no run was needed


def source_buckets(connection: Connection, source_bucket: str) -> list[str]:
    """The buckets of the installed datasets, sorted; `source_bucket` for those that name none."""
    named = text(statements("events")["source_buckets"])
    return list(connection.scalars(named, {"bucket": source_bucket}))


def store(connection: Connection, events: Iterable[BucketEvent], *, source_bucket: str) -> int:
    """Store the events; return how many are new, and notify the scheduler if one is pending.

    Events of buckets that are no source of an installed dataset are stored as handled. The source
    of a dataset that names none is `source_bucket`. The caller commits.
    """
    received = [_columns(event) for event in events]
    if not received:
        return 0
    new = (
        connection.execute(
            text(statements("events")["store"]),
            {"events": to_json(received, inf_nan_mode="null").decode(), "bucket": source_bucket},
        )
        .scalars()
        .all()
    )
    if any(new):
        notify(connection, CHANNEL)
    return len(new)


@dataclass(frozen=True, slots=True)
class PendingEvents:
    """Pending events, and the distinct keys that they may refer to, in byte order."""

    ids: list[int]
    keys: list[str]


def any_refused(connection: Connection) -> bool:
    """Whether an event is pending because its object could not be synced."""
    return bool(connection.scalar(text(statements("events")["any_refused"])))


def any_pending(connection: Connection, *, include_refused: bool = True) -> bool:
    """Whether an event is pending; `include_refused` includes those whose object was refused."""
    question = text(statements("events")["any_pending"])
    return bool(connection.scalar(question, {"include_refused": include_refused}))


def count_pending(connection: Connection, *, include_refused: bool = True) -> int:
    """The number of pending events; `include_refused` as in `any_pending`."""
    question = text(statements("events")["count_pending"])
    return int(connection.scalar(question, {"include_refused": include_refused}) or 0)


def oldest_pending(
    connection: Connection, *, bucket: str, limit: int, include_refused: bool = True
) -> PendingEvents:
    """The oldest pending events of a bucket, at most `limit`. The caller commits.

    `include_refused` includes events whose object a run could not read. Events of former source
    buckets are marked as handled.
    """
    parameters = {
        "bucket": bucket,
        "limit": limit,
        "include_refused": include_refused,
        "source_bucket": source_bucket_of(connection.engine),
    }
    found = connection.execute(text(statements("events")["oldest_pending"]), parameters).all()
    return _pending(found)


def listed(connection: Connection, *, bucket: str, began: datetime) -> PendingEvents:
    """The pending events that a listing which began then covers. The caller commits."""
    parameters = {"bucket": bucket, "began": began}
    return _pending(connection.execute(text(statements("events")["listed"]), parameters).all())


def _pending(found: Sequence[Row[Any]]) -> PendingEvents:
    keys = {spelling for row in found for spelling in spellings(row.key)}
    return PendingEvents([row.id for row in found], sorted(keys))


def refuse(connection: Connection, pending: PendingEvents) -> None:
    """Mark the events as refused, so that they delay no others. The caller commits."""
    connection.execute(text(statements("events")["refuse"]), {"ids": pending.ids, "run_id": NO_RUN})


def handle(
    connection: Connection, pending: PendingEvents, run_id: int, *, refused: Iterable[str] = ()
) -> None:
    """Record the run that handled the events, NO_RUN if none was needed. The caller commits.

    Events of `refused` keys, whose objects could not be synced, stay pending.
    """
    connection.execute(
        text(statements("events")["handle"]),
        {"ids": pending.ids, "run_id": run_id, "refused": list(refused)},
    )


def handle_listed(connection: Connection, *, bucket: str, began: datetime, run_id: int) -> None:
    """Record the run whose listing covers the events before `began`. The caller commits."""
    connection.execute(
        text(statements("events")["handle_listed"]),
        {"bucket": bucket, "began": began, "run_id": run_id},
    )


def missed_by_events(connection: Connection) -> int:
    """The number of staged changes without an event; valid until the manifest is written."""
    return int(connection.scalar(text(statements("events")["missed_by_events"])) or 0)


def _columns(event: BucketEvent) -> dict[str, object]:
    names: Sequence[str] = BucketEvent.__slots__
    return {name: getattr(event, name) for name in names} | {"may_change": event.may_change}
