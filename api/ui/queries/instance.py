"""The state of the instance in a few numbers, for the head of every page and the first sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from api.ui.states import Shape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

GRACE_SECONDS = 60  # a run may begin that late, or a tenth of its interval
_LATEST = 5  # of the highest ids, among which the run that ended last is

_OPEN = """
SELECT count(*) AS problems,
       count(*) FILTER (WHERE problem.severity = 'error') AS errors,
       count(DISTINCT (problem.bucket, problem.key))
           FILTER (WHERE problem.severity = 'error') AS objects
FROM problem JOIN source_object USING (bucket, key, run_id)
WHERE :all OR problem.dataset = ANY (CAST(:datasets AS text[]))
"""

_RUNS = f"""
WITH latest AS (SELECT id, trigger, state, requested_at, started_at, finished_at, error,
                       dataset_counts <> '{{}}'::jsonb AS has_committed
                FROM run ORDER BY id DESC LIMIT {_LATEST})
SELECT now() AS now,
       (SELECT to_jsonb(latest) FROM latest WHERE state IN ('succeeded', 'failed')
        ORDER BY finished_at DESC LIMIT 1) AS last,
       (SELECT id FROM run WHERE state = 'running' ORDER BY id DESC LIMIT 1) AS running,
       (SELECT requested_at FROM run WHERE state = 'requested') AS requested_at,
       (SELECT started_at FROM run WHERE trigger <> 'event' AND started_at IS NOT NULL
        ORDER BY id DESC LIMIT 1) AS full_at,
       (SELECT count(*) FROM hold) AS holds
"""


@dataclass(frozen=True, slots=True)
class OpenProblems:
    """The open problems that the caller may see; `objects` have at least one error."""

    problems: int = 0
    errors: int = 0
    objects: int = 0

    @property
    def warnings(self) -> int:
        """The problems that cost nothing yet."""
        return self.problems - self.errors


@dataclass(frozen=True, slots=True)
class Instance:
    """What the head of a page shows: the open problems, and the shape of the worst state."""

    open: OpenProblems
    holds: int
    running: int | None
    last_failed: bool
    full_at: datetime | None
    due_at: datetime | None
    is_late: bool
    now: datetime

    @property
    def shape(self) -> Shape:
        """The worst state, in the order in which the first sentence names them."""
        if self.is_late or self.last_failed:
            return Shape.FAILED
        if self.holds:
            return Shape.HELD
        if self.open.objects:
            return Shape.WARNING
        return Shape.RUNNING if self.running else Shape.OK


def open_problems(connection: Connection, datasets: Sequence[str] = ()) -> OpenProblems:
    """The open problems of these datasets; of all without any."""
    given = {"all": not datasets, "datasets": list(datasets)}
    row = connection.execute(text(_OPEN), given).one()
    return OpenProblems(row.problems, row.errors, row.objects)


def instance(connection: Connection, interval: timedelta, datasets: Sequence[str] = ()) -> Instance:
    """The state of the instance; two statements."""
    row = connection.execute(text(_RUNS)).one()
    last: dict[str, Any] = row.last or {}
    due_at = None if row.full_at is None else row.full_at + interval
    return Instance(
        open=open_problems(connection, datasets),
        holds=row.holds,
        running=row.running,
        last_failed=last.get("state") == "failed",
        full_at=row.full_at,
        due_at=due_at,
        is_late=row.running is None and _is_late(row, due_at, interval),
        now=row.now,
    )


def _is_late(row: Any, due_at: datetime | None, interval: timedelta) -> bool:  # noqa: ANN401 - a row
    """Whether no scheduler makes the runs that are due or requested."""
    grace = max(GRACE_SECONDS, interval.total_seconds() / 10)
    waited = [one for one in (row.requested_at, due_at) if one is not None]
    return any((row.now - one).total_seconds() > grace for one in waited)
