"""Alerts: what is reported to the operator's receiver, and the incidents that they are about.

An incident is a lasting fault, such as an open hold. It has one alert when it begins and one,
`recovered`, when it ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class AlertEvent(StrEnum):
    """What an alert reports."""

    RUN_FAILED = "run-failed"
    RETIREMENT_HELD = "retirement-held"
    NEW_PROBLEMS = "new-problems"
    LATE = "late"
    RECOVERED = "recovered"
    TRIAL = "trial"


class Lateness(StrEnum):
    """What is late, the `reason` of an incident."""

    FULL_RUN = "full-run"
    CHANGES = "changes"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Incident:
    """A fault that lasts: its event, dataset and code identify it.

    `dataset` is empty for a fault of all of them, `code` unless there can be several in a dataset.
    `facts` are shown, and those of the moment at which the incident began.
    """

    event: AlertEvent
    dataset: str = ""
    code: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """The incident as JSON."""
        return {
            "event": self.event,
            "dataset": self.dataset,
            "code": self.code,
            "facts": dict(self.facts),
        }


@dataclass(frozen=True, slots=True)
class Alert:
    """One message: incidents of one event that began, or ended, at the same moment.

    `recovers` is the event of incidents that ended. Each of `incidents` has `dataset`, `code`,
    `since` and its facts. `delivery_id` stays the same when the alert is sent again.
    """

    delivery_id: str
    event: AlertEvent
    at: datetime
    run_id: int | None = None
    recovers: AlertEvent | None = None
    incidents: tuple[Mapping[str, Any], ...] = ()
