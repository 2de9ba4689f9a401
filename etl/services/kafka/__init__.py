"""Kafka: consume the store's notifications, and announce images.

The submodules are imported only when used, because the client is an extra, `[kafka]`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from etl.settings import Settings


def require_client() -> None:
    """Check that the Kafka client is installed.

    Raises:  ConfigurationError with a hint how to install it.
    """
    if find_spec("confluent_kafka") is None:
        raise ConfigurationError(
            "The Kafka client is not installed.",
            hint="With ./run.sh, `events kafka` installs it. Elsewhere, install Bucketline with its"
            " extra: `pipx install 'bucketline[kafka]'`.",
        )


def announcing(settings: Settings) -> AbstractContextManager[None]:
    """Announce images while the block runs, if KAFKA_IMAGE_TOPIC is set.

    Raises:  ConfigurationError if it is set without the client or KAFKA_BOOTSTRAP_SERVERS.
    """
    if settings.kafka_image_topic is None:
        return nullcontext()
    require_client()
    from etl.services.kafka import announce  # noqa: PLC0415 - the client is an extra

    return announce.announcing(settings, settings.kafka_image_topic)
