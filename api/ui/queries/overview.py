"""What the overview shows next to the facts that `etl.db.overview` reads."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from api.ui.states import Shape
from etl.db.runs import run_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from etl.model.snapshot import Snapshot

HOURS = 24
HALF_HOURS = 48

_CHANGES = """
SELECT counted.key AS dataset, date_trunc('hour', finished_at) AS hour,
       sum(CAST(counted.value->>'inserted' AS bigint) + CAST(counted.value->>'restored' AS bigint)
           - CAST(counted.value->>'retired' AS bigint)) AS growth,
       sum(CAST(counted.value->>'inserted' AS bigint) + CAST(counted.value->>'restored' AS bigint)
           + CAST(counted.value->>'retired' AS bigint)
           + CAST(counted.value->>'updated' AS bigint)) AS changed
FROM run CROSS JOIN jsonb_each(dataset_counts) AS counted
WHERE finished_at >= :start
  AND (state = 'succeeded' OR (state = 'failed' AND dataset_counts <> '{}'::jsonb))
GROUP BY 1, 2
"""

_STRIP = """
SELECT date_bin('30 minutes', finished_at, timestamptz '2000-01-01 00:00:00Z') AS half_hour,
       CASE WHEN state = 'failed' THEN 'failed'
            WHEN CAST(counts->>'retirements_held' AS bigint) > 0 THEN 'held'
            ELSE 'succeeded' END AS outcome,
       count(*) AS runs, max(id) AS run_id,
       max(extract(epoch FROM finished_at - started_at)) AS slowest,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at))
           AS median
FROM run WHERE finished_at >= :start AND started_at IS NOT NULL
GROUP BY 1, 2 ORDER BY 1
"""

_PARTS = """
SELECT (SELECT count(*) FROM bucket_event WHERE received_at >= :start) AS events,
       (SELECT count(*) FROM bucket_event WHERE handled_by_run IS NULL) AS waiting,
       (SELECT max(received_at) FROM bucket_event) AS last_event_at,
       (SELECT coalesce(sum(CAST(counts->>'found_by_reconcile' AS bigint)), 0)
        FROM run WHERE finished_at >= :start AND state = 'succeeded') AS missed,
       (SELECT count(*) FROM image WHERE state = 'ready') AS ready,
       (SELECT count(*) FROM image WHERE state <> 'ready') AS faulty
"""

_PUBLICATIONS = """
SELECT name, dataset, run_id, published_at FROM publication ORDER BY name LIMIT 50
"""


@dataclass(frozen=True, slots=True)
class Activity:
    """What the last 24 hours did to a dataset: its growth, and the rows changed in each hour."""

    growth: int = 0
    hours: tuple[int, ...] = (0,) * HOURS


@dataclass(frozen=True, slots=True)
class HalfHour:
    """The runs that ended in half an hour: the worst outcome, one of its runs, the slowest."""

    start: datetime
    runs: int = 0
    worst: str = ""
    run_id: int | None = None
    slowest: float = 0.0

    @property
    def shape(self) -> Shape | None:
        """The shape of the outcome that stands out."""
        return {"failed": Shape.FAILED, "held": Shape.HELD}.get(self.worst)

    @property
    def end(self) -> datetime:
        """When the half hour ends."""
        return self.start + timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Strip:
    """The runs of the last 24 hours by half hour, oldest first."""

    half_hours: tuple[HalfHour, ...]
    outcomes: dict[str, int]
    median: float
    slowest: float

    @property
    def runs(self) -> int:
        """The runs of all half hours."""
        return sum(self.outcomes.values())

    @property
    def empty(self) -> int:
        """The half hours without a run."""
        return sum(not one.runs for one in self.half_hours)


@dataclass(frozen=True, slots=True)
class Publication:
    """An output that was published last."""

    name: str
    dataset: str
    run_id: int
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Parts:
    """Figures of the parts of the instance."""

    events: int
    waiting: int
    last_event_at: datetime | None
    missed: int
    images_ready: int
    images_faulty: int
    publications: tuple[Publication, ...]


def limited_to(found: Snapshot, names: Sequence[str]) -> Snapshot:
    """The facts about these datasets only; all without any names."""
    if not names:
        return found
    failed = tuple(one for one in found.failed_datasets if set(one.datasets) <= set(names))
    faulty = tuple(one for one in found.faulty if one.dataset in names)
    return replace(
        found,
        datasets=tuple(one for one in found.datasets if one.name in names),
        holds=tuple(one for one in found.holds if one.dataset in names),
        failed_datasets=failed,
        failed_run=None if found.failed_run is None else replace(found.failed_run, message=""),
        datasets_file=None,
        unpublished=None,
        faulty=faulty,
        faulty_count=found.faulty_count if len(faulty) == len(found.faulty) else len(faulty),
    )


def activity(connection: Connection, now: datetime) -> dict[str, Activity]:
    """What the last 24 hours did to each dataset that changed."""
    first = _hour(now) - timedelta(hours=HOURS - 1)
    rows = connection.execute(text(_CHANGES), {"start": first}).all()
    found = {}
    for name, group in groupby(sorted(rows, key=attrgetter("dataset")), attrgetter("dataset")):
        hours = [0] * HOURS
        growth = 0
        for row in group:
            hours[int((row.hour - first).total_seconds() // 3600)] += int(row.changed)
            growth += int(row.growth)
        found[name] = Activity(growth, tuple(hours))
    return found


def strip(connection: Connection, now: datetime) -> Strip:
    """The runs of the last 24 hours."""
    first = _half_hour(now) - timedelta(minutes=30 * (HALF_HOURS - 1))
    rows = connection.execute(text(_STRIP), {"start": first}).all()
    by_start = {start: list(group) for start, group in groupby(rows, attrgetter("half_hour"))}
    starts = [first + timedelta(minutes=30 * index) for index in range(HALF_HOURS)]
    outcomes = dict.fromkeys(("succeeded", "failed", "held"), 0)
    for row in rows:
        outcomes[row.outcome] += row.runs
    medians = [float(row.median) for row in rows]
    return Strip(
        tuple(_of_half_hour(start, by_start.get(start, [])) for start in starts),
        outcomes,
        sorted(medians)[len(medians) // 2] if medians else 0.0,
        max((float(row.slowest) for row in rows), default=0.0),
    )


def _of_half_hour(start: datetime, rows: list[Any]) -> HalfHour:
    worst = next(
        (
            row
            for outcome in ("failed", "held", "succeeded")
            for row in rows
            if row.outcome == outcome
        ),
        None,
    )
    if worst is None:
        return HalfHour(start)
    slowest = max(float(row.slowest) for row in rows)
    return HalfHour(start, sum(row.runs for row in rows), worst.outcome, worst.run_id, slowest)


def parts(connection: Connection, now: datetime) -> Parts:
    """The figures of the parts."""
    row = connection.execute(text(_PARTS), {"start": now - timedelta(hours=HOURS)}).one()
    published = connection.execute(text(_PUBLICATIONS)).all()
    return Parts(
        row.events,
        row.waiting,
        row.last_event_at,
        row.missed,
        row.ready,
        row.faulty,
        tuple(
            Publication(one.name, one.dataset, one.run_id, one.published_at) for one in published
        ),
    )


def round_trip(connection: Connection) -> float:
    """How long the database takes to answer, in seconds."""
    started = time.perf_counter()
    connection.execute(text("SELECT 1"))
    return time.perf_counter() - started


def requested_run(connection: Connection, run_id: int) -> dict[str, Any] | None:
    """A run that the visitor requested; None if there is none with this id."""
    return run_row(connection, run_id)


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _half_hour(moment: datetime) -> datetime:
    utc = moment.astimezone(UTC)
    return utc.replace(minute=utc.minute // 30 * 30, second=0, microsecond=0)
