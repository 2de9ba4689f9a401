"""The sentence about an installation, and what follows it."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from etl.model.phrases import Phrase, ShownTime, counted, listed, phrase, span
from etl.model.snapshot import Part
from etl.model.values import Trigger

if TYPE_CHECKING:
    from datetime import datetime

    from etl.model.snapshot import ActiveRun, HoldFacts, Outage, RunFailure, Snapshot

LATE_AFTER = timedelta(seconds=60)  # a tick may wait for the run before it
BRIEF = timedelta(seconds=2)  # event runs that end within it are not worth a sentence
_VERBS = {"list": "listing", "read": "reading", "stage": "reading", "publish": "publishing"}
_NOUNS = {"list": "object", "publish": "file"}


class OverviewState(StrEnum):
    """The state that the sentence is about: the first of these that applies."""

    DOWN = "down"
    LATE = "late"
    FAILED = "failed"
    HELD = "held"
    ERRORS = "errors"
    RUNNING = "running"
    WAITING = "waiting"
    EMPTY = "empty"
    IN_SYNC = "in-sync"


class Said(NamedTuple):
    """The state, a title of a few words, and the sentence."""

    state: OverviewState
    title: str
    sentence: Phrase


def said(found: Snapshot) -> Said:  # noqa: PLR0911 - one for each state
    """The sentence of the first state that applies, in the order of `OverviewState`."""
    if found.outage is not None:
        return Said(OverviewState.DOWN, *_down(found.outage, found.now))
    if found.due_at is not None and is_late(found):
        return Said(OverviewState.LATE, "Late", _late(found.last_full_at, found.due_at))
    failed = _failed(found)
    if failed is not None:
        return Said(OverviewState.FAILED, *failed)
    if found.holds:
        return Said(OverviewState.HELD, *_held(found.holds, found.faulty_count))
    since = _since(found)
    if found.faulty_count:
        title = f"{counted(found.faulty_count, 'object')} with errors"
        need = _need_attention(found.faulty_count)
        start = () if since is None else ("In sync since ", ShownTime(since), ". ")
        return Said(OverviewState.ERRORS, title, phrase(*start, need))
    run = shown_run(found)
    if run is not None:
        step = run.step
        title = f"Running: {step.done / step.total:.0%}" if step and step.total else "Running"
        return Said(OverviewState.RUNNING, title, phrase(progress_text(run)))
    if since is None:
        return Said(OverviewState.WAITING, "Waiting", phrase("No run has committed yet."))
    if not any(one.rows or one.objects for one in found.datasets):
        lead = "Everything is running. " if found.has_scheduler else ""
        text = f"{lead}{found.bucket} is empty."
        return Said(OverviewState.EMPTY, "Nothing to load yet", phrase(text))
    sentence = phrase("All in sync since ", ShownTime(since), ".")
    return Said(OverviewState.IN_SYNC, "In sync", sentence)


def is_late(found: Snapshot) -> bool:
    """Whether a full run was due and has not begun."""
    return (
        found.due_at is not None and found.running is None and found.now - found.due_at > LATE_AFTER
    )


def shown_run(found: Snapshot) -> ActiveRun | None:
    """The active run, unless it is an event run that has just begun."""
    run = found.running
    is_brief = (
        run is not None and run.trigger is Trigger.EVENT and found.now - run.started_at <= BRIEF
    )
    return None if is_brief else run


def progress_text(run: ActiveRun) -> str:
    """What an active run does: `Full run in progress: reading 318 of 521 changed objects.`."""
    kind = "Event run" if run.trigger is Trigger.EVENT else "Full run"
    if run.is_canceled:
        return f"{kind} is being canceled."
    step = run.step
    if step is None:
        return f"{kind} in progress."
    if step.name == "merge":
        return f"{kind} in progress: committing."
    noun = _NOUNS.get(step.name, "changed object")
    done = counted(step.done, noun)
    if step.total:
        done = f"{step.done:,} of {counted(step.total, noun)}"
    return f"{kind} in progress: {_VERBS.get(step.name, step.name)} {done}."


def _down(outage: Outage, now: datetime) -> tuple[str, Phrase]:
    title = f"{outage.part.capitalize()} down"
    if outage.since is None:
        return title, phrase(f"The {outage.part} does not answer.")
    since, ago = ShownTime(outage.since, has_seconds=True), f", {span(now - outage.since)} ago."
    return title, phrase(f"The {outage.part} has not answered since ", since, ago)


def _late(last: datetime | None, due: datetime) -> Phrase:
    if last is None:
        return phrase("No full run yet; one was due at ", ShownTime(due), ".")
    return phrase("No full run since ", ShownTime(last), "; one was due at ", ShownTime(due), ".")


def _failed(found: Snapshot) -> tuple[str, Phrase] | None:
    """The worst failure: of a run, of datasets, of the datasets file or of publishing."""
    if found.failed_run is not None:
        return _failed_run(found.failed_run)
    if found.failed_datasets:
        names = listed([name for one in found.failed_datasets for name in one.datasets])
        first = min(found.failed_datasets, key=lambda one: one.at)
        start = f"Runs have not committed {names} since run {first.run_id:,} at "
        return f"Failed: {names}", phrase(start, ShownTime(first.at), ".")
    if found.datasets_file is not None:
        text = "The datasets file has a fault; runs use the declarations from before."
        return "Failed: datasets file", phrase(text)
    if found.unpublished is not None:
        text = f"Run {found.unpublished.run_id:,} committed, but could not publish the output."
        return "Failed: output", phrase(text)
    return None


def _failed_run(run: RunFailure) -> tuple[str, Phrase]:
    outcome = "Nothing was changed."
    if run.committed:
        outcome = f"{listed(run.datasets)} failed; {counted(run.committed, 'dataset')} committed."
    start = f"Run {run.run_id:,} failed at "
    return f"Failed: run {run.run_id:,}", phrase(start, ShownTime(run.at), f". {outcome}")


def _held(holds: tuple[HoldFacts, ...], faulty: int) -> tuple[str, Phrase]:
    first, *others = holds
    each = [f"{counted(first.rows, 'retirement')} of {first.dataset}"]
    each += [f"{one.rows:,} of {one.dataset}" for one in others]
    verb = "is" if sum(one.rows for one in holds) == 1 else "are"
    need = f" {_need_attention(faulty)}" if faulty else ""
    title = f"Held: {listed([one.dataset for one in holds])}"
    return title, phrase(f"{listed(each)} {verb} held.{need}")


def _need_attention(count: int) -> str:
    return f"{counted(count, 'object')} {'needs' if count == 1 else 'need'} attention."


def _since(found: Snapshot) -> datetime | None:
    """Since when all has been in sync: the last change, or the run that followed a failure."""
    times = [one.changed_at for one in found.datasets] + [found.settled_at]
    if found.last_commit_at is None:
        return None
    return max((one for one in times if one is not None), default=found.last_commit_at)


# -- what follows


def of_outage(outage: Outage, served_as_of: datetime | None) -> list[Phrase]:
    """What an outage costs, and how it ends."""
    parts = [phrase(f"{outage.reason.removesuffix('.')}.")]
    if outage.part is Part.DATABASE:
        parts.append(phrase("Until it answers, no row can be read and no run can begin."))
    elif served_as_of is not None:
        served = ShownTime(served_as_of)
        parts.append(phrase("Rows are served as of ", served, "; nothing is lost."))
    parts.append(phrase("Work resumes when it answers, with a full run."))
    return parts


def next_run(found: Snapshot) -> list[Phrase]:
    """When the next full run begins, or why none does."""
    if not found.has_scheduler:
        text = "No scheduler is running: `./run.sh up` or `./run.sh schedule` starts one."
        return [phrase(text)]
    if found.is_requested:
        return [phrase("A full run is requested.")]
    if found.due_at is None or is_late(found):
        return []
    left = found.due_at - found.now
    in_time = f"in {span(left)}" if left > timedelta() else "now"
    return [phrase(f"Next full run {in_time}, at ", ShownTime(found.due_at), ".")]


def active_run(run: ActiveRun, now: datetime) -> Phrase:
    """How long a run has been active, and when its rows become visible."""
    time = span(now - run.started_at)
    end = "Rows become visible together, when it commits."
    return phrase(f"Run {run.run_id:,} has been running for {time}. {end}")
