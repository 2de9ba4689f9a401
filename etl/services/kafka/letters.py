"""Dead-letter messages: rejected messages, stored with their position and the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.dialects.postgresql import insert

from etl.db.tables import dead_letter
from etl.services.kafka.client import Headers, Outgoing

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_MESSAGE_BYTES = 512 * 1024  # with headers within the default limit of a broker
MAX_REASON_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejected message: its position, its contents and the reason."""

    topic: str
    partition: int
    offset: int
    reason: str
    key: bytes | None
    value: bytes | None
    headers: Headers = field(default_factory=list)

    def outgoing(self) -> Outgoing:
        """Return the message for the dead-letter topic: the original with four more headers.

        A message that is too large to send again is truncated.
        """
        added = {
            "dead-letter-reason": self.reason,
            "dead-letter-topic": self.topic,
            "dead-letter-partition": str(self.partition),
            "dead-letter-offset": str(self.offset),
        }
        encoded: Headers = [(name, text.encode("utf-8", "replace")) for name, text in added.items()]
        return Outgoing(self.key, _truncated(self.value), [*self.headers, *encoded])


def store(connection: Connection, letters: list[DeadLetter]) -> None:
    """Store the messages in the table `dead_letter`; one that is redelivered is stored once."""
    if letters:
        rows = [
            {
                "topic": letter.topic,
                "partition": letter.partition,
                "offset": letter.offset,
                "reason": letter.reason,
                "message": _truncated(letter.value),
            }
            for letter in letters
        ]
        connection.execute(insert(dead_letter).on_conflict_do_nothing(), rows)


def _truncated(value: bytes | None) -> bytes | None:
    return None if value is None else value[:MAX_MESSAGE_BYTES]
