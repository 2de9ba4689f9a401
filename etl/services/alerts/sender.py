"""The sender: a scheduler thread that delivers alerts to ALERT_URL, one process at a time.

An alert is marked as sent after the receiver has accepted it, so that delivery is at least once: a
process that is killed in between sends it again, with the same id.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from etl.db import alerts
from etl.db.engine import connect_unpooled, driver, listen, schemas_of, translating
from etl.db.names import NotifyChannel, alerts_key
from etl.model.alerts import AlertEvent
from etl.model.errors import AlertRejected, DatabaseUnavailable, EtlError, ReceiverUnavailable
from etl.runtime.backoff import Backoff
from etl.runtime.logs import get_logger
from etl.runtime.service import ServiceLoop, in_thread
from etl.services.alerts.receiver import Receiver
from etl.services.alerts.texts import message

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from etl.model.alerts import Alert
    from etl.services.alerts.unrecorded import UnrecordedFailures
    from etl.settings import Settings

log = get_logger("etl.alerts")

POLL_SECONDS = 5.0  # for what is late, and for failures that only this process knows
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0
GIVE_UP_AFTER = timedelta(days=1)
START_SECONDS = 600.0  # the time that a first run may take after a break
STOP_SECONDS = 2.0
PAGE = 20


class AlertSender(ServiceLoop):
    """Sends alerts until stop(): those of the database, and those of this process."""

    def __init__(  # noqa: PLR0913 - tests shorten each
        self,
        settings: Settings,
        receiver: Receiver,
        unrecorded: UnrecordedFailures,
        *,
        poll_seconds: float = POLL_SECONDS,
        first_retry_seconds: float = FIRST_RETRY_SECONDS,
        start_seconds: float = START_SECONDS,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._receiver = receiver
        self._unrecorded = unrecorded
        self._poll_seconds = poll_seconds
        self._engine: Engine = connect_unpooled(settings)
        self._retry = Backoff(first_retry_seconds, LAST_RETRY_SECONDS)
        self._rejected: set[int] = set()
        self._rejected_retry = Backoff(first_retry_seconds, LAST_RETRY_SECONDS)
        self._checks_late_at = time.monotonic() + min(
            start_seconds, settings.late_after.total_seconds()
        )

    def serve(self) -> None:
        """Send what is pending, then wait for more, on one database connection."""
        self._rejected_retry.reset()
        with translating(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            listen(connection, NotifyChannel.ALERT)
            listened, is_mine = driver(connection), False
            while not self.stopping.is_set():
                is_mine = is_mine or self._lock(connection)
                if is_mine:
                    self._find_late(connection)
                self._send_all(connection if is_mine else None)
                self.stopping.wait(self._seconds_left(), listened)
                listened.poll()
                listened.notifies.clear()

    def handle_failure(self, error: Exception) -> float:
        """Log the failure; send what this process knows without the database."""
        if not isinstance(error, DatabaseUnavailable):
            log.error("sending alerts failed; will retry", exc_info=error)  # a bug of ours
        self._send_all(None)
        return self._seconds_left()

    def _seconds_left(self) -> float:
        """Until the next attempt or check."""
        retry = self._retry if self._retry.is_armed() else self._rejected_retry
        return max(0, min(self._poll_seconds, retry.seconds_left()))

    def _lock(self, connection: Connection) -> bool:
        """Whether this process is the one that sends, until the connection ends."""
        key = alerts_key(schemas_of(self._engine).state)
        return bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}))

    def _find_late(self, connection: Connection) -> None:
        """Open or end the incident of what is late, if that changed."""
        if time.monotonic() < self._checks_late_at:
            return
        after = self._settings.late_after
        publish_after = after + self._settings.publish_interval
        found = alerts.late(connection, late_after=after, publish_after=publish_after)
        if (found is not None) != alerts.is_open(connection, AlertEvent.LATE):
            incidents = [] if found is None else [found]
            alerts.settle(connection, incidents, complete=[AlertEvent.LATE])

    # -- sending

    def _send_all(self, connection: Connection | None) -> None:
        """Send what is pending, in order, unless the receiver was just found unavailable."""
        if self._retry.is_waiting():
            return
        try:
            self._send_unrecorded()
            if connection is not None:
                self._send_recorded(connection)
        except ReceiverUnavailable:
            self._retry.arm()
        else:
            self._retry.reset()

    def _send_unrecorded(self) -> None:
        """Send the alerts that are not in the database.

        Raises:  ReceiverUnavailable.
        """
        while not self.stopping.is_set() and (alert := self._unrecorded.next()):
            try:
                self._send(alert)
            except (AlertRejected, ReceiverUnavailable) as error:
                if datetime.now(UTC) - alert.at < GIVE_UP_AFTER:
                    raise ReceiverUnavailable(error.message) from error
                log.error("gave up an alert", alert_event=alert.event, reason=error.message)
            self._unrecorded.sent()

    def _send_recorded(self, connection: Connection) -> None:
        """Send the alerts of the database. One that is rejected is retried, and delays no others.

        Raises:  ReceiverUnavailable.
        """
        for one in alerts.give_up(connection, GIVE_UP_AFTER):
            log.error("gave up an alert", alert_event=one["event"], reason=one["last_error"])
        skipped = self._rejected if self._rejected_retry.is_waiting() else set()
        rejected, after = set(skipped), 0
        while page := alerts.pending(connection, after, PAGE):
            for alert_id, alert in page:
                if self.stopping.is_set():
                    return
                after = alert_id
                if alert_id not in skipped and not self._is_accepted(connection, alert_id, alert):
                    rejected.add(alert_id)
        if rejected - skipped:
            self._rejected_retry.arm()
        elif not rejected:
            self._rejected_retry.reset()
        self._rejected = rejected

    def _is_accepted(self, connection: Connection, alert_id: int, alert: Alert) -> bool:
        """Send the alert and record what came of it.

        Raises:  ReceiverUnavailable.
        """
        try:
            self._send(alert)
        except (AlertRejected, ReceiverUnavailable) as error:
            alerts.record_failed(connection, alert_id, error.message)
            if isinstance(error, ReceiverUnavailable):
                raise
            return False
        alerts.record_sent(connection, alert_id)
        return True

    def _send(self, alert: Alert) -> None:
        try:
            self._receiver.send(message(alert, self._settings.public_url))
        except EtlError as error:
            log.warning(
                "could not send an alert; will retry",
                alert_event=alert.event,
                reason=error.message,
                hint=error.hint,
            )
            raise
        log.info("sent an alert", alert_event=alert.event, run=alert.run_id)


def alerting(settings: Settings, unrecorded: UnrecordedFailures) -> AbstractContextManager[None]:
    """Send alerts in a thread while the block runs, if ALERT_URL is set."""
    receiver = Receiver.of(settings)
    if receiver is None:
        return nullcontext()
    return in_thread(AlertSender(settings, receiver, unrecorded), "alerts", STOP_SECONDS)
