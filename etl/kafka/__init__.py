"""Kafka: the store's notifications come in by it, and news of images go out.

Nothing here is imported before it is used: the client is an extra, `[kafka]`.
"""

from __future__ import annotations

from importlib.util import find_spec

from etl.errors import ConfigurationError


def require_client() -> None:
    """Make sure the Kafka client is installed.

    Raises:  ConfigurationError that tells how to install it.
    """
    if find_spec("confluent_kafka") is None:
        raise ConfigurationError(
            "The Kafka client is not installed.",
            hint="`./run.sh events kafka` installs it; elsewhere:"
            " `pip install --require-hashes -r requirements-kafka.lock`.",
        )
