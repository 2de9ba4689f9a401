"""One run in progress: what its steps share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.sync.stats import RunStats

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from etl.model.values import Trigger


@dataclass(frozen=True)
class CurrentRun:
    """A run and its counters.

    `connection` holds the run lock, and every write of the run uses it. `trigger` is None for
    a publish between runs.
    """

    id: int
    trigger: Trigger | None
    connection: Connection
    stats: RunStats = field(default_factory=RunStats)
    allow_mass_retirement: bool = False
