"""The bucket events: pages of them, newest first, and figures of the last day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from api.ui import words
from api.ui.states import HANDLED, REFUSED, UNCHANGED, WAITING
from etl.db.events import NO_RUN
from etl.db.tables import bucket_event, dead_letter

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from api.ui.states import ShownState

HOURS = 24
MOST_EVENTS = 10_000  # counted; more are only said to be more
MOST_LETTERS = 10

# Events are counted up to :most, from the newest back.
_FIGURES = """
SELECT (SELECT count(*) FROM (SELECT received_at FROM bucket_event ORDER BY id DESC LIMIT :most)
        AS newest WHERE received_at >= :start) AS received,
       (SELECT count(*) FROM (SELECT FROM bucket_event WHERE handled_by_run IS NULL LIMIT :most)
        AS waiting) AS waiting,
       (SELECT received_at FROM bucket_event WHERE handled_by_run IS NULL ORDER BY id LIMIT 1)
           AS oldest_at,
       (SELECT coalesce(sum(CAST(counts->>'found_by_reconcile' AS bigint)), 0)::bigint
        FROM run WHERE finished_at >= :start AND state = 'succeeded') AS missed
"""


@dataclass(frozen=True, slots=True)
class EventFigures:
    """The events of the last 24 hours, and those that wait; counted up to MOST_EVENTS.

    `missed` are the changes that full runs found and no event had reported. `oldest_at` is when
    the oldest of the waiting events arrived.
    """

    received: str
    waiting: str
    has_waiting: bool
    oldest_at: datetime | None
    missed: int


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are shown: of a bucket, of a key, only those that wait."""

    bucket: str | None = None
    key: str | None = None
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event, and what became of it; `run_id` is the run that checked its object."""

    id: int
    bucket: str
    key: str
    name: str
    size: int | None
    received_at: datetime
    state: ShownState
    run_id: int | None


@dataclass(frozen=True, slots=True)
class Letter:
    """A message of a Kafka topic that could not be read."""

    topic: str
    partition: int
    offset: int
    reason: str
    received_at: datetime


def figures(connection: Connection, now: datetime) -> EventFigures:
    """The figures; one statement."""
    values = {"start": now - timedelta(hours=HOURS), "most": MOST_EVENTS + 1}
    row = connection.execute(text(_FIGURES), values).one()
    return EventFigures(
        words.at_most(row.received, MOST_EVENTS),
        words.at_most(row.waiting, MOST_EVENTS),
        row.waiting > 0,
        row.oldest_at,
        row.missed,
    )


def events(
    connection: Connection, wanted: EventFilter, before: int | None, limit: int
) -> list[EventLine]:
    """The newest events that match, and are older than the one with the id `before`."""
    column = bucket_event.c
    statement = select(bucket_event).order_by(column.id.desc()).limit(limit)
    if wanted.bucket is not None:
        statement = statement.where(column.bucket == wanted.bucket)
    if wanted.key is not None:
        statement = statement.where(column.key == wanted.key)
    if wanted.is_waiting:
        statement = statement.where(column.handled_by_run.is_(None))
    if before is not None:
        statement = statement.where(column.id < before)
    return [_line(row) for row in connection.execute(statement)]


def letters(connection: Connection) -> list[Letter]:
    """The newest messages that could not be read."""
    column = dead_letter.c
    chosen = (column.topic, column.partition, column.offset, column.reason, column.received_at)
    statement = select(*chosen).order_by(column.id.desc()).limit(MOST_LETTERS)
    return [Letter(*row) for row in connection.execute(statement)]


def _line(row: Row[Any]) -> EventLine:
    run_id = row.handled_by_run
    if run_id is None:
        state = WAITING if row.refused_by_run is None else REFUSED
    else:
        state = UNCHANGED if run_id == NO_RUN else HANDLED
    return EventLine(
        row.id,
        row.bucket,
        row.key,
        row.event_name,
        row.size,
        row.received_at,
        state,
        run_id or row.refused_by_run or None,
    )
