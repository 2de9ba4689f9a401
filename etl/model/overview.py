"""How an installation is: one sentence, what needs attention (worst first), and each dataset.

`overview` is the only place that decides this; `status`, `watch` and the dashboard show it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from etl.model.attention import AttentionItem, attention
from etl.model.phrases import Phrase, ShownTime, counted, listed, phrase, span
from etl.model.sentences import (
    OverviewState,
    active_run,
    is_late,
    next_run,
    of_outage,
    progress_text,
    said,
    shown_run,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from etl.model.snapshot import ActiveRun, DatasetFacts, Snapshot


class DatasetState(StrEnum):
    """The state of a dataset, in the words that are shown."""

    UNKNOWN = "Unknown"
    FAILED = "Failed"
    HELD = "Held"
    LATE = "Late"
    WAITING = "Waiting"
    IN_SYNC = "In sync"


_BEHIND = (DatasetState.HELD, DatasetState.FAILED)


@dataclass(frozen=True, slots=True)
class DatasetLine:
    """A dataset: its totals, and its lag.

    `since` is when its state began, if that is known. `lag` is None if the state is unknown for an
    unknown time; if `is_lag_minimum`, it may be longer.
    """

    name: str
    state: DatasetState
    since: datetime | None
    rows: int
    objects: int
    held_objects: int
    errors: int
    warnings: int
    changed_at: datetime | None
    lag: timedelta | None
    is_lag_minimum: bool = False


@dataclass(frozen=True, slots=True)
class Overview:
    """What is shown: the sentence and its details, what needs attention, and the datasets.

    `attention` has the first items of `attention_count`, worst first. `title` is the state in a few
    words. `next_run_at` is when the next full run begins at the latest.
    """

    state: OverviewState
    title: str
    sentence: Phrase
    details: tuple[Phrase, ...]
    attention: tuple[AttentionItem, ...]
    attention_count: int
    datasets: tuple[DatasetLine, ...]
    next_run_at: datetime | None
    as_of: datetime
    running: ActiveRun | None = None

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON: sentences as text, times as datetimes, `lag` as `lag_seconds`."""
        return {
            "state": self.state,
            "title": self.title,
            "sentence": self.sentence.text(self.as_of),
            "details": [one.text(self.as_of) for one in self.details],
            "attention": [one._asdict() for one in self.attention],
            "attention_count": self.attention_count,
            "datasets": [_dataset_dict(one) for one in self.datasets],
            "next_run_at": self.next_run_at,
            "running": None if self.running is None else asdict(self.running),
            "as_of": self.as_of,
        }


def overview(found: Snapshot) -> Overview:
    """What to say about these facts."""
    state, title, sentence = said(found)
    items = attention(found, is_late=is_late(found))
    lines = tuple(_line(one, found) for one in found.datasets)
    return Overview(
        state=state,
        title=title,
        sentence=sentence,
        details=tuple(_details(found, state, lines)),
        attention=items,
        attention_count=len(items) + found.faulty_count - len(found.faulty),
        datasets=lines,
        next_run_at=found.due_at if found.has_scheduler and not is_late(found) else None,
        as_of=found.now,
        running=found.running,
    )


# -- what follows the sentence


def _details(found: Snapshot, state: OverviewState, lines: Sequence[DatasetLine]) -> list[Phrase]:
    """What the state costs, and what happens next."""
    if found.outage is not None:
        return of_outage(found.outage, found.last_commit_at)
    parts: list[Phrase] = []
    if found.failed_run is not None and state is OverviewState.FAILED:
        parts.append(phrase(found.failed_run.message))
    parts += _behind(lines, found.now)
    if state is OverviewState.IN_SYNC:
        rows = sum(one.rows for one in found.datasets)
        totals = f"{counted(len(found.datasets), 'dataset')}, {counted(rows, 'row')}."
        parts.append(phrase(f"{totals} Nothing needs attention."))
    run = shown_run(found)
    if run is not None:
        is_said = state is OverviewState.RUNNING
        parts.append(active_run(run, found.now) if is_said else phrase(progress_text(run)))
    return [*parts, *next_run(found)]


def _behind(lines: Sequence[DatasetLine], now: datetime) -> list[Phrase]:
    """Which datasets are out of sync, and which are in sync; nothing if all are in sync."""
    late = [(one.name, one.since) for one in lines if one.state in _BEHIND]
    if not late:
        return []
    current = [one.name for one in lines if one.state is DatasetState.IN_SYNC]
    verb = "is" if len(current) == 1 else "are"
    parts = [phrase(f"{listed(current)} {verb} in sync.")] if current else []
    for name, since in late:
        if since is not None:
            end = f" ({span(now - since)}) and still serves all its rows."
            parts.append(phrase(f"{name} has been out of sync since ", ShownTime(since), end))
    return parts


# -- the datasets


def _line(one: DatasetFacts, found: Snapshot) -> DatasetLine:
    state, since = _dataset_state(one, found)
    is_known = state is DatasetState.IN_SYNC
    began = [time for time in (None if is_known else since, one.waiting_since) if time is not None]
    is_unknown = state is DatasetState.WAITING or not (began or is_known)
    hold = next((held for held in found.holds if held.dataset == one.name), None)
    return DatasetLine(
        name=one.name,
        state=state,
        since=since,
        rows=one.rows,
        objects=one.objects,
        held_objects=0 if hold is None else hold.objects,
        errors=one.errors,
        warnings=one.warnings,
        changed_at=one.changed_at,
        lag=None if is_unknown else found.now - min(began, default=found.now),
        is_lag_minimum=state in {DatasetState.UNKNOWN, DatasetState.LATE} and not is_unknown,
    )


def _dataset_state(one: DatasetFacts, found: Snapshot) -> tuple[DatasetState, datetime | None]:
    """The state of a dataset, and since when."""
    if found.outage is not None:
        return DatasetState.UNKNOWN, found.outage.since
    failed = [failure.at for failure in found.failed_datasets if one.name in failure.datasets]
    if failed:
        return DatasetState.FAILED, min(failed)
    held = [hold.since for hold in found.holds if hold.dataset == one.name]
    if held:
        return DatasetState.HELD, min(held)
    if found.last_commit_at is None:
        return DatasetState.WAITING, None
    if is_late(found):
        return DatasetState.LATE, found.due_at
    return DatasetState.IN_SYNC, one.changed_at or found.last_commit_at


def _dataset_dict(line: DatasetLine) -> dict[str, Any]:
    """A line for JSON: its state as `in-sync`, and its lag in seconds."""
    found = asdict(line)
    lag = found.pop("lag")
    found["state"] = line.state.lower().replace(" ", "-")
    return found | {"lag_seconds": None if lag is None else lag.total_seconds()}
