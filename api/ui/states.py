"""States as pages show them: a shape, a word and, only where someone must act, a tint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from etl.model.values import ObjectState, RunOutcome, RunState, Severity


class Shape(StrEnum):
    """The shape and color of a state; the values are classes of the style sheet."""

    OK = "ok"  # disc
    WARNING = "warn"  # triangle
    FAILED = "bad"  # cross
    HELD = "held"  # pause
    RUNNING = "run"  # arrow
    WAITING = "idle"  # ring
    IGNORED = "off"  # dash


_TINTED = (Shape.WARNING, Shape.FAILED, Shape.HELD, Shape.RUNNING)


@dataclass(frozen=True, slots=True)
class State:
    """A shape with its word."""

    shape: Shape
    word: str

    @property
    def is_tinted(self) -> bool:
        """Whether someone must act, or something moves."""
        return self.shape in _TINTED


IN_SYNC = State(Shape.OK, "In sync")
HELD = State(Shape.HELD, "Held")
RUNNING = State(Shape.RUNNING, "Running")
FAILED = State(Shape.FAILED, "Failed")
WAITING = State(Shape.WAITING, "Waiting")
DOWN = State(Shape.FAILED, "Down")
UNKNOWN = State(Shape.WAITING, "Unknown")
LATE = State(Shape.WARNING, "Late")
ERROR = State(Shape.FAILED, "Error")
WARNING = State(Shape.WARNING, "Warning")
REACHABLE = State(Shape.OK, "Reachable")
READY = State(Shape.OK, "Ready")
LISTENING = State(Shape.OK, "Listening")
CURRENT = State(Shape.OK, "Current")
NOT_RUNNING = State(Shape.FAILED, "Not running")
ADDS_UP = State(Shape.OK, "adds up")

_OUTCOMES = {
    RunState.REQUESTED: WAITING,
    RunState.RUNNING: RUNNING,
    RunOutcome.SUCCEEDED: State(Shape.OK, "Succeeded"),
    RunOutcome.HELD: HELD,
    RunOutcome.FAILED: FAILED,
    RunOutcome.INTERRUPTED: State(Shape.FAILED, "Interrupted"),
    RunOutcome.CANCELED: State(Shape.IGNORED, "Canceled"),
}
_SEVERITIES = {Severity.ERROR: ERROR, Severity.WARNING: WARNING}


def of_run(outcome: str) -> State:
    """The state of a run: a RunOutcome, or its RunState while it has not ended."""
    return _OUTCOMES[RunOutcome(outcome) if outcome in list(RunOutcome) else RunState(outcome)]


def of_problem(severity: str) -> State:
    """The state of a problem."""
    return _SEVERITIES[Severity(severity)]


def of_object(state: str, rows_rejected: int) -> State:
    """The state of a source object of a dataset."""
    if state == ObjectState.QUARANTINED:
        return State(Shape.FAILED, "Refused")
    if rows_rejected:
        rows = "row" if rows_rejected == 1 else "rows"
        return State(Shape.FAILED, f"Loaded, {rows_rejected:,} {rows} rejected")
    return State(Shape.OK, "Loaded")
