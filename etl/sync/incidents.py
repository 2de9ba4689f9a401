"""What a run records of incidents, in the transaction that makes them so.

Nothing is recorded unless ALERT_URL is set. Then the next run records what it finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db import alerts, runs
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


def record_commit(run: CurrentRun) -> None:
    """Open and end the incidents of what the run commits. It is complete; the caller commits."""
    if run.has_alerts:
        covers_all = run.is_full and run.only is None
        alerts.settle_commit(run.connection, run.id, covers_all=covers_all)


def fail_run(run: CurrentRun, error: Mapping[str, object]) -> None:
    """Record and commit why the run failed.

    A failed rebuild is no incident: its dataset stays as it was, and the operator gets the error.
    """
    runs.fail_run(run.connection, run.id, error)
    if run.has_alerts and run.rebuild is None:
        facts = {"error": dict(error), "trigger": run.trigger}
        one = Incident(AlertEvent.RUN_FAILED, facts=facts)
        alerts.settle(run.connection, [one], run_id=run.id)
    run.connection.commit()


def close_interrupted(connection: Connection, *, has_alerts: bool) -> None:
    """Mark runs whose process died as failed. The caller must hold the run lock.

    The next run does the work of an interrupted one, so that only the second in a row is an
    incident.
    """
    closed = runs.close_interrupted(connection)
    if closed and has_alerts and alerts.was_interrupted_before(connection):
        one = Incident(AlertEvent.RUN_FAILED, facts={"error": _INTERRUPTED_AGAIN, "trigger": None})
        alerts.settle(connection, [one], run_id=max(closed))
    connection.commit()
