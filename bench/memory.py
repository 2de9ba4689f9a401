"""The peak memory of the run process, measured by every scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figures import Figure, Target, figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs import Measured

PEAK_MB = 250.0
NO_PROC = "not measured: this system has no /proc"


def memory(what: str, runs: Sequence[Measured]) -> Figure:
    """The largest peak of these runs."""
    peaks = [item.peak_mb for item in runs if item.peak_mb is not None]
    return figure(
        "memory",
        what,
        "MB",
        [max(peaks)] if peaks else [],
        target=Target(extra=PEAK_MB),
        says=f"≤ {PEAK_MB:.0f} MB",
        note="" if peaks else NO_PROC,
    )
