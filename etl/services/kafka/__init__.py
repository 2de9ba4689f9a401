"""Kafka: the store's notifications come in by it, and news of images go out.

Nothing here is imported before it is used: the client is an extra, `[kafka]`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from etl.settings import Settings


def require_client() -> None:
    """Make sure the Kafka client is installed.

    Raises:  ConfigurationError that tells how to install it.
    """
    if find_spec("confluent_kafka") is None:
        raise ConfigurationError(
            "The Kafka client is not installed.",
            hint="With ./run.sh, `events kafka` installs it. Elsewhere, install Bucketline with its"
            " extra: `pipx install 'bucketline[kafka]'`.",
        )


def announcing(settings: Settings) -> AbstractContextManager[None]:
    """Announce images for as long as the block runs, if a topic is set for that.

    Raises:  ConfigurationError when it is, and the client or KAFKA_BOOTSTRAP_SERVERS is missing.
    """
    if settings.kafka_image_topic is None:
        return nullcontext()
    require_client()
    from etl.services.kafka import announce  # noqa: PLC0415 - the client is an extra

    return announce.announcing(settings, settings.kafka_image_topic)
