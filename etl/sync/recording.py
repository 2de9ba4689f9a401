"""Record how a run failed: in its row, and in its trace."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from etl.db import runs
from etl.db.engine import translating
from etl.model.errors import DatabaseUnavailable, EtlError
from etl.sync import tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.sync.run import CurrentRun


@contextmanager
def recording_failure(run: CurrentRun) -> Iterator[None]:
    """Record an error of the block as that of the run."""
    try:
        with translating():
            yield
    except Exception as error:
        recorded = error.as_dict() if isinstance(error, EtlError) else _as_bug(error)
        with suppress(DatabaseUnavailable), translating():
            runs.fail_run(run.connection, run.id, recorded)
        tracing.record(run, str(recorded["code"]))
        raise
    finally:
        run.progress.close()


def _as_bug(error: Exception) -> dict[str, object]:
    """The error's class only, because its message may contain addresses, statements and data."""
    return {
        "code": "Bug",
        "message": f"{type(error).__name__}; the log has the details.",
        "hint": "This is a bug in Bucketline. Please report it with the log.",
    }
