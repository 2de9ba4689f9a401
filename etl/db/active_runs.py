"""The active run: its progress, which it records itself, and the request to cancel it.

A run sees the request when it records its progress, and at the latest when it commits.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from etl.db import tallies
from etl.model.errors import RunCanceled

if TYPE_CHECKING:
    from etl.model.snapshot import Step

_RECORD = text(
    "UPDATE run SET progress = CAST(:progress AS jsonb) WHERE id = :id"
    " RETURNING cancel_requested_at IS NOT NULL"
)
_CANCEL_REQUEST = text(
    "UPDATE run SET state = 'failed', finished_at = now(), cancel_requested_at = now(),"
    " outcome = 'canceled', error = CAST(:error AS jsonb)"
    " WHERE id = :id AND state = 'requested'"
)
# While the run commits, this waits for its row, and then finds that it has ended.
_CANCEL_RUNNING = text(
    "UPDATE run SET cancel_requested_at = coalesce(cancel_requested_at, now())"
    " WHERE id = :id AND state = 'running'"
)


class Canceled(StrEnum):
    """What a request to cancel a run came to."""

    CANCELED = "canceled"  # it had not begun, and never will
    CANCELING = "canceling"  # it ends within seconds, or commits if it was about to
    ENDED = "ended"  # it had ended before
    UNKNOWN = "unknown"  # there is no such run


def record_progress(connection: Connection, run_id: int, step: Step) -> None:
    """Record what the step has done. The connection must be in autocommit.

    Raises:  RunCanceled when the run is to end.
    """
    values = {"step": step.name, "done": step.done, "total": step.total}
    found = connection.scalar(_RECORD, {"id": run_id, "progress": json.dumps(values)})
    if found:
        raise RunCanceled.before_commit()


def cancel(connection: Connection, run_id: int) -> Canceled:
    """Cancel a run that is requested or active. The caller commits.

    It changes nothing then. Changes that it would have committed are found by the next run.
    """
    error = json.dumps(RunCanceled.before_start().as_dict())
    if connection.execute(_CANCEL_REQUEST, {"id": run_id, "error": error}).rowcount:
        tallies.end_runs(connection, [run_id])
        return Canceled.CANCELED
    if connection.execute(_CANCEL_RUNNING, {"id": run_id}).rowcount:
        return Canceled.CANCELING
    is_known = connection.scalar(text("SELECT true FROM run WHERE id = :id"), {"id": run_id})
    return Canceled.ENDED if is_known else Canceled.UNKNOWN
