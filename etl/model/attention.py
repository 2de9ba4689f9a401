"""What needs someone's attention, worst first: one line each, and the command that helps."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from etl.model.phrases import counted, listed
from etl.model.safe_text import printable

if TYPE_CHECKING:
    from datetime import datetime

    from etl.model.snapshot import FaultyObject, HoldFacts, RunFailure, Snapshot


class AttentionKind(StrEnum):
    """Why something needs attention, worst first."""

    OUTAGE = "outage"
    LATE = "late"
    RUN_FAILED = "run-failed"
    DATASET_FAILED = "dataset-failed"
    DATASETS_FILE = "datasets-file"
    NOT_PUBLISHED = "not-published"
    HELD = "held"
    ERROR = "error"


class AttentionItem(NamedTuple):
    """One line. `hint` says what to do; the other fields say where to look."""

    kind: AttentionKind
    text: str
    hint: str = ""
    since: datetime | None = None
    dataset: str | None = None
    run_id: int | None = None
    bucket: str | None = None
    key: str | None = None


def attention(found: Snapshot, *, is_late: bool) -> tuple[AttentionItem, ...]:
    """All items but the objects that the snapshot only counts."""
    items: list[AttentionItem] = []
    if found.outage is not None:
        part, since = found.outage.part, found.outage.since
        text = f"The {part} does not answer: {found.outage.reason}"
        items.append(AttentionItem(AttentionKind.OUTAGE, text, found.outage.hint, since))
    if is_late:
        text = "A full run is due, and none has begun."
        hint = "Check that `./run.sh up` or `./run.sh schedule` is running."
        items.append(AttentionItem(AttentionKind.LATE, text, hint, found.due_at))
    named = {one.run_id for one in found.failed_datasets}
    if found.failed_run is not None and found.failed_run.run_id not in named:
        items.append(_failed(AttentionKind.RUN_FAILED, found.failed_run))
    items += [_failed(AttentionKind.DATASET_FAILED, one) for one in found.failed_datasets]
    if found.datasets_file is not None:
        message, hint = found.datasets_file
        items.append(AttentionItem(AttentionKind.DATASETS_FILE, message, hint))
    if found.unpublished is not None:
        items.append(_failed(AttentionKind.NOT_PUBLISHED, found.unpublished))
    items += [_held(one) for one in sorted(found.holds, key=lambda one: -one.rows)]
    items += [_faulty(one) for one in found.faulty]
    return tuple(items)


def _failed(kind: AttentionKind, one: RunFailure) -> AttentionItem:
    dataset = one.datasets[0] if len(one.datasets) == 1 else None
    names = f"{listed(one.datasets)}: " if len(one.datasets) > 1 else ""
    return AttentionItem(
        kind, f"{names}{one.message}", one.hint, one.at, dataset=dataset, run_id=one.run_id
    )


def _held(one: HoldFacts) -> AttentionItem:
    text = (
        f"{one.rows:,} of {counted(one.live, 'row')} would be retired:"
        f" {counted(one.objects, 'object')} {'is' if one.objects == 1 else 'are'} gone or lost rows"
    )
    hint = (
        f"If that is right, allow it: `./run.sh run --allow-mass-retirement {one.dataset}`. If not,"
        " upload the objects again."
    )
    return AttentionItem(
        AttentionKind.HELD, text, hint, one.since, dataset=one.dataset, run_id=one.run_id
    )


def _faulty(one: FaultyObject) -> AttentionItem:
    codes = ", ".join(f"{count:,} {code}" for code, count in one.codes)
    if one.is_refused:
        what = "refused"
    elif one.rows_rejected:
        what = f"{one.rows_rejected:,} of {counted(one.rows_read, 'row')} rejected"
    else:
        what = counted(sum(count for _, count in one.codes), "error")
    key = shlex.quote(one.key) if printable(one.key) == one.key and "`" not in one.key else "KEY"
    return AttentionItem(
        AttentionKind.ERROR,
        f"{printable(one.key)}: {what}: {codes}",
        f"`./run.sh problems --key {key}` explains each.",
        one.since,
        dataset=one.dataset,
        run_id=one.run_id,
        bucket=one.bucket,
        key=one.key,
    )
