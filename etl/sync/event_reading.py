"""What an event run reads from the database before it asks the store, in one round trip."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from etl.db import events, runs
from etl.db.engine import schemas_of, source_bucket_of
from etl.db.events import PendingEvents
from etl.db.manifest import STORED_BUCKETS
from etl.db.round_trips import ask
from etl.model.values import SourceObject
from etl.sync import declared
from etl.sync.publish import PUBLISHED, Published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from sqlalchemy import Connection

    from etl.sync.declared import Declared


class EventReading(NamedTuple):
    """What an event run reads first, by bucket.

    `pending` are the oldest pending events, and `entries` the manifest entries of their keys.
    `buckets` are those of the manifest. `is_running`: a run has not ended, or was interrupted.
    """

    declared: Declared
    pending: Mapping[str, PendingEvents]
    entries: Mapping[str, Sequence[SourceObject]]
    buckets: Sequence[str]
    published: Published
    is_running: bool

    def pending_in(self, buckets: Iterable[str]) -> dict[str, PendingEvents]:
        """The pending events of these buckets, also of those without any."""
        none = PendingEvents([], [])
        return {bucket: self.pending.get(bucket, none) for bucket in buckets}


def read(connection: Connection, today: date, *, limit: int, include_refused: bool) -> EventReading:
    """Read, with at most `limit` events of each bucket; commit.

    `include_refused` includes events whose object a run could not read. Events of former source
    buckets are marked as handled.
    """
    engine = connection.engine
    events.pass_over_former(connection)
    oldest = events.oldest_pending(
        source_bucket_of(engine), limit=limit, include_refused=include_refused
    )
    questions = {
        "datasets": declared.LOAD,
        "pending": oldest,
        "entries": events.entries(oldest, today),
        "buckets": STORED_BUCKETS,
        "published": PUBLISHED,
        "running": runs.RUNNING,
    }
    found = ask(connection, questions, is_alone=True)
    pending: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row in found["pending"]:
        pending[row["bucket"]].append((row["id"], row["key"]))
    entries: dict[str, list[SourceObject]] = defaultdict(list)
    for row in found["entries"]:
        modified = datetime.fromisoformat(row["last_modified"])
        entries[row["bucket"]].append(SourceObject(row["key"], row["etag"], row["size"], modified))
    return EventReading(
        declared.loaded(found["datasets"], schemas_of(engine).data),
        {bucket: PendingEvents.of(some) for bucket, some in pending.items()},
        entries,
        [row["bucket"] for row in found["buckets"]],
        Published.of(found["published"]),
        bool(found["running"]),
    )
