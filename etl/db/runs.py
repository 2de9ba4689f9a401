"""The `run` table: requesting runs, starting them, and recording their results.

A request is a row that the scheduler claims; API workers never run anything themselves.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, text

from etl.model.values import Counts, RunReport, RunState, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from etl.model.errors import EtlError

REQUEST_CHANNEL = "run_requested"

_INTERRUPTED = {
    "code": "Interrupted",
    "message": "The process ended during the run; nothing was committed.",
    "hint": "The next run did the work of this one.",
}

_COLUMNS = (
    "id, trigger, state, requested_at, started_at, finished_at, counts, error, "
    "published_at, step_seconds, step_rows"
)


def request_run(
    connection: Connection,
    trigger: Trigger,
    *,
    allowed_retirements: Mapping[str, int | None] = MappingProxyType({}),
) -> int:
    """Request a run, or join the pending request; return its id. The caller commits.

    A running run is never joined, because it would miss changes after its listing.
    `allowed_retirements` has, by dataset, how many rows the run may retire; None for any number.
    """
    row = connection.execute(
        text(
            "INSERT INTO run (trigger, state, allowed_retirements)"
            " VALUES (:trigger, 'requested', CAST(:allowed AS jsonb))"
            " ON CONFLICT (state) WHERE state = 'requested' DO UPDATE"
            " SET allowed_retirements = run.allowed_retirements || excluded.allowed_retirements"
            " RETURNING id"
        ),
        {"trigger": trigger, "allowed": _json(dict(allowed_retirements))},
    ).one()
    connection.execute(text(f"NOTIFY {REQUEST_CHANNEL}"))
    return int(row.id)


def claim_run(connection: Connection) -> tuple[int, Trigger, bool] | None:
    """Start the requested run, if any; return id, trigger and whether it may retire en masse."""
    row = connection.execute(
        text(
            "UPDATE run SET state = 'running', started_at = now() WHERE id ="
            " (SELECT id FROM run WHERE state = 'requested' FOR UPDATE SKIP LOCKED)"
            " RETURNING id, trigger, allow_mass_retirement"
        )
    ).one_or_none()
    connection.commit()
    return None if row is None else (row.id, Trigger(row.trigger), row.allow_mass_retirement)


def begin_run(connection: Connection, trigger: Trigger, *, allow_mass_retirement: bool) -> int:
    """Start a run without a request; return its id."""
    run_id = connection.scalar(
        text(
            "INSERT INTO run (trigger, state, allow_mass_retirement, started_at)"
            " VALUES (:trigger, 'running', :allow, now()) RETURNING id"
        ),
        {"trigger": trigger, "allow": allow_mass_retirement},
    )
    connection.commit()
    return int(run_id or 0)


def close_interrupted(connection: Connection) -> None:
    """Mark runs whose process died as failed. The caller must hold the run lock."""
    connection.execute(
        text(
            "UPDATE run SET state = 'failed', finished_at = now(), error = CAST(:error AS jsonb)"
            " WHERE state = 'running'"
        ),
        {"error": _json(_INTERRUPTED)},
    )
    connection.commit()


def succeed_run(
    connection: Connection, run_id: int, counts: Counts, *, publish_pending: bool
) -> None:
    """Mark the run as succeeded, in the transaction that merges.

    `finished_at` is later than that of every run before, even if the clock was set back, because
    the newest run's counts are used.
    """
    connection.execute(
        text(
            "UPDATE run SET state = 'succeeded', finished_at = greatest(clock_timestamp(),"
            " (SELECT max(finished_at) + interval '1 microsecond' FROM run"
            " WHERE state = 'succeeded')),"
            " counts = CAST(:counts AS jsonb), publish_pending = :pending WHERE id = :id"
        ),
        {"id": run_id, "counts": _json(counts.as_dict()), "pending": publish_pending},
    )


def fail_run(connection: Connection, run_id: int, error: Mapping[str, object]) -> None:
    """Record why the run failed."""
    connection.rollback()
    connection.execute(
        text(
            "UPDATE run SET state = 'failed', finished_at = now(), error = CAST(:error AS jsonb)"
            " WHERE id = :id AND state = 'running'"
        ),
        {"id": run_id, "error": _json(error)},
    )
    connection.commit()


def record_publish_error(connection: Connection, run_id: int, error: EtlError) -> None:
    """Record why output.csv could not be published; the run stays succeeded."""
    connection.rollback()
    connection.execute(
        text("UPDATE run SET error = CAST(:error AS jsonb) WHERE id = :id"),
        {"id": run_id, "error": _json(error.as_dict())},
    )
    connection.commit()


def record_steps(
    connection: Connection,
    run_id: int,
    step_seconds: Mapping[str, float],
    step_rows: Mapping[str, int],
) -> None:
    """Store the seconds of each step, and how many rows or objects it processed."""
    connection.execute(
        text(
            "UPDATE run SET step_seconds = CAST(:seconds AS jsonb),"
            " step_rows = CAST(:rows AS jsonb) WHERE id = :id"
        ),
        {
            "id": run_id,
            "seconds": _json({k: round(v, 4) for k, v in step_seconds.items()}),
            "rows": _json(step_rows),
        },
    )
    connection.commit()


def last_counts(connection: Connection) -> Counts:
    """The counts of the last successful run; zeros before the first.

    That run may not have the highest id, because a request gets its id long before it runs.
    """
    stored = connection.scalar(
        text("SELECT counts FROM run WHERE state = 'succeeded' ORDER BY finished_at DESC LIMIT 1")
    )
    return Counts.from_dict(stored or {})


def objects_listed_last(connection: Connection) -> int:
    """The number of objects listed by the last full run; 0 before the first."""
    return int(
        connection.scalar(
            text(
                "SELECT counts->>'objects_listed' FROM run"
                " WHERE trigger <> 'event' AND state = 'succeeded'"
                " ORDER BY finished_at DESC LIMIT 1"
            )
        )
        or 0
    )


def retired_by_events(connection: Connection) -> int:
    """The number of users retired by event runs since the last full run.

    Emptying a bucket produces one event per object, which may be spread over many runs.
    """
    return int(
        connection.scalar(
            text(
                "SELECT greatest(0, sum((counts->>'users_retired')::bigint)"
                " - sum((counts->>'users_restored')::bigint))"
                " FROM run WHERE trigger = 'event' AND state = 'succeeded' AND finished_at >"
                " coalesce((SELECT max(finished_at) FROM run"
                " WHERE trigger <> 'event' AND state = 'succeeded'), '-infinity')"
            )
        )
        or 0
    )


def database_now(connection: Connection) -> datetime:
    """The time of received events and of listings. The caller ends the transaction."""
    now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def is_settled(row: Mapping[str, Any]) -> bool:
    """Whether the run is complete: it failed, or its publishing step ended."""
    return row["state"] == RunState.FAILED or bool(row["step_seconds"])


def run_row(connection: Connection, run_id: int) -> dict[str, Any] | None:
    """One run as a dictionary of its columns, or None."""
    row = connection.execute(
        text(f"SELECT {_COLUMNS} FROM run WHERE id = :id"), {"id": run_id}
    ).one_or_none()
    if row is None:
        return None
    return {**row._mapping, "counts": _in_order(row.counts)}  # noqa: SLF001 - its public name


def _in_order(counts: dict[str, int]) -> dict[str, int]:
    """The counts in the order of `Counts`, which jsonb does not preserve."""
    return {name: counts[name] for name in Counts().as_dict() if name in counts}


def report(connection: Connection, run_id: int) -> RunReport:
    """One run as a report."""
    row = connection.execute(
        text(f"SELECT {_COLUMNS} FROM run WHERE id = :id"), {"id": run_id}
    ).one()
    return _as_report(row)


def _as_report(row: Row[Any]) -> RunReport:
    return RunReport(
        id=row.id,
        trigger=Trigger(row.trigger),
        state=RunState(row.state),
        counts=Counts.from_dict(row.counts),
        requested_at=row.requested_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        error=row.error,
        published_at=row.published_at,
        step_seconds=row.step_seconds,
        step_rows=row.step_rows,
    )


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value)
