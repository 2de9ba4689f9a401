"""Bulk clients (obstore) with timeouts: one for each bucket and number of retries."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.store import S3Store

if TYPE_CHECKING:
    from etl.storage.endpoint import Endpoint


@dataclass(frozen=True)
class BulkStores:
    """Clients of one endpoint, created on first use; each keeps its connections."""

    endpoint: Endpoint
    connect_timeout_seconds: float
    read_timeout_seconds: float
    _clients: dict[tuple[str, int], S3Store] = field(default_factory=dict)

    def get(self, bucket: str, retries: int) -> S3Store:
        """The client of a bucket that retries temporary failures up to `retries` times."""
        if (bucket, retries) not in self._clients:
            self._clients[bucket, retries] = self._create(bucket, retries)
        return self._clients[bucket, retries]

    def _create(self, bucket: str, retries: int) -> S3Store:
        return S3Store(
            bucket,
            config=self.endpoint.bulk_config(bucket),
            client_options={
                "allow_http": self.endpoint.url.startswith("http://"),
                "connect_timeout": timedelta(seconds=self.connect_timeout_seconds),
                "read_timeout": timedelta(seconds=self.read_timeout_seconds),
                "timeout": timedelta(minutes=10),
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=self.read_timeout_seconds),
            },
        )
