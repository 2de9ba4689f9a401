"""States as pages show them: a shape, a word and, only where someone must act, a tint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from etl.model.values import ObjectState, RunOutcome, RunState, Severity


class StateShape(StrEnum):
    """The shape and color of a state; the values are classes of the style sheet."""

    OK = "ok"  # disc
    WARNING = "warn"  # triangle
    FAILED = "bad"  # cross
    HELD = "held"  # pause
    RUNNING = "run"  # arrow
    WAITING = "idle"  # ring
    IGNORED = "off"  # dash


_TINTED = (StateShape.WARNING, StateShape.FAILED, StateShape.HELD, StateShape.RUNNING)


@dataclass(frozen=True, slots=True)
class ShownState:
    """A shape with its word."""

    shape: StateShape
    word: str

    @property
    def is_tinted(self) -> bool:
        """Whether someone must act, or something moves."""
        return self.shape in _TINTED


IN_SYNC = ShownState(StateShape.OK, "In sync")
HELD = ShownState(StateShape.HELD, "Held")
RUNNING = ShownState(StateShape.RUNNING, "Running")
FAILED = ShownState(StateShape.FAILED, "Failed")
WAITING = ShownState(StateShape.WAITING, "Waiting")
DOWN = ShownState(StateShape.FAILED, "Down")
UNKNOWN = ShownState(StateShape.WAITING, "Unknown")
LATE = ShownState(StateShape.WARNING, "Late")
ERROR = ShownState(StateShape.FAILED, "Error")
WARNING = ShownState(StateShape.WARNING, "Warning")
REACHABLE = ShownState(StateShape.OK, "Reachable")
READY = ShownState(StateShape.OK, "Ready")
LISTENING = ShownState(StateShape.OK, "Listening")
CURRENT = ShownState(StateShape.OK, "Current")
NOT_RUNNING = ShownState(StateShape.FAILED, "Not running")
HANDLED = ShownState(StateShape.OK, "Handled")
UNCHANGED = ShownState(StateShape.OK, "No change")
REFUSED = ShownState(StateShape.FAILED, "Refused")
LOADED = ShownState(StateShape.OK, "Loaded")
NOT_USED = ShownState(StateShape.WARNING, "Not used")
IGNORED = ShownState(StateShape.IGNORED, "Ignored")
ADDS_UP = ShownState(StateShape.OK, "adds up")
OFF = ShownState(StateShape.FAILED, "does not add up")
NOT_DECLARED = ShownState(StateShape.WARNING, "not declared")
LIVE = ShownState(StateShape.OK, "Live")

_OUTCOMES = {
    RunState.REQUESTED: WAITING,
    RunState.RUNNING: RUNNING,
    RunOutcome.SUCCEEDED: ShownState(StateShape.OK, "Succeeded"),
    RunOutcome.HELD: HELD,
    RunOutcome.FAILED: FAILED,
    RunOutcome.INTERRUPTED: ShownState(StateShape.FAILED, "Interrupted"),
    RunOutcome.CANCELED: ShownState(StateShape.IGNORED, "Canceled"),
}
_SEVERITIES = {Severity.ERROR: ERROR, Severity.WARNING: WARNING}


def of_run(outcome: str) -> ShownState:
    """The state of a run: a RunOutcome, or its RunState while it has not ended."""
    return _OUTCOMES[RunOutcome(outcome) if outcome in list(RunOutcome) else RunState(outcome)]


def of_problem(severity: str) -> ShownState:
    """The state of a problem."""
    return _SEVERITIES[Severity(severity)]


def of_object(state: str, rows_rejected: int) -> ShownState:
    """The state of a source object of a dataset."""
    if state == ObjectState.QUARANTINED:
        return ShownState(StateShape.FAILED, "Refused")
    if rows_rejected:
        rows = "row" if rows_rejected == 1 else "rows"
        return ShownState(StateShape.FAILED, f"Loaded, {rows_rejected:,} {rows} rejected")
    return LOADED
