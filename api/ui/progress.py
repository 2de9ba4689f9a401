"""The progress of a run as a table of its steps. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.ui import words
from api.ui.states import FAILED, RUNNING, WAITING, ShownState, StateShape
from etl.model.sentences import progress_text
from etl.model.values import Counts, RunState

if TYPE_CHECKING:
    from datetime import datetime

    from etl.model.snapshot import ActiveRun

STEPS = ("list", "read", "merge", "publish")
_UNITS = {"list": "object", "read": "object", "stage": "row", "publish": "file"}
_DONE = ShownState(StateShape.OK, "Done")
_SUCCEEDED = ShownState(StateShape.OK, "Succeeded")


@dataclass(frozen=True, slots=True)
class StepLine:
    """A step: its state, how much of it is done (0 to 1, None if that is not known), and counts."""

    name: str
    state: ShownState
    share: float | None
    count: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A run that is requested, active or has ended."""

    run_id: int
    state: ShownState
    sentence: str
    steps: tuple[StepLine, ...]
    has_ended: bool


def of_active(run: ActiveRun, now: datetime) -> Progress:
    """The progress that the run has recorded; it has no step in its first second."""
    lasted = words.lasted(now - run.started_at)
    sentence = f"{progress_text(run)} Run {run.run_id:,} has been running for {lasted}."
    current = None if run.step is None else _shown_step(run.step.name)
    place = STEPS.index(current) if current in STEPS else -1
    lines = []
    for index, name in enumerate(STEPS):
        if index < place:
            lines.append(StepLine(name, _DONE, 1.0, ""))
        elif index == place and run.step is not None:
            count, share = _count(run.step.name, run.step.done, run.step.total)
            lines.append(StepLine(name, RUNNING, share, count))
        else:
            lines.append(StepLine(name, WAITING, 0.0, ""))
    return Progress(run.run_id, RUNNING, sentence, tuple(lines), has_ended=False)


def of_run(row: dict[str, Any], now: datetime) -> Progress:
    """A run by its row: requested, active without recorded progress, or ended."""
    run_id, state = row["id"], row["state"]
    if state == RunState.REQUESTED:
        waited = words.lasted(now - row["requested_at"])
        sentence = f"Run {run_id:,} was requested {waited} ago and has not begun."
        return Progress(run_id, WAITING, sentence, (), has_ended=False)
    if state == RunState.RUNNING:
        return Progress(run_id, RUNNING, f"Run {run_id:,} has begun.", (), has_ended=False)
    took = words.duration(row["finished_at"] - (row["started_at"] or row["finished_at"]))
    if state == RunState.FAILED:
        error = row["error"] or {}
        sentence = f"Run {run_id:,} failed after {took}: {error.get('message', '')}"
        return Progress(run_id, FAILED, sentence, (), has_ended=True)
    sentence = f"Run {run_id:,} succeeded in {took}. {_result(Counts.from_dict(row['counts']))}"
    return Progress(run_id, _SUCCEEDED, sentence, (), has_ended=True)


def _result(counts: Counts) -> str:
    """What the run changed, in a sentence."""
    if not counts.objects_changed and not counts.rows_read:
        return f"It found no change in {words.counted(counts.objects_listed, 'object')}."
    parts = [
        f"{value:,} {name}"
        for name, value in (
            ("inserted", counts.rows_inserted),
            ("updated", counts.rows_updated),
            ("restored", counts.rows_restored),
            ("retired", counts.rows_retired),
            ("unchanged", counts.rows_unchanged),
            ("rejected", counts.rows_rejected),
        )
        if value
    ]
    read = f"It read {words.counted(counts.rows_read, 'row')}"
    changed = words.counted(counts.objects_changed, "changed object")
    return f"{read} of {changed}: {', '.join(parts)}." if parts else f"{read} of {changed}."


def _shown_step(name: str) -> str:
    return "read" if name == "stage" else name


def _count(name: str, done: int, total: int | None) -> tuple[str, float | None]:
    unit = _UNITS.get(name, "object")
    if not total:
        return words.counted(done, unit), None
    return f"{done:,} of {words.counted(total, unit)}, {words.percent(done, total)}", done / total
