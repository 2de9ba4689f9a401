"""From settings to the options of the Kafka client, and the throttling of its log."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from pydantic import ValidationError

from etl.model.errors import ConfigurationError
from etl.runtime import logs
from etl.services.kafka.client import ThrottledLog, connection_options
from etl.settings import Settings


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)


def test_tls_and_login_reach_the_client_under_its_own_names():
    options = connection_options(
        settings(
            kafka_bootstrap_servers="a:9092,b:9092",
            kafka_security_protocol="SASL_SSL",
            kafka_sasl_mechanism="SCRAM-SHA-512",
            kafka_sasl_username="ann",
            kafka_sasl_password="secret",
            kafka_ssl_ca_location="/etc/ca.pem",
            kafka_options="session.timeout.ms=20000; ssl.key.location = /etc/me=1.key;",
        ),
        ThrottledLog(),
    )
    assert (
        options.items()
        >= {
            "bootstrap.servers": "a:9092,b:9092",
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "ann",
            "sasl.password": "secret",
            "ssl.ca.location": "/etc/ca.pem",
            "session.timeout.ms": "20000",
            "ssl.key.location": "/etc/me=1.key",
        }.items()
    )


def test_unset_options_are_left_to_the_client():
    options = connection_options(settings(kafka_bootstrap_servers="a:9092"), ThrottledLog())
    assert not {name for name in options if name.startswith(("sasl.", "ssl."))}


def test_without_brokers_there_is_nothing_to_connect_to():
    with pytest.raises(ConfigurationError, match="KAFKA_BOOTSTRAP_SERVERS"):
        connection_options(settings(), ThrottledLog())


@pytest.mark.parametrize(
    "options",
    [
        "enable.auto.commit=true",
        "fetch.min.bytes=1;acks=0",
        "enable.idempotence=false",
        "group.id=other",
        "session.timeout.ms",
    ],
)
def test_unsafe_or_malformed_options_are_rejected(options: str):
    with pytest.raises(ValidationError, match=r"cannot be set here|write name=value"):
        settings(kafka_options=options)


@pytest.mark.parametrize("name", ["kafka_dead_letter_topic", "kafka_image_topic"])
def test_output_topics_must_differ_from_the_input_topic(name: str):
    with pytest.raises(ValidationError, match="consumed again"):
        settings(kafka_topic="events", **{name: "events"})


def test_same_error_is_logged_once_per_minute(monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    throttled = ThrottledLog()
    transport, auth = KafkaError._TRANSPORT, KafkaError._AUTHENTICATION  # noqa: SLF001
    logged = [throttled.is_due(KafkaError(code).name()) for code in (transport, transport, auth)]
    assert logged == [True, False, True]
    now += 60
    assert throttled.is_due(KafkaError(transport).name())
