"""Dead letters of Kafka, which can be sent to a topic instead of the table."""

from __future__ import annotations

from dataclasses import dataclass, field

from etl.db.dead_letters import DeadLetter
from etl.services.kafka.client import Headers, Outgoing


@dataclass(frozen=True, slots=True)
class KafkaLetter(DeadLetter):
    """A rejected message of a topic."""

    key: bytes | None = None
    headers: Headers = field(default_factory=list)

    def outgoing(self) -> Outgoing:
        """Return the message for the dead-letter topic: the original with four more headers.

        A message that is too large to send again is truncated.
        """
        added = {
            "dead-letter-reason": self.kept_reason,
            "dead-letter-topic": self.topic,
            "dead-letter-partition": str(self.partition),
            "dead-letter-offset": str(self.offset),
        }
        encoded: Headers = [(name, text.encode("utf-8", "replace")) for name, text in added.items()]
        return Outgoing(self.key, self.kept_value, [*self.headers, *encoded])
