"""The consumer: the store's notifications from Kafka into `bucket_event`.

Offsets are committed only for messages that are stored, and the table stores a redelivered event
once. So crashes, rebalances and outages neither lose nor duplicate events.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from etl.db.engine import connect
from etl.model.errors import KafkaUnavailable, TransientError
from etl.runtime.backoff import Backoff
from etl.runtime.logs import get_logger
from etl.runtime.service import ServiceLoop, stop_on_signals
from etl.services.intake import Intake
from etl.services.kafka.client import Sender, ThrottledLog, configuring, connection_options, reason
from etl.services.kafka.letters import KafkaLetter

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from etl.services.kafka.client import Headers
    from etl.settings import Settings

log = get_logger("etl.kafka")

BATCH = 1000  # messages
POLL_SECONDS = 0.5
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 15
CLOSE_SECONDS = 10


class Consumer(ServiceLoop):
    """Reads the topic as a member of the consumer group and stores events, until stop()."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._engine: Engine = connect(settings, pool_size=1, checks_schema=True)
        self._throttled = ThrottledLog()
        # Read but not stored; messages of a revoked partition are dropped.
        self._batch: list[Message] = []
        # Stored, but not acknowledged as committed: the next offset by topic and partition.
        self._uncommitted: dict[tuple[str, int], int] = {}
        self._commit_failed = False
        self._dead_letter_topic = settings.kafka_dead_letter_topic
        self._sender = Sender(settings) if self._dead_letter_topic else None
        self._intake = Intake(
            self._engine,
            settings.source_bucket,
            _value,
            _letter,
            keeps_letters=self._sender is None,
        )
        with configuring():
            self._client = Client(self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "topic.metadata.refresh.interval.ms": 10_000,  # to find a new topic
            "queued.max.messages.kbytes": 16_384,
            **connection_options(self._settings, self._throttled),
            "group.id": self._settings.kafka_group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "on_commit": self._on_commit,
        }

    def serve(self) -> None:
        """Consume until stop(); retry during outages of the brokers or the database.

        Raises:  KafkaUnavailable when the client reports a fatal error.
        """
        try:
            self._client.subscribe(
                [self._settings.kafka_topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )
            while not self.stopping.is_set():
                self._read_batch()
                self._store_and_commit()
        except KafkaException as error:
            raise KafkaUnavailable(f"The Kafka client failed: {reason(error)}.") from error
        finally:
            self._close()
            self._engine.dispose()

    # -- reading

    def _read_batch(self) -> None:
        """Wait for a message, then add the messages that were already received."""
        self._add(self._client.poll(POLL_SECONDS))
        if self._batch:
            for message in self._client.consume(BATCH - 1, 0):
                self._add(message)
        if self._commit_failed:
            self._commit()

    def _add(self, message: Message | None) -> None:
        if message is None:
            return
        error = message.error()
        if error is None:
            self._batch.append(message)
        else:
            self._throttled.log_error(error)

    # -- storing

    def _store_and_commit(self) -> None:
        """Store the batch and commit its offsets; retry while the database or a broker is down."""
        retry = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        is_paused = False
        while self._batch and not self.stopping.is_set():
            try:
                self._store(self._batch)
            except TransientError as error:
                if self._throttled.is_due(error.code):
                    reasons = {"reason": error.message, "hint": error.hint}
                    log.warning("storing events failed; will retry", **reasons)
                is_paused = True
                self._poll_paused(retry.next())
            else:
                self._commit_batch()
        if is_paused:
            self._client.resume(self._client.assignment())
            log.info("resumed storing events")

    def _store(self, batch: list[Message]) -> None:
        """Store the events of a batch; send the letters of invalid messages to their topic."""
        rejected = self._intake.store(batch)
        if rejected:
            first_reason = rejected[0].reason
            log.warning("rejected messages", count=len(rejected), first_reason=first_reason)
            if self._sender is not None and self._dead_letter_topic is not None:
                outgoing = [letter.outgoing() for letter in rejected]
                self._sender.send(self._dead_letter_topic, outgoing)

    def _poll_paused(self, seconds: float) -> None:
        """Wait, but keep polling: the group removes a member that does not poll."""
        until = time.monotonic() + seconds
        while self._batch and not self.stopping.is_set() and time.monotonic() < until:
            # Each time, because partitions may have been assigned since.
            self._client.pause(self._client.assignment())
            self._add(self._client.poll(min(POLL_SECONDS, seconds)))

    # -- offsets

    def _commit_batch(self) -> None:
        assigned = {(each.topic, each.partition) for each in self._client.assignment()}
        for message in self._batch:
            partition = _partition(message)
            if partition in assigned:  # it may have been revoked since the message was read
                self._uncommitted[partition] = (message.offset() or 0) + 1
        self._batch = []
        self._commit()

    def _commit(self) -> None:
        """Commit stored offsets, without waiting for the response: brokers may be down."""
        self._commit_failed = False
        offsets = [TopicPartition(*key, next_) for key, next_ in self._uncommitted.items()]
        if not offsets:
            return
        try:
            self._client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], offsets)

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """Drop the offsets that are committed; the others are committed again."""
        for offset in offsets:
            fault = error or offset.error
            if fault is not None:
                self._commit_failed = True
                self._throttled.log_error(fault)
            elif self._uncommitted.get((offset.topic, offset.partition)) == offset.offset:
                del self._uncommitted[offset.topic, offset.partition]

    # -- the group

    def _on_assign(self, _client: Client, partitions: list[TopicPartition]) -> None:
        log.info("partitions assigned", partitions=_numbers(partitions))

    def _on_revoke(self, _client: Client, partitions: list[TopicPartition]) -> None:
        """Drop messages that are not stored: they are redelivered to the new owner."""
        revoked = {(each.topic, each.partition) for each in partitions}
        self._batch = [message for message in self._batch if _partition(message) not in revoked]
        for partition in revoked:
            self._uncommitted.pop(partition, None)
        log.info("partitions revoked", partitions=_numbers(partitions))

    def _close(self) -> None:
        """Leave the group after the commits, with a timeout: brokers may be down."""
        closing = threading.Thread(target=self._client.close, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            log.warning("closing timed out; uncommitted messages will be redelivered")


def _value(message: Message) -> bytes | None:
    return message.value()


def _letter(message: Message, reason: str) -> KafkaLetter:
    topic, partition = _partition(message)
    return KafkaLetter(
        topic=topic,
        partition=partition,
        offset=message.offset() or 0,
        reason=reason,
        key=message.key(),
        value=message.value(),
        headers=_headers(message),
    )


def _headers(message: Message) -> Headers:
    headers = message.headers() or []
    return list(headers.items() if isinstance(headers, dict) else headers)


def _partition(message: Message) -> tuple[str, int]:
    return message.topic() or "", message.partition() or 0


def _numbers(partitions: list[TopicPartition]) -> list[int]:
    return sorted(each.partition for each in partitions)


def consume(settings: Settings) -> None:
    """Consume in this process until SIGTERM or SIGINT."""
    consumer = Consumer(settings)
    with stop_on_signals(consumer.stop):
        log.info("consumer started", topic=settings.kafka_topic, group=settings.kafka_group)
        consumer.run_forever()
