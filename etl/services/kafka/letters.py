"""Dead letters: messages that are no notification, set aside with reason and place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.dialects.postgresql import insert

from etl.db.tables import dead_letter
from etl.services.kafka.client import Headers, Outgoing

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_LETTER_BYTES = 512 * 1024  # what a broker with default limits takes, headers and all
MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be used: where it stood, what it was, and why not."""

    topic: str
    partition: int
    offset: int
    reason: str
    key: bytes | None
    value: bytes | None
    headers: Headers = field(default_factory=list)

    def outgoing(self) -> Outgoing:
        """The letter as a message of the dead-letter topic: as it came, with four headers more.

        Of a message too large to be sent again the beginning is kept.
        """
        told = {
            "dead-letter-reason": self.reason,
            "dead-letter-topic": self.topic,
            "dead-letter-partition": str(self.partition),
            "dead-letter-offset": str(self.offset),
        }
        added: Headers = [(name, value.encode("utf-8", "replace")) for name, value in told.items()]
        return Outgoing(self.key, _beginning(self.value), [*self.headers, *added])


def keep(connection: Connection, letters: list[DeadLetter]) -> None:
    """Keep the letters in table `dead_letter`, each once however often it comes."""
    if letters:
        rows = [
            {
                "topic": letter.topic,
                "partition": letter.partition,
                "offset": letter.offset,
                "reason": letter.reason,
                "message": _beginning(letter.value),
            }
            for letter in letters
        ]
        connection.execute(insert(dead_letter).on_conflict_do_nothing(), rows)


def _beginning(value: bytes | None) -> bytes | None:
    return None if value is None else value[:MAX_LETTER_BYTES]
