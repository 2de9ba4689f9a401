"""What runs record of incidents, in the transactions that make them so.

Nothing is recorded unless ALERT_URL is set. Once it is, the next run records what it finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db import alerts
from etl.model.alerts import AlertEvent, Incident

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from etl.sync.run import CurrentRun

_INTERRUPTED_AGAIN = {
    "code": "Interrupted",
    "message": "The process ended during this run, and during the run before it.",
    "hint": "Check its log, and whether it has the memory that it needs.",
}


def record_commit(run: CurrentRun, *, has_failures: bool) -> None:
    """Open and end the incidents of what the run commits. It is complete; the caller commits."""
    if run.has_alerts:
        covers_all = run.is_full and run.only is None
        alerts.settle_commit(
            run.connection, run.id, covers_all=covers_all, has_failures=has_failures
        )


def record_failure(run: CurrentRun, error: Mapping[str, object]) -> None:
    """Open the incident of a run that changed nothing. The caller commits.

    A failed rebuild is no incident: its dataset stays as it was, and the operator gets the error.
    """
    if run.has_alerts and run.rebuild is None:
        facts = {"error": dict(error), "trigger": run.trigger}
        one = Incident(AlertEvent.RUN_FAILED, facts=facts)
        alerts.settle(run.connection, [one], run_id=run.id)


def record_interrupted(connection: Connection, run_id: int) -> None:
    """Open the incident of interrupted runs, if this one is the second in a row.

    The first one is no incident, because the next run does its work. The caller commits.
    """
    if alerts.was_interrupted_before(connection):
        facts = {"error": _INTERRUPTED_AGAIN, "trigger": None}
        alerts.settle(connection, [Incident(AlertEvent.RUN_FAILED, facts=facts)], run_id=run_id)
