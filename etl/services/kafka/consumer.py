"""The consumer: the store's notifications from Kafka into `bucket_event`.

Offsets are committed for what is in the database, and for nothing else; what is delivered
twice the table keeps once. So kills, rebalances and outages lose nothing and double nothing.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from sqlalchemy.exc import DBAPIError

from etl.db import events
from etl.db.engine import connect, translating
from etl.model.errors import KafkaUnavailable, TransientError, WrongEvent
from etl.services.kafka import letters
from etl.services.kafka.client import Sender, ThrottledLog, configuring, connection_options, reason
from etl.services.kafka.letters import MAX_REASON, DeadLetter

if TYPE_CHECKING:
    from types import FrameType

    from sqlalchemy import Engine

    from etl.db.events import BucketEvent
    from etl.services.kafka.client import Headers
    from etl.settings import Settings

log = structlog.get_logger("etl.kafka")

BATCH = 1000  # messages
POLL_SECONDS = 0.5
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 15
LEAVE_SECONDS = 10
_UNSTORABLE = ("22", "54")  # SQLSTATE classes: the data's fault, whatever parse() says


class Consumer:
    """Reads the topic as one of its group, and stores what it reads, until told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine = connect(settings, pool_size=1, checks_schema=True)
        self._complaints = ThrottledLog()
        self._stopping = False
        # Read but not yet in the database; partitions that are taken from us take theirs along.
        self._batch: list[Message] = []
        # In the database, their commit not yet answered: the next offset by topic and partition.
        self._uncommitted: dict[tuple[str, int], int] = {}
        self._commit_failed = False
        self._dead_letters = settings.kafka_dead_letter_topic
        self._sender = Sender(settings) if self._dead_letters else None
        with configuring():
            self._client = Client(self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "topic.metadata.refresh.interval.ms": 10_000,  # how soon a new topic is seen
            "queued.max.messages.kbytes": 16_384,
            **connection_options(self._settings, self._complaints),
            "group.id": self._settings.kafka_group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "on_commit": self._on_commit,
        }

    def stop(self) -> None:
        """End after the batch at hand. Safe in a signal handler and in another thread."""
        self._stopping = True

    def run_forever(self) -> None:
        """Consume until stop(); outages of brokers and database are waited out.

        Raises:  KafkaUnavailable when the client gives up for good.
        """
        try:
            self._client.subscribe(
                [self._settings.kafka_topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )
            while not self._stopping:
                self._gather()
                self._settle()
        except KafkaException as error:
            raise KafkaUnavailable(f"The Kafka client gave up: {reason(error)}.") from error
        finally:
            self._leave()
            self._engine.dispose()

    # -- reading

    def _gather(self) -> None:
        """Wait for a message, and take with it what has come already: one is not kept waiting."""
        self._take(self._client.poll(POLL_SECONDS))
        if self._batch:
            for message in self._client.consume(BATCH - 1, 0):
                self._take(message)
        if self._commit_failed:
            self._commit()

    def _take(self, message: Message | None) -> None:
        if message is None:
            return
        error = message.error()
        if error is None:
            self._batch.append(message)
        else:
            self._complaints.note(error)

    # -- storing

    def _settle(self) -> None:
        """Store the batch and commit its offsets, however long the database or broker is away."""
        retry_seconds = FIRST_RETRY_SECONDS
        while self._batch and not self._stopping:
            try:
                self._store(self._batch)
            except TransientError as error:
                if self._complaints.is_due(error.code):
                    log.warning("storing no events", reason=error.message, hint=error.hint)
                self._hold(retry_seconds)
                retry_seconds = min(retry_seconds * 2, LAST_RETRY_SECONDS)
            else:
                self._note_stored()
        if retry_seconds > FIRST_RETRY_SECONDS:
            self._client.resume(self._client.assignment())
            log.info("storing events again")

    def _store(self, batch: list[Message]) -> None:
        """Put the messages into the database, and those that are no events among the dead."""
        try:
            self._store_together(batch)
        except DBAPIError as error:
            if not str(getattr(error.orig, "pgcode", "")).startswith(_UNSTORABLE):
                raise
            if len(batch) > 1:
                for message in batch:
                    self._store([message])
            else:
                self._bury([], [_letter(batch[0], str(error.orig))])

    def _store_together(self, batch: list[Message]) -> None:
        good: list[BucketEvent] = []
        dead: list[DeadLetter] = []
        for message in batch:
            try:
                good += _events_of(message)
            except WrongEvent as error:
                dead.append(_letter(message, error.message))
        self._bury(good, dead)

    def _bury(self, good: list[BucketEvent], dead: list[DeadLetter]) -> None:
        with translating(), self._engine.begin() as connection:
            events.store(connection, good, source_bucket=self._settings.source_bucket)
            if self._sender is None:
                letters.keep(connection, dead)
        if dead:
            log.warning("unreadable messages", count=len(dead), first_reason=dead[0].reason)
            if self._sender is not None and self._dead_letters is not None:
                self._sender.send(self._dead_letters, [letter.outgoing() for letter in dead])

    def _hold(self, seconds: float) -> None:
        """Wait, polling all the while: who does not poll is put out of the group."""
        until = time.monotonic() + seconds
        while self._batch and not self._stopping and time.monotonic() < until:
            # Each time: partitions that have come since are to wait as well.
            self._client.pause(self._client.assignment())
            self._take(self._client.poll(min(POLL_SECONDS, seconds)))

    # -- offsets

    def _note_stored(self) -> None:
        ours = {(each.topic, each.partition) for each in self._client.assignment()}
        for message in self._batch:
            place = _place(message)
            if place in ours:  # or else it was taken from us while we read
                self._uncommitted[place] = (message.offset() or 0) + 1
        self._batch = []
        self._commit()

    def _commit(self) -> None:
        """Commit what is stored. Not waiting for the answer: without a broker it never comes."""
        self._commit_failed = False
        offsets = [TopicPartition(*place, next_) for place, next_ in self._uncommitted.items()]
        if not offsets:
            return
        try:
            self._client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], offsets)

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """Strike off what the broker has written; the rest is committed again."""
        for offset in offsets:
            fault = error or offset.error
            if fault is not None:
                self._commit_failed = True
                self._complaints.note(fault)
            elif self._uncommitted.get((offset.topic, offset.partition)) == offset.offset:
                del self._uncommitted[offset.topic, offset.partition]

    # -- the group

    def _on_assign(self, _client: Client, partitions: list[TopicPartition]) -> None:
        log.info("partitions assigned", partitions=_numbers(partitions))

    def _on_revoke(self, _client: Client, partitions: list[TopicPartition]) -> None:
        """Forget what is not in the database: whoever has the partition now reads it again."""
        gone = {(each.topic, each.partition) for each in partitions}
        self._batch = [message for message in self._batch if _place(message) not in gone]
        for place in gone:
            self._uncommitted.pop(place, None)
        log.info("partitions revoked", partitions=_numbers(partitions))

    def _leave(self) -> None:
        """Leave the group once the commits are answered; without a broker that would never end."""
        leaving = threading.Thread(target=self._client.close, daemon=True)
        leaving.start()
        leaving.join(LEAVE_SECONDS)
        if leaving.is_alive():
            log.warning("left without a word to Kafka; what was not committed is read again")


def _events_of(message: Message) -> list[BucketEvent]:
    value = message.value()
    if value is None:
        raise WrongEvent("The message is a tombstone: it has no value.")
    return events.parse(value)


def _letter(message: Message, why: str) -> DeadLetter:
    topic, partition = _place(message)
    return DeadLetter(
        topic=topic,
        partition=partition,
        offset=message.offset() or 0,
        reason=why[:MAX_REASON].replace("\0", ""),
        key=message.key(),
        value=message.value(),
        headers=_headers(message),
    )


def _headers(message: Message) -> Headers:
    headers = message.headers() or []
    return list(headers.items() if isinstance(headers, dict) else headers)


def _place(message: Message) -> tuple[str, int]:
    return message.topic() or "", message.partition() or 0


def _numbers(partitions: list[TopicPartition]) -> list[int]:
    return sorted(each.partition for each in partitions)


def consume(settings: Settings) -> None:
    """Consume in this process until SIGTERM or SIGINT."""
    consumer = Consumer(settings)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        consumer.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    log.info("consumer started", topic=settings.kafka_topic, group=settings.kafka_group)
    consumer.run_forever()
