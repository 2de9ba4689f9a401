"""The consumer: the notifications of a queue into `bucket_event`.

A message is deleted only after its events are stored, and the table stores a redelivered event
once. So kills and outages neither lose nor duplicate events.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from etl.db.dead_letters import DeadLetter
from etl.db.engine import connect
from etl.model.errors import QueueUnavailable, TransientError
from etl.runtime.backoff import Backoff
from etl.runtime.logs import OncePerMinute, get_logger
from etl.runtime.pools import map_in_threads
from etl.runtime.service import ServiceLoop, stop_on_signals
from etl.services.intake import Intake
from etl.services.sqs.queue import CONNECTIONS, MOST_MESSAGES, Message, Queue

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from etl.settings import Settings

log = get_logger("etl.sqs")

WAIT_SECONDS = 20  # the longest of SQS
POLL_SECONDS = 0.2  # how soon it stops while it waits
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 15


class QueueConsumer(ServiceLoop):
    """Receives messages and stores their events, until stop()."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._queue = Queue(settings)
        self._engine: Engine = connect(settings, pool_size=1, checks_schema=True)
        self._intake = Intake(self._engine, settings.source_bucket, _body, self._letter)
        self._hidden_seconds = settings.sqs_visibility_timeout.total_seconds()
        self._reconnect = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        self._once_per_minute = OncePerMinute()

    def serve(self) -> None:
        """Consume until stop().

        Raises:  QueueUnavailable during an outage of SQS; ConfigurationError.
        """
        while not self.stopping.is_set():
            batch = self._receive()
            self._reconnect.reset()
            if batch and self._store(batch):
                self._delete(batch)

    def handle_failure(self, error: Exception) -> float:
        """Log an outage of SQS; raise any other error."""
        if not isinstance(error, TransientError):
            raise error
        self._log_outage("receiving messages failed; will retry", error)
        return self._reconnect.next()

    # -- receiving

    def _receive(self) -> list[Message]:
        """Wait for messages; if there are many, receive further ones at the same time."""
        batch = self._wait()
        if len(batch) == MOST_MESSAGES:
            for further in map_in_threads(self._receive_further, range(CONNECTIONS), CONNECTIONS):
                batch += further
        return batch

    def _receive_further(self, _number: int) -> list[Message]:
        try:
            return self._queue.receive()
        except QueueUnavailable:  # those received so far count
            return []

    def _wait(self) -> list[Message]:
        """The messages of one long poll; none if stop() is called.

        Messages that arrive for an abandoned poll are delivered again after their timeout.
        """
        received: SimpleQueue[list[Message] | Exception] = SimpleQueue()

        def poll() -> None:
            try:
                received.put(self._queue.receive(WAIT_SECONDS))
            except Exception as error:  # noqa: BLE001 - raised below
                received.put(error)

        Thread(target=poll, name="poll", daemon=True).start()
        while not self.stopping.is_set():
            with suppress(Empty):
                found = received.get(timeout=POLL_SECONDS)
                if isinstance(found, Exception):
                    raise found
                return found
        return []

    # -- storing

    def _store(self, batch: list[Message]) -> bool:
        """Store the events; retry while the database is unavailable. False if stop() is called.

        Meanwhile the messages stay hidden: each delivery counts, and a queue may give up after a
        few. When it stops, another consumer may have them at once.
        """
        retry = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        hidden_at = time.monotonic()
        while True:
            try:
                self._report(self._intake.store(batch))
            except TransientError as error:
                self._log_outage("storing events failed; will retry", error)
            else:
                return True
            if self.stopping.wait(min(retry.next(), self._hidden_seconds / 3)):
                self._hide(batch, 0)
                return False
            if time.monotonic() - hidden_at > self._hidden_seconds / 3:
                hidden_at = time.monotonic()
                self._hide(batch)

    def _hide(self, batch: list[Message], seconds: int | None = None) -> None:
        with suppress(QueueUnavailable):
            self._queue.hide(batch, seconds)

    def _delete(self, batch: list[Message]) -> None:
        """Delete stored messages; those that stay are delivered again, and change nothing then."""
        left = self._queue.delete(batch)
        if left and self._once_per_minute.is_due("left"):
            log.warning("SQS did not delete all messages and will deliver them again", count=left)

    def _letter(self, message: Message, reason: str) -> DeadLetter:
        """The dead letter of a message; SQS has no offsets, so the ID stands for one."""
        digest = hashlib.sha256(message.id.encode()).digest()
        offset = int.from_bytes(digest[:8]) >> 1
        reason = f"Message {message.id}: {reason}"
        return DeadLetter(self._queue.url, 0, offset, reason, message.body)

    def _report(self, rejected: list[DeadLetter]) -> None:
        if rejected:
            log.warning(
                "rejected messages", count=len(rejected), first_reason=rejected[0].kept_reason
            )

    def _log_outage(self, event: str, error: TransientError) -> None:
        if self._once_per_minute.is_due(error.code):
            log.warning(event, reason=error.message, hint=error.hint)

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()


def _body(message: Message) -> bytes:
    return message.body


def consume(settings: Settings) -> None:
    """Consume in this process until SIGTERM or SIGINT."""
    consumer = QueueConsumer(settings)
    with stop_on_signals(consumer.stop):
        log.info("consumer started", queue=settings.sqs_queue_url)
        try:
            consumer.run_forever()
        finally:
            consumer.close()
