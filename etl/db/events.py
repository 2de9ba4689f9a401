"""Bucket events: the table that stores them.

The webhook, the Kafka and the SQS consumer and the listener all use `event_messages.parse` and
`store`. An event only names a key to check; the current object always comes from the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import to_json
from sqlalchemy import Connection, text

from etl.db.bundling import ALONE
from etl.db.engine import channel_of, source_bucket_of
from etl.db.event_messages import MAX_BODY_BYTES, BucketEvent, parse
from etl.db.names import NotifyChannel
from etl.db.round_trips import Question, later
from etl.db.sql import statements
from etl.model.keys import spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date, datetime

__all__ = [
    "CHANNEL",
    "MAX_BODY_BYTES",
    "NO_RUN",
    "BucketEvent",
    "PendingEvents",
    "any_pending",
    "any_refused",
    "count_pending",
    "entries",
    "handle",
    "handle_listed",
    "listed",
    "missed_by_events",
    "oldest_pending",
    "parse",
    "pass_over_former",
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


def store(
    connection: Connection,
    events: Iterable[BucketEvent],
    *,
    source_bucket: str,
    is_alone: bool = False,
) -> int:
    """Store the events; return how many are new, and notify the scheduler if one is pending.

    Events of buckets that are no source of an installed dataset are stored as handled. The source
    of a dataset that names none is `source_bucket`. The caller commits, unless the statement
    `is_alone` in its transaction.
    """
    received = [_columns(event) for event in events]
    if not received:
        return 0
    storing = text((ALONE if is_alone else "") + statements("events")["store"])
    parameters = {
        "events": to_json(received, inf_nan_mode="null").decode(),
        "bucket": source_bucket,
        "channel": channel_of(connection, CHANNEL),
    }
    return int(connection.execute(storing, parameters).one().new)


@dataclass(frozen=True, slots=True)
class PendingEvents:
    """Pending events, and the distinct keys that they may refer to, in byte order."""

    ids: list[int]
    keys: list[str]

    @classmethod
    def of(cls, events: Iterable[tuple[int, str]]) -> PendingEvents:
        """Those with these ids and keys."""
        ids, keys = [], set[str]()
        for number, key in events:
            ids.append(number)
            keys |= spellings(key)
        return cls(ids, sorted(keys))


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


def pass_over_former(connection: Connection) -> None:
    """Mark events of former source buckets as handled, with the next statement."""
    named = statements("events")["pass_over_former"]
    later(connection, named, {"bucket": source_bucket_of(connection.engine)})


def oldest_pending(source_bucket: str, *, limit: int, include_refused: bool) -> Question:
    """Find the oldest pending events of each source bucket, at most `limit`.

    `include_refused` includes events whose object a run could not read.
    """
    parameters = {"bucket": source_bucket, "limit": limit, "include_refused": include_refused}
    return Question(statements("events")["oldest_pending"], parameters)


def entries(oldest: Question, today: date) -> Question:
    """Find the manifest entries of the keys of these events, as `manifest` does."""
    named = statements("events")["entries"]
    return Question(
        named.replace("{oldest_pending}", oldest.sql), {**oldest.parameters, "today": today}
    )


def listed(connection: Connection, *, bucket: str, began: datetime) -> PendingEvents:
    """The pending events that a listing which began then covers. The caller commits."""
    parameters = {"bucket": bucket, "began": began}
    found = connection.execute(text(statements("events")["listed"]), parameters)
    return PendingEvents.of([(row.id, row.key) for row in found])


def refuse(connection: Connection, pending: PendingEvents) -> None:
    """Mark the events as refused, so that they delay no others. The caller commits."""
    connection.execute(text(statements("events")["refuse"]), {"ids": pending.ids, "run_id": NO_RUN})


def handle(
    connection: Connection, pending: PendingEvents, run_id: int, *, refused: Iterable[str] = ()
) -> None:
    """Record the run that handled the events, NO_RUN if none was needed. The caller commits.

    Events of `refused` keys, whose objects could not be synced, stay pending.
    """
    parameters = {"ids": pending.ids, "run_id": run_id, "refused": list(refused)}
    later(connection, statements("events")["handle"], parameters)


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
