"""What is known of an installation at one moment, from which `overview` says how it is.

`etl.db.overview` reads it. Times are aware; counts are of committed rows and objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from etl.model.values import Trigger


class Part(StrEnum):
    """A server that Bucketline depends on."""

    DATABASE = "database"
    OBJECT_STORE = "object store"


@dataclass(frozen=True, slots=True)
class Outage:
    """A server that does not answer; `since` is None if no run has noticed yet."""

    part: Part
    reason: str
    hint: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunFailure:
    """Why a run failed, or a part of it.

    `datasets` are those that it did not commit, and `committed` the number of those that it did.
    """

    run_id: int
    at: datetime
    message: str
    hint: str = ""
    datasets: tuple[str, ...] = ()
    committed: int = 0


class FileFault(NamedTuple):
    """The faults of the datasets file, one in each line, and what to do."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a run, and what it has done, of how many if that is known."""

    name: str
    done: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that is active. It has no step in its first second."""

    run_id: int
    trigger: Trigger
    started_at: datetime
    step: Step | None = None
    is_canceled: bool = False


@dataclass(frozen=True, slots=True)
class HoldFacts:
    """Retirements that wait for permission: `rows` of `live` rows, of so many objects."""

    dataset: str
    run_id: int
    since: datetime
    rows: int
    live: int
    objects: int


@dataclass(frozen=True, slots=True)
class FaultyObject:
    """An object with open errors: how many of each code, and the rows that were rejected."""

    bucket: str
    key: str
    dataset: str | None
    codes: tuple[tuple[str, int], ...]
    rows_read: int
    rows_rejected: int
    is_refused: bool
    run_id: int
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """The totals of a dataset; `waiting_since` is that of its oldest change that no run checked."""

    name: str
    rows: int = 0
    objects: int = 0
    errors: int = 0
    warnings: int = 0
    changed_at: datetime | None = None
    waiting_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The facts. `faulty` are the first objects with open errors, of `faulty_count`.

    `last_full_at` is when the last full run ended, and `due_at` when the next one is due at the
    latest; None before the first. `settled_at` is the end of the first run after the last that
    failed.
    """

    now: datetime
    bucket: str
    datasets: tuple[DatasetFacts, ...] = ()
    outage: Outage | None = None
    has_scheduler: bool = True
    is_requested: bool = False
    last_full_at: datetime | None = None
    due_at: datetime | None = None
    settled_at: datetime | None = None
    last_commit_at: datetime | None = None
    running: ActiveRun | None = None
    failed_run: RunFailure | None = None
    failed_datasets: tuple[RunFailure, ...] = ()
    datasets_file: FileFault | None = None
    unpublished: RunFailure | None = None
    holds: tuple[HoldFacts, ...] = ()
    faulty: tuple[FaultyObject, ...] = ()
    faulty_count: int = 0
