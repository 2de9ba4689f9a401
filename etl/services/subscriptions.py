"""Subscriptions of EVENT_ARNS to the source buckets, including those declared later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db import events
from etl.model.errors import EtlError
from etl.runtime.logs import get_logger
from etl.storage.client import ObjectStore
from etl.storage.notifications import subscribe, wanted

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from etl.settings import Settings

log = get_logger("etl.schedule")


class Subscriptions:
    """Subscribes the targets to each source bucket once, and tries failed ones again."""

    def __init__(self, settings: Settings) -> None:
        self._asked = wanted(settings.arns)
        self._source_bucket = settings.source_bucket
        self._store = ObjectStore(settings)
        self._covered: set[str] = set()
        self._reported: set[str] = set()

    def cover(self, connection: Connection) -> bool:
        """Subscribe to the buckets of the installed datasets; return whether any was new.

        A failure is logged once for each bucket.
        """
        if not self._asked:
            return False
        buckets = set(events.source_buckets(connection, self._source_bucket))
        self._covered &= buckets  # one that is declared again is subscribed again
        new = [self._subscribe(bucket) for bucket in sorted(buckets - self._covered)]
        return any(new)

    def _subscribe(self, bucket: str) -> bool:
        try:
            new = subscribe(self._store, bucket, self._asked, timeout_seconds=0)
        except EtlError as error:
            if bucket not in self._reported:
                self._reported.add(bucket)
                log.warning(
                    "could not subscribe; only full runs find changes",
                    bucket=bucket,
                    reason=error.message,
                    hint=error.hint,
                )
            return False
        self._covered.add(bucket)
        self._reported.discard(bucket)
        if new:
            log.info("subscribed", bucket=bucket, arns=[one.arn for one in new])
        return bool(new)
