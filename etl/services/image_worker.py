"""The scheduler's thread for images: looks after them when it starts, and when runs bring some.

Apart from the runs, which it never holds up.
"""

from __future__ import annotations

import os
import select
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import Connection, Engine, text

from etl.db.engine import connect_unpooled, driver, translating
from etl.images import rows
from etl.images.indexer import ThumbnailIndexer
from etl.model.errors import EtlError, ImageWorkerBusy
from etl.runtime.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.settings import Settings

log = structlog.get_logger("etl.images")

LOOK_EVERY_SECONDS = 600  # the net under NOTIFY; a lost connection is noticed by itself
BUSY_RETRY_SECONDS = 5  # another process holds the lock
FIRST_RETRY_SECONDS = 1
LAST_RETRY_SECONDS = 60


class ImageWatch:
    """Has the images looked after whenever some wait, until told to stop."""

    def __init__(self, settings: Settings, keeper: ThumbnailIndexer) -> None:
        self._keeper = keeper
        self._engine: Engine = connect_unpooled(settings)
        self._wake_read, self._wake_write = os.pipe()
        self._stopping = Event()

    def stop(self) -> None:
        """End after the images at hand; for another thread."""
        self._stopping.set()
        os.write(self._wake_write, b".")

    def run_forever(self) -> None:
        """Serve notifications; whatever is down is waited for."""
        retry = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        while not self._stopping.is_set():
            try:
                with self._listening() as connection:
                    self._serve(connection, retry)
            except EtlError as error:
                log.warning("images wait", reason=error.message, hint=error.hint)
                self._wait(retry.next())
            except Exception:
                log.exception("images wait")  # a fault of ours; runs go on without this thread
                self._wait(retry.next())

    def _serve(self, connection: Connection, retry: Backoff) -> None:
        while not self._stopping.is_set():
            try:
                self._keeper.keep(stopping=self._stopping)
            except ImageWorkerBusy:
                self._wait(BUSY_RETRY_SECONDS)
                continue
            retry.reset()
            self._wait(LOOK_EVERY_SECONDS, connection)

    @contextmanager
    def _listening(self) -> Iterator[Connection]:
        with translating(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text(f"LISTEN {rows.CHANNEL}"))
            yield connection

    def _wait(self, seconds: float, connection: Connection | None = None) -> None:
        """Sleep until time is up, stop() is called, or images are notified."""
        sources: list[Any] = [self._wake_read]
        if connection is not None:
            sources.append(driver(connection))
        select.select(sources, [], [], seconds)
        if connection is not None:
            driver(connection).poll()
            driver(connection).notifies.clear()


@contextmanager
def watching(settings: Settings) -> Iterator[None]:
    """Look after the images in a thread for as long as the block runs."""
    watch = ImageWatch(settings, ThumbnailIndexer(settings))
    thread = Thread(target=watch.run_forever, name="images", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.stop()
        thread.join()
