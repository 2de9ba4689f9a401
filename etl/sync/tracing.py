"""The trace of a run: a span for the run, and one for each of its steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from etl.runtime import traces
from etl.runtime.spans import TraceSpan

if TYPE_CHECKING:
    from etl.runtime.spans import Attributes
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
        TraceSpan(
            name,
            _at(profile.began[name]),
            _at(profile.ended[name]),
            {
                "bucketline.step.seconds": profile.seconds[name],
                "bucketline.step.rows": profile.rows.get(name, 0),
            },
        )
        for name in profile.seconds
    ]
    span = TraceSpan("run", _at(profile.created), time.time_ns(), attributes, error)
    traces.record(span, steps)


def _at(moment: float) -> int:
    """The nanoseconds since 1970 of a moment of time.perf_counter."""
    return time.time_ns() - int((time.perf_counter() - moment) * 1e9)
