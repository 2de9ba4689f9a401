"""Record how a run failed: in its row, as an incident, and in its trace."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from etl.db import runs
from etl.db.engine import translating
from etl.db.locks import run_lock
from etl.model.errors import DatabaseUnavailable, EtlError, RunCanceled
from etl.sync import incidents, tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from etl.sync.run import CurrentRun


@contextmanager
def recording_failure(run: CurrentRun) -> Iterator[None]:
    """Record an error of the block as that of the run."""
    try:
        with translating():
            yield
    except Exception as error:
        recorded = error.as_dict() if isinstance(error, EtlError) else as_bug(error)
        with suppress(DatabaseUnavailable), translating():
            runs.fail_run(run.connection, run.id, recorded)
            if not isinstance(error, RunCanceled):
                incidents.record_failure(run, recorded)
            run.connection.commit()
            run.recorded.append(error)
        tracing.record(run, str(recorded["code"]))
        raise
    finally:
        run.progress.close()


@contextmanager
def locked(engine: Engine, wait_seconds: float, *, has_alerts: bool) -> Iterator[Connection]:
    """Hold the run lock, as `run_lock` does, with interrupted runs recorded as failed."""
    with run_lock(engine, wait_seconds=wait_seconds) as connection:
        record_interrupted(connection, has_alerts=has_alerts)
        yield connection


def record_interrupted(connection: Connection, *, has_alerts: bool) -> None:
    """Record runs whose process died as failed, and commit. The caller holds the run lock."""
    closed = runs.close_interrupted(connection)
    if closed and has_alerts:
        incidents.record_interrupted(connection, max(closed))
    connection.commit()


def as_bug(error: Exception) -> dict[str, object]:
    """The error's class only, because its message may contain addresses, statements and data."""
    return {
        "code": "Bug",
        "message": f"{type(error).__name__}; the log has the details.",
        "hint": "This is a bug in Bucketline. Please report it with the log.",
    }
