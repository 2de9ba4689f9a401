"""Dead letters: messages that a consumer rejected, stored with their position and the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.dialects.postgresql import insert

from etl.db.tables import dead_letter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

MAX_MESSAGE_BYTES = 512 * 1024  # with headers within the default limit of a Kafka broker
_MAX_REASON_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejected message: its position, its contents and the reason."""

    topic: str
    partition: int
    offset: int
    reason: str
    value: bytes | None

    @property
    def kept_value(self) -> bytes | None:
        """The beginning of the message."""
        return None if self.value is None else self.value[:MAX_MESSAGE_BYTES]

    @property
    def kept_reason(self) -> str:
        """The beginning of the reason, without characters that PostgreSQL cannot store."""
        return self.reason[:_MAX_REASON_CHARACTERS].replace("\0", "")


def store(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    """Store the messages in the table `dead_letter`; one that is redelivered is stored once.

    The caller commits.
    """
    if letters:
        rows = [
            {
                "topic": letter.topic,
                "partition": letter.partition,
                "offset": letter.offset,
                "reason": letter.kept_reason,
                "message": letter.kept_value,
            }
            for letter in letters
        ]
        connection.execute(insert(dead_letter).on_conflict_do_nothing(), rows)
