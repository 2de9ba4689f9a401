"""What the consumers of queues share: the events of a batch of messages go into `bucket_event`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from sqlalchemy.exc import DBAPIError

from etl.db import dead_letters, event_messages, events
from etl.db.engine import translating
from etl.model.errors import WrongEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from etl.db.dead_letters import DeadLetter
    from etl.db.event_messages import BucketEvent

_INVALID_DATA = ("22", "54")  # SQLSTATE classes of data that PostgreSQL rejects

Message = TypeVar("Message")
Letter = TypeVar("Letter", bound="DeadLetter")


class Intake(Generic[Message, Letter]):
    """Stores the events of messages, and rejects invalid ones without delay for the others.

    `value_of` returns the bytes of a message, None if it has none; `letter_of` the dead letter of
    a message and the reason. With `keeps_letters`, these are stored in the same transaction.
    """

    def __init__(
        self,
        engine: Engine,
        source_bucket: str,
        value_of: Callable[[Message], bytes | None],
        letter_of: Callable[[Message, str], Letter],
        *,
        keeps_letters: bool = True,
    ) -> None:
        self._engine = engine
        self._source_bucket = source_bucket
        self._value_of = value_of
        self._letter_of = letter_of
        self._keeps_letters = keeps_letters

    def store(self, batch: Sequence[Message]) -> list[Letter]:
        """Store the events of a batch; return the letters of messages that are invalid.

        Raises:  TransientError when the database is unavailable; some events may be stored.
        """
        try:
            return self._store(batch)
        except DBAPIError as error:
            if not str(getattr(error.orig, "pgcode", "")).startswith(_INVALID_DATA):
                raise
            if len(batch) > 1:  # find it
                return [letter for message in batch for letter in self.store([message])]
            letters = [self._letter_of(batch[0], str(error.orig))]
            self._write([], letters)
            return letters

    def _store(self, batch: Sequence[Message]) -> list[Letter]:
        valid: list[BucketEvent] = []
        rejected: list[Letter] = []
        for message in batch:
            try:
                valid += self._events_of(message)
            except WrongEvent as error:
                rejected.append(self._letter_of(message, error.message))
        self._write(valid, rejected)
        return rejected

    def _events_of(self, message: Message) -> list[BucketEvent]:
        value = self._value_of(message)
        if value is None:
            raise WrongEvent("The message is a tombstone: it has no value.")
        return event_messages.parse(value)

    def _write(self, valid: list[BucketEvent], rejected: list[Letter]) -> None:
        with translating(), self._engine.begin() as connection:
            events.store(connection, valid, source_bucket=self._source_bucket)
            if self._keeps_letters:
                dead_letters.store(connection, rejected)
