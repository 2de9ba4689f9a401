"""The image worker: a scheduler thread that processes images at startup and after runs.

It has its own connection and lock, and never delays a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db.engine import connect_unpooled, driver, listen, translating
from etl.images import rows
from etl.images.indexer import ThumbnailIndexer
from etl.model.errors import EtlError, ImageWorkerBusy
from etl.runtime.backoff import Backoff
from etl.runtime.logs import get_logger
from etl.runtime.service import ServiceLoop, in_thread

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine

    from etl.settings import Settings

log = get_logger("etl.images")

POLL_SECONDS = 600  # in case a notification is lost; a lost connection raises
BUSY_RETRY_SECONDS = 5  # another process holds the lock
FIRST_RETRY_SECONDS = 1
LAST_RETRY_SECONDS = 60


class ImageWorker(ServiceLoop):
    """Processes images whenever some are pending, until stop()."""

    def __init__(
        self,
        settings: Settings,
        indexer: ThumbnailIndexer,
        *,
        first_retry_seconds: float = FIRST_RETRY_SECONDS,
        busy_retry_seconds: float = BUSY_RETRY_SECONDS,
    ) -> None:
        super().__init__()
        self._indexer = indexer
        self._engine: Engine = connect_unpooled(settings)
        self._busy_retry_seconds = busy_retry_seconds
        self._retry = Backoff(first_retry_seconds, LAST_RETRY_SECONDS)

    def serve(self) -> None:
        """Process pending images, then wait for a notification, on one database connection."""
        with translating(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            listen(connection, rows.CHANNEL)
            listened = driver(connection)
            while not self.stopping.is_set():
                try:
                    self._indexer.run(stopping=self.stopping)
                except ImageWorkerBusy:
                    self.stopping.wait(self._busy_retry_seconds)
                    continue
                self._retry.reset()
                self.stopping.wait(POLL_SECONDS, listened)
                listened.poll()
                listened.notifies.clear()

    def handle_failure(self, error: Exception) -> float:
        """Log the failure; runs continue without images."""
        if isinstance(error, EtlError):
            reasons = {"reason": error.message, "hint": error.hint}
            log.warning("image processing failed; will retry", **reasons)
        else:
            log.error("image processing failed; will retry", exc_info=error)  # a bug of ours
        return self._retry.next()


def processing_images(settings: Settings) -> AbstractContextManager[None]:
    """Process images in a thread while the block runs."""
    return in_thread(ImageWorker(settings, ThumbnailIndexer(settings)), "images")
