"""Failures that no run could record, because the database is down: known to this process only."""

from __future__ import annotations

import time
import uuid
from collections import deque
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from etl.model.alerts import Alert, AlertEvent
from etl.model.errors import EtlError
from etl.sync.recording import as_bug

if TYPE_CHECKING:
    from collections.abc import Mapping

GRACE_SECONDS = 30.0  # restarts of PostgreSQL are shorter
MOST_ALERTS = 100


class UnrecordedFailures:
    """Makes one alert when runs have failed for a while, and one when they work again.

    The scheduler reports to it, and the sender sends the alerts. Safe to share between threads.
    """

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._lock = Lock()
        self._incident: Mapping[str, object] | None = None
        self._alert_at = 0.0
        self._has_alert = False
        self._alerts = deque[Alert](maxlen=MOST_ALERTS)

    def began(self, error: Exception) -> None:
        """The scheduler cannot make or record a run; called with each such error."""
        with self._lock:
            if self._incident is None:
                self._incident = {
                    "dataset": "",
                    "code": "",
                    "since": datetime.now(UTC).isoformat(),
                    "error": error.as_dict() if isinstance(error, EtlError) else as_bug(error),
                }
                self._alert_at = time.monotonic() + self._grace_seconds

    def ended(self) -> None:
        """A run was made, or why it failed was recorded."""
        with self._lock:
            if self._has_alert:
                self._add(AlertEvent.RECOVERED, AlertEvent.RUN_FAILED)
            self._incident, self._has_alert = None, False

    def next(self) -> Alert | None:
        """The oldest alert to be sent; it remains until `sent`."""
        with self._lock:
            is_due = self._incident is not None and time.monotonic() >= self._alert_at
            if is_due and not self._has_alert:
                self._add(AlertEvent.RUN_FAILED)
                self._has_alert = True
            return self._alerts[0] if self._alerts else None

    def sent(self) -> None:
        """The oldest alert was sent, or is given up."""
        with self._lock:
            self._alerts.popleft()

    def _add(self, event: AlertEvent, recovers: AlertEvent | None = None) -> None:
        incident = self._incident or {}
        self._alerts.append(
            Alert(
                delivery_id=str(uuid.uuid4()),
                event=event,
                at=datetime.now(UTC),
                recovers=recovers,
                incidents=(incident,),
            )
        )
