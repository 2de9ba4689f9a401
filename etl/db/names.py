"""Lock keys and notification channels, which all sessions of a database share.

They derive from STATE_SCHEMA, so that installations in one database neither wait for nor wake each
other. Those of the default schema are those of versions that knew no other.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum, StrEnum

DEFAULT_SCHEMA = "bucketline"
_FIRST_KEY = 7_282_018_361  # arbitrary, but the same in every version


class Lock(IntEnum):
    """An advisory lock."""

    RUN = 0
    MIGRATION = 1
    IMAGES = 2
    ANNOUNCEMENTS = 3


class NotifyChannel(StrEnum):
    """A notification channel."""

    RUN_REQUESTED = "run_requested"
    BUCKET_EVENT = "bucket_event"
    IMAGES_WAITING = "images_waiting"  # notified by manifest.sql
    ALERT = "alert_written"  # notified by alerts.sql


def lock_key(lock: Lock, state_schema: str = DEFAULT_SCHEMA) -> int:
    """The key of an advisory lock, in the range of bigint."""
    if state_schema == DEFAULT_SCHEMA:
        return _FIRST_KEY + lock
    digest = hashlib.sha256(state_schema.encode()).digest()
    # Negative, so that none is a key of the default schema.
    return -int.from_bytes(digest[:7], "big") * len(Lock) - lock - 1


def statistics_key(dataset: str, state_schema: str = DEFAULT_SCHEMA) -> int:
    """The key of the advisory lock for computing the statistics of a dataset.

    In a range of its own: positive as those of the default schema, but greater than any of them.
    """
    digest = hashlib.sha256(f"{state_schema}/{dataset}".encode()).digest()
    return 2**62 + int.from_bytes(digest[:7], "big")


def scheduler_key(state_schema: str = DEFAULT_SCHEMA) -> int:
    """The key of the advisory lock that schedulers share while they are up.

    Its digest is of a name that no dataset has, so that it is none of `statistics_key`.
    """
    return statistics_key("/scheduler", state_schema)


def tallies_key(state_schema: str = DEFAULT_SCHEMA) -> int:
    """The key of the advisory lock for changing tallies, in a range of its own."""
    digest = hashlib.sha256(state_schema.encode()).digest()
    return 2**61 + int.from_bytes(digest[:7], "big")


def alerts_key(state_schema: str = DEFAULT_SCHEMA) -> int:
    """The key of the advisory lock for sending alerts, in a range of its own."""
    digest = hashlib.sha256(state_schema.encode()).digest()
    return 2**60 + int.from_bytes(digest[:7], "big")


def dataset_channel(dataset: str, state_schema: str = DEFAULT_SCHEMA) -> str:
    """The name of the channel that announces changed rows of a dataset, at most 63 bytes."""
    if state_schema == DEFAULT_SCHEMA:
        return f"bucketline_{dataset}"
    return f"bl_{hashlib.sha256(state_schema.encode()).hexdigest()[:8]}_{dataset}"


def channel_name(channel: NotifyChannel, state_schema: str = DEFAULT_SCHEMA) -> str:
    """The name of a channel, at most 63 bytes."""
    if state_schema == DEFAULT_SCHEMA:
        return channel.value
    return f"{channel}_{hashlib.sha256(state_schema.encode()).hexdigest()[:32]}"
