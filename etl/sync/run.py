"""One run in progress: what its steps share."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.values import Trigger
from etl.sync.progress import RunProgress
from etl.sync.stats import RunStats
from etl.sync.successor import Successors

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from etl.db.runs import Allowed
    from etl.model.dataset import Dataset
    from etl.model.errors import EtlError
    from etl.sync.preview import Preview
    from etl.sync.rebuild import Rebuild


def no_progress(_step: str, _done: int) -> None:
    """Discard the progress."""


@dataclass(frozen=True)
class CurrentRun:
    """A run and its counters.

    `connection` holds the run lock, and every write of the run uses it. `trigger` is None for
    a publish between runs. `allowed_retirements` are the rows by dataset that it may retire at
    once; None for any number. `failures` are the datasets that it cannot read, which stay as they
    are. So do all datasets but those in `only`, unless it is None. `successors` are the tables
    that have rows instead of staging. A `preview` collects what the run changes; nothing is
    committed. A `rebuild` is that of the only dataset of the run. Other processes see its
    `progress`. With `has_alerts`, incidents are recorded. `recorded` has the run's error once it
    is stored.
    """

    id: int
    trigger: Trigger | None
    connection: Connection
    stats: RunStats = field(default_factory=RunStats)
    allowed_retirements: Allowed = field(default_factory=dict)
    failures: dict[str, EtlError] = field(default_factory=dict)
    skipped_buckets: set[str] = field(default_factory=set)
    successors: Successors = field(default_factory=Successors)
    only: frozenset[str] | None = None
    preview: Preview | None = None
    rebuild: Rebuild | None = None
    progress: RunProgress = field(default_factory=lambda: RunProgress(None, 0, no_progress))
    has_alerts: bool = False
    recorded: deque[Exception] = field(default_factory=deque)

    @property
    def is_full(self) -> bool:
        """Whether the run lists the buckets, so that it knows all changes."""
        return self.trigger is not Trigger.EVENT

    def leaves_out(self, dataset: Dataset) -> bool:
        """Whether the run leaves the dataset as it is, because it is paused or not asked for."""
        return dataset.is_paused or (self.only is not None and dataset.name not in self.only)
