"""Incidents and alerts: tables that runs write in their transactions, and the sender reads.

The table `alert` is a transactional outbox: an alert is written if and only if the run that begins
or ends its incidents commits, and is sent after that, at least once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, text

from etl.db.engine import channel_of
from etl.db.names import NotifyChannel
from etl.db.runs import failing_datasets
from etl.db.sql import statements
from etl.model.alerts import Alert, AlertEvent, Incident

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import timedelta

OF_RUNS = (AlertEvent.RUN_FAILED, AlertEvent.RETIREMENT_HELD, AlertEvent.NEW_PROBLEMS)
_REASON_LENGTH = 500


def settle(
    connection: Connection,
    incidents: Iterable[Incident],
    *,
    complete: Collection[AlertEvent] = (),
    run_id: int | None = None,
) -> None:
    """Open these incidents unless they are open, and write an alert. The caller commits.

    Of the `complete` events, `incidents` are all there are: others that are open end.
    """
    parameters = {
        "incidents": json.dumps([one.as_dict() for one in incidents]),
        "events": list(complete),
        "run_id": run_id,
        "channel": channel_of(connection, NotifyChannel.ALERT),
    }
    connection.execute(text(statements("alerts")["settle"]), parameters)


def settle_commit(
    connection: Connection, run_id: int, *, covers_all: bool, has_failures: bool
) -> None:
    """Open and end incidents as of the state that a complete run is about to commit.

    `covers_all`: whether it is a full run of all datasets; `has_failures`: whether it leaves one
    uncommitted. The caller commits.
    """
    may_fail = has_failures or is_open(connection, AlertEvent.RUN_FAILED)
    failing = failing_datasets(connection) if may_fail else {}
    rows = connection.execute(
        text(statements("alerts")["of_commit"]),
        {"failing": json.dumps(failing), "covers_all": covers_all},
    )
    found = [Incident(AlertEvent(row.event), row.dataset, row.code, row.facts) for row in rows]
    settle(connection, found, complete=OF_RUNS, run_id=run_id)


def was_interrupted_before(connection: Connection) -> bool:
    """Whether the last run that ended was interrupted, and the one before it as well."""
    return bool(connection.scalar(text(statements("alerts")["was_interrupted_before"])))


def late(
    connection: Connection, *, late_after: timedelta, publish_after: timedelta
) -> Incident | None:
    """The incident of what is late now: a full run, a pending change or a file to publish."""
    parameters = {"late_after": late_after, "publish_after": publish_after}
    row = connection.execute(text(statements("alerts")["late"]), parameters).one_or_none()
    if row is None:
        return None
    facts = {"reason": row.reason, "last": row.since.isoformat(), "count": row.count}
    return Incident(AlertEvent.LATE, facts=facts)


def is_open(connection: Connection, event: AlertEvent) -> bool:
    """Whether an incident of the event is open."""
    return bool(connection.scalar(text(statements("alerts")["is_open"]), {"event": event}))


# -- sending


def pending(connection: Connection, after: int, limit: int) -> list[tuple[int, Alert]]:
    """The oldest alerts to be sent after that id, with their ids."""
    parameters = {"after": after, "limit": limit}
    rows = connection.execute(text(statements("alerts")["pending"]), parameters).all()
    return [(row.id, _alert(row)) for row in rows]


def record_sent(connection: Connection, alert_id: int) -> None:
    """Record that the receiver accepted the alert."""
    connection.execute(text(statements("alerts")["record_sent"]), {"id": alert_id})


def record_failed(connection: Connection, alert_id: int, reason: str) -> None:
    """Record why an attempt to send the alert failed."""
    parameters = {"id": alert_id, "reason": reason[:_REASON_LENGTH]}
    connection.execute(text(statements("alerts")["record_failed"]), parameters)


def give_up(connection: Connection, age: timedelta) -> list[dict[str, Any]]:
    """Stop sending alerts that are older; return their id, event and last error."""
    rows = connection.execute(text(statements("alerts")["give_up"]), {"age": age})
    return [dict(row) for row in rows.mappings()]


def _alert(row: Row[Any]) -> Alert:
    return Alert(
        delivery_id=str(row.delivery_id),
        event=AlertEvent(row.event),
        at=row.created_at,
        run_id=row.run_id,
        recovers=AlertEvent(row.recovers) if row.recovers else None,
        incidents=tuple(row.incidents),
    )


# -- showing


def last(connection: Connection, limit: int) -> list[tuple[Alert, dict[str, Any]]]:
    """The last alerts, newest first, each with the state of its delivery."""
    rows = connection.execute(text(statements("alerts")["last"]), {"limit": limit}).all()
    names = ("attempts", "last_error", "sent_at", "given_up_at")
    return [(_alert(row), {name: getattr(row, name) for name in names}) for row in rows]


def open_incidents(connection: Connection) -> list[dict[str, Any]]:
    """The open incidents, oldest first."""
    rows = connection.execute(text(statements("alerts")["open"]))
    return [dict(row) for row in rows.mappings()]
