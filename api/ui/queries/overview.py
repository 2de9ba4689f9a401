"""What the overview shows next to the facts that `etl.db.overview` reads."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from api.ui.queries.events import EventFigures, figures
from api.ui.states import StateShape
from etl.db.runs import run_row
from etl.model.values import IMAGE_PROBLEM_CODES, RunOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from etl.model.snapshot import Snapshot

HOURS = 24
HALF_HOURS = 48

_CHANGES = """
SELECT dataset, hour, rows_inserted + rows_restored - rows_retired AS growth,
       rows_inserted + rows_restored + rows_retired + rows_updated AS changed
FROM dataset_hour WHERE hour >= :start
ORDER BY dataset
"""

_STRIP = """
SELECT half_hour, outcome, runs, slowest_seconds, slowest_run
FROM run_half_hour WHERE half_hour >= :start
ORDER BY half_hour
"""

_IMAGES = """
SELECT (SELECT coalesce(sum(attached), 0)::bigint FROM dataset_tally) AS attached,
       (SELECT coalesce(sum(objects), 0)::bigint FROM problem_tally
        WHERE code = ANY (CAST(:codes AS text[]))) AS faulty
"""

_LISTING = """
SELECT finished_at AS at, CAST(counts->>'objects_listed' AS bigint) AS objects FROM run
WHERE trigger <> 'event' AND state = 'succeeded' ORDER BY id DESC LIMIT 1
"""

_PUBLICATIONS = """
SELECT name, dataset, run_id, published_at FROM publication ORDER BY name LIMIT 50
"""


_WORST_FIRST = (RunOutcome.FAILED, RunOutcome.INTERRUPTED, RunOutcome.HELD)
_SHAPES: dict[str, StateShape] = {
    RunOutcome.FAILED: StateShape.FAILED,
    RunOutcome.INTERRUPTED: StateShape.FAILED,
    RunOutcome.HELD: StateShape.HELD,
}


@dataclass(frozen=True, slots=True)
class Activity:
    """What the last 24 hours did to a dataset: its growth, and the rows changed in each hour."""

    growth: int = 0
    hours: tuple[int, ...] = (0,) * HOURS


@dataclass(frozen=True, slots=True)
class HalfHour:
    """The runs that ended in half an hour: the worst outcome and its slowest run.

    `slowest` is the time of the slowest run, in seconds.
    """

    start: datetime
    runs: int = 0
    worst: str = ""
    run_id: int | None = None
    slowest: float = 0.0

    @property
    def shape(self) -> StateShape | None:
        """The shape of the outcome that stands out."""
        return _SHAPES.get(self.worst)

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
    def as_sum(self) -> str:
        """The runs as a sum: 1,204 = 1,202 succeeded + 1 failed + 1 held."""
        parts = [f"{count:,} {outcome}" for outcome, count in self.outcomes.items()]
        if len(parts) < 2:  # noqa: PLR2004 - nothing to add
            return next(iter(parts), "none")
        return f"{self.runs:,} = {' + '.join(parts)}"

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
class LastListing:
    """When the last full run ended, and the objects of all source buckets that it listed."""

    at: datetime
    objects: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Figures of the parts of the instance: events, rows with an image, images without thumbnails.

    `publications` are the outputs that were published last.
    """

    listing: LastListing | None
    events: EventFigures
    attached: int
    faulty_images: int
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
    for name, group in groupby(rows, attrgetter("dataset")):
        hours = [0] * HOURS
        growth = 0
        for row in group:
            hours[min((row.hour - first) // timedelta(hours=1), HOURS - 1)] += row.changed
            growth += row.growth
        found[name] = Activity(growth, tuple(hours))
    return found


def strip(connection: Connection, now: datetime) -> Strip:
    """The runs of the last 24 hours."""
    first = _half_hour(now) - timedelta(minutes=30 * (HALF_HOURS - 1))
    rows = connection.execute(text(_STRIP), {"start": first}).all()
    by_start = {start: list(group) for start, group in groupby(rows, attrgetter("half_hour"))}
    starts = [first + timedelta(minutes=30 * index) for index in range(HALF_HOURS)]
    outcomes: dict[str, int] = {}
    for outcome in (RunOutcome.SUCCEEDED, *_WORST_FIRST, RunOutcome.CANCELED):
        count = sum(row.runs for row in rows if row.outcome == outcome)
        if count:
            outcomes[outcome] = count
    bars = tuple(_of_half_hour(start, by_start.get(start, [])) for start in starts)
    heights = sorted(one.slowest for one in bars if one.runs)
    return Strip(
        bars,
        outcomes,
        heights[len(heights) // 2] if heights else 0.0,
        heights[-1] if heights else 0.0,
    )


def _of_half_hour(start: datetime, rows: list[Any]) -> HalfHour:
    if not rows:
        return HalfHour(start)
    slowest = max(rows, key=attrgetter("slowest_seconds"))
    by_outcome = {row.outcome: row for row in rows}
    worst = next((by_outcome[one] for one in _WORST_FIRST if one in by_outcome), slowest)
    runs = sum(row.runs for row in rows)
    return HalfHour(start, runs, worst.outcome, worst.slowest_run, slowest.slowest_seconds)


def parts(connection: Connection, now: datetime) -> Parts:
    """The figures of the parts."""
    codes = {"codes": list(IMAGE_PROBLEM_CODES.values())}
    images = connection.execute(text(_IMAGES), codes).one()
    listing = connection.execute(text(_LISTING)).one_or_none()
    return Parts(
        None if listing is None else LastListing(*listing),
        figures(connection, now),
        images.attached,
        images.faulty,
        tuple(Publication(*one) for one in connection.execute(text(_PUBLICATIONS))),
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
