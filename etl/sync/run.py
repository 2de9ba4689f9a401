"""One run in progress: what its steps share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.sync.stats import RunStats

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from etl.db.runs import Allowed
    from etl.model.values import Trigger


@dataclass(frozen=True)
class CurrentRun:
    """A run and its counters.

    `connection` holds the run lock, and every write of the run uses it. `trigger` is None for
    a publish between runs. `allowed_retirements` are the rows by dataset that it may retire at
    once; None for any number.
    """

    id: int
    trigger: Trigger | None
    connection: Connection
    stats: RunStats = field(default_factory=RunStats)
    allowed_retirements: Allowed = field(default_factory=dict)
