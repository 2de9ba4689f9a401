"""What a run came to: its ending as a sentence, and what a list of runs says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from etl.model.phrases import counted, listed
from etl.model.values import RunOutcome, RunState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etl.model.values import RunReport


class RunTotals(NamedTuple):
    """The objects that changed, and the rows read, changed and rejected."""

    objects: int
    rows_read: int
    rows_changed: int
    rows_rejected: int


def ending(run: RunReport, outcome: str, took: str) -> str:
    """How a run ended, or that it has not: `Run 8,131 succeeded in 9.84 s.`.

    `outcome` is its RunOutcome, or its state while it has none; `took` its time with the unit.
    """
    name = f"Run {run.id:,}"
    if run.state is RunState.REQUESTED:
        return f"{name} is requested, and has not begun."
    if run.state is RunState.RUNNING:
        return f"{name} is active."
    if outcome == RunOutcome.CANCELED:
        return f"{name} was canceled. Nothing was changed."
    if run.state is RunState.SUCCEEDED:
        held = run.counts.retirements_held
        rest = f"; {counted(held, 'retirement')} held." if held else "."
        return f"{name} succeeded in {took}{rest}"
    facts = run.error.get("facts") if run.error else None
    committed = facts.get("committed") if isinstance(facts, dict) else None
    if committed:
        return f"{name} failed after {took}. Committed: {committed}."
    return f"{name} failed after {took}. Nothing was changed."


def totals(counts: Mapping[str, int]) -> RunTotals | None:
    """The totals of a run by its counts; None if it has recorded none."""
    if not counts:
        return None
    changes = ("inserted", "updated", "restored", "retired")
    return RunTotals(
        sum(counts.get(f"objects_{name}", 0) for name in ("added", "modified", "removed")),
        counts.get("rows_read", 0),
        sum(counts.get(f"rows_{name}", 0) for name in changes),
        counts.get("rows_rejected", 0),
    )


def held_datasets(dataset_counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The datasets of which a run held retirements."""
    return [name for name, one in dataset_counts.items() if one.get("retirements_held")]


def note(run: Mapping[str, Any]) -> str:
    """Why a run failed, what it held or what no event had reported; run: its columns."""
    error, counts = run["error"], run["counts"]
    if error is not None:
        return str(error["message"]).splitlines()[0]
    if counts.get("retirements_held"):
        names = listed(held_datasets(run["dataset_counts"]))
        of = f" of {names}" if names else ""
        return f"{counted(counts['retirements_held'], 'retirement')}{of} held"
    if counts.get("found_by_reconcile"):
        return f"{counted(counts['found_by_reconcile'], 'change')} that no event reported"
    return ""
