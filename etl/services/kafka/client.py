"""The Kafka client: its options from our settings, its errors as ours, and a sender."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Producer

from etl.model.errors import ConfigurationError, KafkaUnavailable
from etl.runtime.logs import OncePerMinute, get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from confluent_kafka import Message

    from etl.settings import Settings

log = get_logger("etl.kafka")

Headers = list[tuple[str, str | bytes | None]]

SEND_SECONDS = 30
_CRITICAL = 2  # what librdkafka writes to standard error; error_cb receives its errors


class ThrottledLog(OncePerMinute):
    """Logs each kind of error of the client at most once per minute."""

    def log_error(self, error: KafkaError) -> None:
        """Log the client's error, unless one of its kind was logged in the last minute."""
        if self.is_due(error.name()):
            log.warning("Kafka client error; will retry", code=error.name(), reason=error.str())


def connection_options(settings: Settings, throttled: ThrottledLog) -> dict[str, Any]:
    """Return librdkafka's options for connecting to the brokers.

    Raises:  ConfigurationError when KAFKA_BOOTSTRAP_SERVERS is missing.
    """
    if settings.kafka_bootstrap_servers is None:
        raise ConfigurationError(
            "KAFKA_BOOTSTRAP_SERVERS is not set.",
            hint="Set it to host:port of one or more brokers, separated by commas.",
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
        "error_cb": throttled.log_error,
        **settings.kafka_options,
        **{name: value for name, value in ours.items() if value is not None},
    }


@contextmanager
def configuring() -> Iterator[None]:
    """Raise ConfigurationError when the client rejects its options."""
    try:
        yield
    except KafkaException as error:
        raise ConfigurationError(
            f"The Kafka client rejects its settings: {reason(error)}.",
            hint="Correct the KAFKA_… setting it names. KAFKA_OPTIONS holds librdkafka's options.",
        ) from error


def reason(error: KafkaException) -> str:
    """Return the error message of the exception."""
    cause = error.args[0] if error.args else error
    return cause.str() if isinstance(cause, KafkaError) else str(cause)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent."""

    key: bytes | None
    value: bytes | None
    headers: Headers = field(default_factory=list)


class Sender:
    """Sends messages and waits until the brokers have acknowledged all of them."""

    def __init__(self, settings: Settings) -> None:
        self._options = {
            **connection_options(settings, ThrottledLog()),
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": SEND_SECONDS * 1000,
        }
        self._producer = self._new_producer()

    def _new_producer(self) -> Producer:
        with configuring():
            return Producer(self._options)

    def send(self, topic: str, messages: Iterable[Outgoing]) -> None:
        """Send the messages; those with the same key stay in order.

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
            self._replace_producer()
            raise KafkaUnavailable(f"Kafka rejected a message: {reason(error)}.") from error
        if left or failures:
            self._replace_producer()
            cause = failures[0] if failures else f"no acknowledgment within {SEND_SECONDS} s"
            raise KafkaUnavailable(f"Messages to topic {topic} were not delivered: {cause}.")

    def _produce(self, topic: str, message: Outgoing, delivered: Any) -> None:  # noqa: ANN401
        """Queue the message; while the queue is full, wait for deliveries."""
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

    def _replace_producer(self) -> None:
        """Create a new producer, so that messages left in the queue are not sent later."""
        self._producer.purge()
        self._producer = self._new_producer()
