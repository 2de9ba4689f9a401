"""The `run` table: requesting runs, starting them, and recording their results.

A request is a row that the scheduler claims; API workers never run anything themselves.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Connection, Row, text

from etl.db import tallies
from etl.db.bundling import ALONE
from etl.db.committed import IS_COMMITTED, counts_by_dataset
from etl.db.engine import notify
from etl.db.names import NotifyChannel
from etl.db.round_trips import Question, later
from etl.db.sql import statements
from etl.model.errors import RunCanceled
from etl.model.values import Counts, DatasetCounts, RunOutcome, RunReport, RunState, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from etl.db.committed import Committed
    from etl.model.errors import EtlError

REQUEST_CHANNEL = NotifyChannel.RUN_REQUESTED

_INTERRUPTED = {
    "code": "Interrupted",
    "message": "The process ended during the run; nothing was committed.",
    "hint": "The next run did the work of this one.",
}

_COLUMNS = (
    "id, trigger, state, requested_at, started_at, finished_at, counts, error, "
    "published_at, step_seconds, step_rows, step_spans, dataset_counts"
)

# By dataset, how many rows a run may retire at once; None for any number.
Allowed: TypeAlias = "Mapping[str, int | None]"

_COMPLETE = f"""
UPDATE run SET
    state = :state,
    outcome = CASE WHEN :state <> 'succeeded' THEN :state
                   WHEN EXISTS (SELECT FROM hold WHERE run_id = :id) THEN 'held'
                   ELSE 'succeeded' END,
    finished_at = greatest(clock_timestamp(), (SELECT max(finished_at) + interval '1 microsecond'
                                               FROM run WHERE {IS_COMMITTED})),
    counts = CAST(:counts AS jsonb), dataset_counts = CAST(:datasets AS jsonb),
    left_out = CAST(:left_out AS text[]), publish_pending = :pending,
    error = CAST(:error AS jsonb)
WHERE id = :id
RETURNING id, trigger, outcome, error, started_at, finished_at
"""

_NOTHING = Question("SELECT WHERE false", {})

RUNNING = Question("SELECT id FROM run WHERE state = 'running'", {})

_RETIRED_BY_EVENTS = f"""
SELECT coalesce(sum(CAST(dataset_counts->:dataset->>'retired' AS bigint)
                    - CAST(dataset_counts->:dataset->>'restored' AS bigint)), 0)
FROM run
WHERE trigger = 'event' AND {IS_COMMITTED}
  AND finished_at > coalesce(
      (SELECT finished_at FROM run
       WHERE trigger <> 'event' AND {IS_COMMITTED} AND :dataset <> ALL (left_out)
         AND coalesce(CAST(dataset_counts->:dataset->>'objects_held' AS bigint), 0) = 0
       ORDER BY finished_at DESC LIMIT 1), '-infinity')
"""

# Of two permissions for a dataset, the larger one.
_BOTH_ALLOWED = """(
    SELECT jsonb_object_agg(dataset, CASE WHEN is_any THEN 'null' ELSE to_jsonb(at_most) END)
    FROM (
        SELECT given.key AS dataset, bool_or(given.value = 'null') AS is_any,
               max(CAST(nullif(given.value, 'null') AS bigint)) AS at_most
        FROM (SELECT * FROM jsonb_each(run.allowed_retirements)
              UNION ALL SELECT * FROM jsonb_each(excluded.allowed_retirements)) AS given
        GROUP BY given.key
    ) AS larger
)"""


def request_run(
    connection: Connection, trigger: Trigger, *, allowed_retirements: Allowed | None = None
) -> int:
    """Request a run, or join the pending request; return its id. The caller commits.

    A running run is never joined, because it would miss changes after its listing.
    """
    row = connection.execute(
        text(
            "INSERT INTO run (trigger, state, allowed_retirements)"
            " VALUES (:trigger, 'requested', CAST(:allowed AS jsonb))"
            " ON CONFLICT (state) WHERE state = 'requested' DO UPDATE"
            f" SET allowed_retirements = coalesce({_BOTH_ALLOWED}, '{{}}')"
            " RETURNING id"
        ),
        {"trigger": trigger, "allowed": _json(allowed_retirements or {})},
    ).one()
    notify(connection, REQUEST_CHANNEL)
    return int(row.id)


def any_to_make(connection: Connection) -> bool:
    """Whether a run is requested, or one is running, which may have been interrupted."""
    states = ("requested", "running")  # each has an index
    question = " OR ".join(f"EXISTS (SELECT FROM run WHERE state = '{one}')" for one in states)
    return bool(connection.scalar(text(f"SELECT {question}")))


def claim_run(connection: Connection) -> tuple[int, Trigger, Allowed] | None:
    """Start the requested run, if any; return id, trigger and the retirements allowed."""
    row = connection.execute(
        text(
            "UPDATE run SET state = 'running', started_at = now() WHERE id ="
            " (SELECT id FROM run WHERE state = 'requested' FOR UPDATE SKIP LOCKED)"
            " RETURNING id, trigger, allowed_retirements"
        )
    ).one_or_none()
    connection.commit()
    return None if row is None else (row.id, Trigger(row.trigger), row.allowed_retirements)


def begin_run(
    connection: Connection, trigger: Trigger, *, allowed_retirements: Allowed | None = None
) -> int:
    """Start a run without a request, and commit; return its id."""
    run_id, _ = begin_and_ask(connection, trigger, _NOTHING, allowed_retirements)
    return run_id


def begin_and_ask(
    connection: Connection,
    trigger: Trigger,
    question: Question,
    allowed_retirements: Allowed | None = None,
) -> tuple[int, list[dict[str, Any]]]:
    """As `begin_run`, with a question in the same round trip; also return the answer."""
    run_id, found = connection.execute(
        text(
            f"{ALONE}WITH begun AS ("
            "INSERT INTO run (trigger, state, allowed_retirements, started_at)"
            " VALUES (:trigger, 'running', CAST(:allowed AS jsonb), now()) RETURNING id)"
            " SELECT (SELECT id FROM begun), (SELECT coalesce(json_agg(_row), '[]')"
            f" FROM ({question.sql}) AS _row)"
        ),
        {
            "trigger": trigger,
            "allowed": _json(allowed_retirements or {}),
            **question.parameters,
        },
    ).one()
    connection.commit()
    return int(run_id), found


def close_interrupted(connection: Connection) -> Sequence[int]:
    """Mark runs whose process died as failed, and request them again; return their ids.

    The caller must hold the run lock, and commits.
    """
    closed = _fail(connection, None, RunOutcome.INTERRUPTED, _INTERRUPTED)
    if closed:
        _request_again(connection, closed)
    return closed


def _request_again(connection: Connection, closed: Sequence[int]) -> None:
    """Request what interrupted runs were requested for, which no other process may know of.

    The events of event runs are still pending, and who started a command saw it end.
    """
    lost = connection.execute(
        text(
            "SELECT trigger, allowed_retirements FROM run WHERE id = ANY (:ids)"
            " AND trigger = ANY (:requested) AND cancel_requested_at IS NULL ORDER BY id"
        ),
        {"ids": list(closed), "requested": [Trigger.INTERVAL, Trigger.REQUEST]},
    )
    for row in lost.all():
        request_run(connection, Trigger(row.trigger), allowed_retirements=row.allowed_retirements)


def complete_run(
    connection: Connection,
    run_id: int,
    committed: Committed,
    *,
    publish_pending: bool,
    error: Mapping[str, object] | None = None,
) -> None:
    """Record what the run commits, in the transaction that merges.

    The run succeeded unless there is an `error`, of datasets that it did not commit.
    `finished_at` is later than that of every run before, even if the clock was set back, because
    the newest run's counts are used. It is not canceled, see `canceled`.
    """
    merged = {name: committed.datasets.get(name, DatasetCounts()) for name in committed.moved}
    completing = tallies.ending(_COMPLETE, with_rows=bool(merged))
    later(
        connection,
        completing.text,
        {
            "id": run_id,
            "changes": tallies.changes(merged, committed.moved),
            "left_out": sorted(committed.left_out),
            "state": RunState.FAILED if error else RunState.SUCCEEDED,
            "counts": _json(committed.counts.as_dict()),
            "datasets": _json({k: v.as_dict() for k, v in committed.datasets.items()}),
            "pending": publish_pending,
            "error": _json(error) if error else None,
        },
    )


def canceled(run_id: int) -> Question:
    """Find whether the run was canceled; from now on until the commit it cannot be."""
    return Question("SELECT cancel_requested_at FROM run WHERE id = :id FOR UPDATE", {"id": run_id})


def check_not_canceled(found: Sequence[Mapping[str, Any]]) -> None:
    """Check the answer to `canceled`.

    Raises:  RunCanceled; nothing is committed then.
    """
    if any(row["cancel_requested_at"] is not None for row in found):
        raise RunCanceled.before_commit()


def fail_run(connection: Connection, run_id: int, error: Mapping[str, object]) -> None:
    """Record why the run failed, after a rollback. The caller commits."""
    connection.rollback()
    is_canceled = error["code"] == RunCanceled.__name__
    outcome = RunOutcome.CANCELED if is_canceled else RunOutcome.FAILED
    _fail(connection, run_id, outcome, error)


def _fail(
    connection: Connection, run_id: int | None, outcome: RunOutcome, error: Mapping[str, object]
) -> Sequence[int]:
    """Record that a running run failed, None for any, and count it; return its id."""
    failed = connection.scalars(
        text(
            "UPDATE run SET state = 'failed', outcome = :outcome, finished_at = now(),"
            " error = CAST(:error AS jsonb) WHERE state = 'running'"
            " AND (CAST(:id AS bigint) IS NULL OR id = :id) RETURNING id"
        ),
        {"outcome": outcome, "error": _json(error), "id": run_id},
    ).all()
    if failed:
        tallies.end_runs(connection, failed)
    return failed


def record_publish_error(connection: Connection, run_id: int, error: EtlError) -> None:
    """Record why an output could not be published; the state of the run stays as it is.

    A failed run keeps its error.
    """
    connection.rollback()
    connection.execute(
        text("UPDATE run SET error = CAST(:error AS jsonb) WHERE id = :id AND state <> 'failed'"),
        {"id": run_id, "error": _json(error.as_dict())},
    )
    connection.commit()


def record_steps(
    connection: Connection,
    run_id: int,
    step_seconds: Mapping[str, float],
    step_rows: Mapping[str, int],
    step_spans: Mapping[str, tuple[float, float]],
) -> RunReport:
    """Store what each step took and processed, and when it began and ended; report the run."""
    row = connection.execute(
        text(
            f"{ALONE}{statements('tallies')['add_steps']};"
            " UPDATE run SET step_seconds = CAST(:seconds AS jsonb),"
            " step_rows = CAST(:rows AS jsonb), step_spans = CAST(:spans AS jsonb)"
            f" WHERE id = :id RETURNING {_COLUMNS}"
        ),
        {
            "id": run_id,
            "seconds": _json({k: round(v, 4) for k, v in step_seconds.items()}),
            "rows": _json(step_rows),
            "spans": _json({k: [round(one, 4) for one in v] for k, v in step_spans.items()}),
        },
    ).one()
    connection.commit()
    return _as_report(row)


def failing_datasets(connection: Connection) -> dict[str, dict[str, Any]]:
    """By name, the datasets that the last run that tried to sync them did not commit; its error."""
    rows = connection.execute(text(statements("status")["failing_datasets"]))
    return {row.name: row.error for row in rows}


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


def retired_by_events(connection: Connection, dataset: str) -> int:
    """The rows of a dataset that event runs retired, less those restored.

    It counts since the last full run that synced the dataset and held none of its objects. Emptying
    a bucket produces one event per object, which may be spread over many runs.
    """
    retired = connection.scalar(text(_RETIRED_BY_EVENTS), {"dataset": dataset})
    return max(0, int(retired or 0))


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
        step_spans={name: (began, ended) for name, (began, ended) in row.step_spans.items()},
        dataset_counts=counts_by_dataset(row.dataset_counts),
    )


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value)
