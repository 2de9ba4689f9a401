"""The trace of a run: a span for the run, and one for each of its steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from etl.runtime import traces
from etl.runtime.traces import Span

if TYPE_CHECKING:
    from etl.runtime.traces import Attributes
    from etl.sync.run import CurrentRun


def record(run: CurrentRun, error: str | None = None) -> None:
    """Send the trace of a run that has ended; `error` is the code of its error.

    A step lasts from its first to its last moment, so steps that take turns overlap. Its
    attributes have the seconds spent in it.
    """
    if not traces.is_on():
        return
    profile = run.stats.profile
    trigger = run.trigger.value if run.trigger else "publish"
    attributes: Attributes = {"bucketline.run.id": run.id, "bucketline.run.trigger": trigger}
    steps = [
        Span(
            name,
            profile.began_at[name],
            profile.ended_at[name],
            {
                "bucketline.step.seconds": profile.seconds[name],
                "bucketline.step.rows": profile.rows.get(name, 0),
            },
        )
        for name in profile.seconds
    ]
    traces.record(Span("run", profile.created_at, time.time_ns(), attributes, error), steps)
