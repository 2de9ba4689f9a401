"""The Kafka client at the edge: its options from our settings, its errors as ours, sending."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from etl.model.errors import ConfigurationError, KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from confluent_kafka import Message

    from etl.settings import Settings

log = structlog.get_logger("etl.kafka")

Headers = list[tuple[str, str | bytes | None]]

SEND_SECONDS = 30
COMPLAIN_EVERY_SECONDS = 60
_CRITICAL = 2  # of librdkafka's own lines on standard error; what matters comes by error_cb


class ThrottledLog:
    """Logs what the client complains of, each kind once a minute: an outage is told, not drummed.

    The client itself keeps trying, as often as ten times a second.
    """

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def note(self, error: KafkaError) -> None:
        """Tell of the error, unless one of its kind was told of just now."""
        if self.is_due(error.name()):
            log.warning("trouble with Kafka", code=error.name(), reason=error.str())

    def is_due(self, kind: str) -> bool:
        """Whether it is time to tell of this kind again; says so once."""
        now = time.monotonic()
        if now - self._told.get(kind, -COMPLAIN_EVERY_SECONDS) < COMPLAIN_EVERY_SECONDS:
            return False
        self._told[kind] = now
        return True


def connection_options(settings: Settings, complaints: ThrottledLog) -> dict[str, Any]:
    """Where the brokers are and how to speak to them, as librdkafka wants it told.

    Raises:  ConfigurationError when KAFKA_BOOTSTRAP_SERVERS is missing.
    """
    if settings.kafka_bootstrap_servers is None:
        raise ConfigurationError(
            "KAFKA_BOOTSTRAP_SERVERS is not set.",
            hint="Set it to host:port of one or more brokers, with commas between.",
        )
    password = settings.kafka_sasl_password
    ours = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": password.get_secret_value() if password else None,
        "ssl.ca.location": settings.kafka_ssl_ca_location,
    }
    return {
        "client.id": "bucketline",
        "log_level": _CRITICAL,
        "error_cb": complaints.note,
        **settings.kafka_options,
        **{name: value for name, value in ours.items() if value is not None},
    }


@contextmanager
def configuring() -> Iterator[None]:
    """Turn the client's refusal of its options into a ConfigurationError."""
    try:
        yield
    except KafkaException as error:
        raise ConfigurationError(
            f"The Kafka client refuses its settings: {reason(error)}.",
            hint="Mend the KAFKA_… setting it names; those of KAFKA_OPTIONS are librdkafka's.",
        ) from error


def reason(error: KafkaException) -> str:
    """What the exception says, in words."""
    cause = error.args[0] if error.args else error
    return cause.str() if isinstance(cause, KafkaError) else str(cause)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent."""

    key: bytes | None
    value: bytes | None
    headers: Headers = field(default_factory=list)


class Sender:
    """Sends messages, and comes back when the brokers have written every one of them."""

    def __init__(self, settings: Settings) -> None:
        self._options = {
            **connection_options(settings, ThrottledLog()),
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": SEND_SECONDS * 1000,
        }
        self._producer = self._made()

    def _made(self) -> Producer:
        with configuring():
            return Producer(self._options)

    def send(self, topic: str, messages: Iterable[Outgoing]) -> None:
        """Send the messages, those of one key in their order.

        Raises:  KafkaUnavailable unless all of them were acknowledged; some may have been.
        """
        failures: list[str] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error.str())

        try:
            for message in messages:
                self._produce(topic, message, delivered)
            left = self._producer.flush(SEND_SECONDS + 1)
        except KafkaException as error:
            self._start_over()
            raise KafkaUnavailable(f"Kafka takes no message: {reason(error)}.") from error
        if left or failures:
            self._start_over()
            told = failures[0] if failures else "no answer in time"
            raise KafkaUnavailable(f"Messages to topic {topic} were not taken: {told}.")

    def _produce(self, topic: str, message: Outgoing, delivered: Any) -> None:  # noqa: ANN401
        """Queue it; where the queue is full, first let some of it go."""
        while True:
            try:
                self._producer.produce(
                    topic,
                    key=message.key,
                    value=message.value,
                    headers=message.headers,
                    on_delivery=delivered,
                )
            except BufferError:
                self._producer.poll(1)
            else:
                self._producer.poll(0)
                return

    def _start_over(self) -> None:
        """With a new producer: what is left in the queue of this one must not be sent later."""
        self._producer.purge()
        self._producer = self._made()
