"""The state of the instance in a few numbers, for the head of every page and the first sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from api.ui.states import StateShape
from etl.model.sentences import LATE_AFTER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy import Connection

_LATEST = 5  # of the highest ids, among which the run that ended last is

_OPEN = """
SELECT coalesce(sum(problems), 0)::bigint AS problems, coalesce(sum(errors), 0)::bigint AS errors,
       coalesce(sum(faulty_objects), 0)::bigint AS objects
FROM dataset_tally WHERE :all OR dataset = ANY (CAST(:datasets AS text[]))
"""

_RUNS = f"""
WITH latest AS (SELECT state, finished_at, error FROM run ORDER BY id DESC LIMIT {_LATEST})
SELECT now() AS now,
       (SELECT state FROM latest
        WHERE finished_at IS NOT NULL AND coalesce(error->>'code', '') <> 'RunCanceled'
        ORDER BY finished_at DESC LIMIT 1) AS last,
       (SELECT id FROM run WHERE state = 'running' ORDER BY id DESC LIMIT 1) AS running,
       (SELECT requested_at FROM run WHERE state = 'requested') AS requested_at,
       (SELECT requested_at FROM run WHERE trigger <> 'event' AND started_at IS NOT NULL
        ORDER BY id DESC LIMIT 1) AS full_at,
       EXISTS (SELECT FROM hold) AS holds
"""


@dataclass(frozen=True, slots=True)
class ProblemCounts:
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

    open: ProblemCounts
    shape: StateShape


def open_problems(connection: Connection, datasets: Sequence[str] = ()) -> ProblemCounts:
    """The open problems of these datasets; of all without any."""
    given = {"all": not datasets, "datasets": list(datasets)}
    row = connection.execute(text(_OPEN), given).one()
    return ProblemCounts(row.problems, row.errors, row.objects)


def instance(connection: Connection, interval: timedelta, datasets: Sequence[str] = ()) -> Instance:
    """The state of the instance; two statements."""
    row = connection.execute(text(_RUNS)).one()
    found = open_problems(connection, datasets)
    return Instance(found, _shape(row, found, interval))


def _shape(row: Any, found: ProblemCounts, interval: timedelta) -> StateShape:  # noqa: ANN401 - a row
    """The worst state, in the order in which the sentence of the overview names them."""
    if row.running is None and _is_late(row, interval):
        return StateShape.FAILED
    if row.last is not None and row.last == "failed":
        return StateShape.FAILED
    if row.holds:
        return StateShape.HELD
    if found.objects:
        return StateShape.WARNING
    return StateShape.OK if row.running is None else StateShape.RUNNING


def _is_late(row: Any, interval: timedelta) -> bool:  # noqa: ANN401 - a row
    """Whether no scheduler makes the runs that are due or requested."""
    due_at = None if row.full_at is None else row.full_at + interval
    waited = [one for one in (row.requested_at, due_at) if one is not None]
    return any(row.now - one > LATE_AFTER for one in waited)
