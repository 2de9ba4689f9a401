"""The scheduler process: interval, requests and bucket events wake it, and it makes the runs.

APScheduler only ever inserts a request; the runs themselves are made here, one after the
other, by whoever holds the run lock. Several schedulers do no harm: a request is claimed once,
and events that a run has handled are no reason for another.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import Connection, Engine, text

from etl.db import events, runs
from etl.db.engine import connect_unpooled, driver, translating
from etl.db.retention import Retention
from etl.model.errors import (
    DatabaseMisconfigured,
    DatabaseUnavailable,
    EtlError,
    RightMissing,
    RunAlreadyActive,
    TransientError,
)
from etl.model.values import RunReport, Trigger
from etl.runtime.backoff import Backoff
from etl.services.image_worker import watching
from etl.services.kafka import announcing
from etl.services.listener import listening
from etl.settings.values import duration_text
from etl.sync import publish
from etl.sync.manager import DataManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from etl.settings import Settings

log = structlog.get_logger("etl.schedule")

LOOK_EVERY_SECONDS = 5  # the net under NOTIFY
BUSY_RETRY_SECONDS = 1  # another host holds the run lock
FIRST_RETRY_SECONDS = 5
LAST_RETRY_SECONDS = 300
LAST_PUBLISH_RETRY_SECONDS = 60
FIRST_RECONNECT_SECONDS = 0.5
LAST_RECONNECT_SECONDS = 15
BURST = 10  # events in one EVENT_GATHER that make it worth another
MOST_GATHERS = 40


class Scheduler:
    """Makes every run that the interval or a request asks for, until told to stop."""

    def __init__(self, settings: Settings, manager: DataManager) -> None:
        self._settings = settings
        self._manager = manager
        self._engine: Engine = connect_unpooled(settings)
        self._retention = Retention(settings)
        self._wake_read, self._wake_write = os.pipe()
        self._stopping = False
        self._retry = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        self._events_retry = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        self._refused_retry = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        self._publish_retry = Backoff(FIRST_RETRY_SECONDS, LAST_PUBLISH_RETRY_SECONDS)
        self._failed_retry = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)

    def stop(self) -> None:
        """End after the run at hand. Safe in a signal handler and in another thread."""
        self._stopping = True
        os.write(self._wake_write, b".")

    def run_forever(self) -> None:
        """Serve interval, requests and events; wait while the database is down.

        Also wait while the tables have a newer version. A run starts immediately at the beginning
        and after each outage, so that changes since then do not wait for the interval.
        """
        reconnect = Backoff(FIRST_RECONNECT_SECONDS, LAST_RECONNECT_SECONDS)
        with self._ticking():
            while not self._stopping:
                try:
                    with self._listening() as connection:
                        reconnect.reset()
                        self._request()
                        self._serve(connection)
                except RightMissing as error:  # seen only by what a run does
                    _log_waiting(error)
                    self._wait(self._failed_retry.next())
                except DatabaseUnavailable as error:
                    _log_waiting(error)
                    self._wait(reconnect.next())
                except Exception:
                    log.exception("scheduler failed")  # a fault of ours; later runs may succeed
                    self._wait(self._failed_retry.next())

    @contextmanager
    def _ticking(self) -> Iterator[None]:
        """The interval. A tick that comes late still counts, and late ones count as one."""
        ticks = BackgroundScheduler(timezone="UTC")
        ticks.add_job(
            self._request,
            "interval",
            seconds=self._settings.etl_interval.total_seconds(),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        ticks.start()
        try:
            yield
        finally:
            ticks.shutdown(wait=False)

    def _request(self) -> None:
        try:
            with translating(), self._engine.begin() as connection:
                runs.request_run(connection, Trigger.INTERVAL)
        except DatabaseUnavailable as error:
            log.warning("could not ask for a run", reason=error.message, hint=error.hint)

    @contextmanager
    def _listening(self) -> Iterator[Connection]:
        with translating(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            for channel in (runs.REQUEST_CHANNEL, events.CHANNEL):
                connection.execute(text(f"LISTEN {channel}"))
            yield connection

    def _serve(self, connection: Connection) -> None:
        while not self._stopping:
            if self._retry.is_due():
                self._request()
            # In turn: neither a storm of events nor one of requests keeps the rest waiting.
            has_worked = self._run_told(connection) + self._run_requested()
            self._publish_gathered(connection)
            has_more_to_remove = self._retention.work()
            if has_worked:
                if events.count_waiting(connection) >= BURST:  # it has begun during the run
                    self._gather(connection)
            elif not has_more_to_remove:
                self._wait(LOOK_EVERY_SECONDS, connection)

    def _publish_gathered(self, connection: Connection) -> None:
        """Publish what event runs left, once it is time; more rarely while that fails."""
        if self._publish_retry.is_waiting() or publish.pending_run(connection) is None:
            return
        since = publish.since_last(connection)
        if publish.is_time(None, since, self._settings.publish_interval):
            with suppress(RunAlreadyActive):  # that run publishes
                if self._manager.publish_if_due():
                    self._publish_retry.reset()
                else:
                    self._publish_retry.arm()

    def _run_requested(self) -> bool:
        """Make one requested run; whether there was one."""
        try:
            report = self._manager.run_requested()
        except RunAlreadyActive:
            self._wait(BUSY_RETRY_SECONDS)
            return False
        except DatabaseUnavailable:
            self._retry.arm()
            raise
        except TransientError as error:
            log.warning("run failed", reason=error.message, hint=error.hint)
            self._retry.arm()
            return True
        except EtlError as error:
            log.error("run failed", code=error.code, reason=error.message, hint=error.hint)
            return True
        if report is not None:
            self._note(report)
        return report is not None

    def _run_told(self, connection: Connection) -> bool:
        """Look once at the keys that events wait for; whether it did, with a run or without.

        Events that a run refused or failed over wait on, and with them all others: what stands in
        their way is not mended by the next event. Those whose object the store refused wait for
        themselves. Both are tried again ever more rarely.
        """
        refused_too = not self._refused_retry.is_waiting()
        if self._events_retry.is_waiting():
            return False
        if not events.any_waiting(connection, refused_too=refused_too):
            return False
        try:
            report = self._manager.run_events(refused_too=refused_too)
        except RunAlreadyActive:
            self._wait(BUSY_RETRY_SECONDS)
            return False
        except DatabaseUnavailable:
            raise
        except EtlError as error:
            log.warning("event run failed", code=error.code, reason=error.message)
            self._events_retry.arm()
            return False
        self._events_retry.reset()
        if refused_too:  # else that time is set already
            self._time_refused(report)
        return True

    def _time_refused(self, report: RunReport | None) -> None:
        """Say when what the store refused is tried again, behind a run that tried all of it."""
        if report is not None and report.counts.objects_unreadable:
            self._refused_retry.arm()
        else:
            self._refused_retry.reset()

    def _note(self, report: RunReport) -> None:
        self._failed_retry.reset()
        self._events_retry.reset()
        self._refused_retry.reset()
        if report.error is None:
            self._retry.reset()
            self._publish_retry.reset()
        else:  # committed, but not published
            self._retry.arm()

    def _wait(self, seconds: float, connection: Connection | None = None) -> None:
        """Sleep until time is up, stop() is called, or a request or an event is notified.

        After an event a little longer, so that one run takes a whole burst.
        """
        # What was notified during a statement is in hand already, and no socket tells of it.
        channels = _notified(connection)
        if not channels:
            sources: list[Any] = [self._wake_read]
            if connection is not None:  # without one, a retry that is due could not be made
                sources.append(driver(connection))
                retries = (self._retry, self._events_retry, self._refused_retry)
                seconds = min(seconds, *(retry.seconds_left() for retry in retries))
            select.select(sources, [], [], max(seconds, 0))
            channels = _notified(connection)
        if connection is not None and channels == {events.CHANNEL}:
            self._gather(connection)

    def _gather(self, connection: Connection) -> None:
        """Let a burst gather: for EVENT_GATHER, and again as long as many more come.

        A run would look at the store while it is busy taking the rest. Few events, however long
        they go on, are not kept waiting.
        """
        gathered = events.count_waiting(connection)
        for _ in range(MOST_GATHERS):
            self._wait(self._settings.event_gather.total_seconds())
            if _notified(connection) - {events.CHANNEL}:
                return
            before, gathered = gathered, events.count_waiting(connection)
            if gathered - before < BURST:
                return


def _log_waiting(error: DatabaseUnavailable) -> None:
    """Outages end by themselves; wrong settings do not."""
    level = log.error if isinstance(error, DatabaseMisconfigured) else log.warning
    level("waiting for the database", code=error.code, reason=error.message, hint=error.hint)


def _notified(connection: Connection | None) -> set[str]:
    """The channels notified since this was last asked."""
    if connection is None:
        return set()
    listened = driver(connection)
    listened.poll()
    channels = {told.channel for told in listened.notifies}
    listened.notifies.clear()
    return channels


def schedule(settings: Settings) -> None:
    """Run the scheduler in this process until SIGTERM or SIGINT."""
    scheduler = Scheduler(settings, DataManager(settings))

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        scheduler.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    log.info("scheduler started", interval=duration_text(settings.etl_interval))
    with listening(settings), watching(settings), announcing(settings):
        scheduler.run_forever()
