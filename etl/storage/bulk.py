"""Bulk clients (obstore) with timeouts: one for each bucket and number of retries."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from obstore.store import S3Store


@dataclass(frozen=True)
class BulkStores:
    """Clients of one endpoint, created on first use; each keeps its connections."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str
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
            config={
                "endpoint": self.endpoint,
                "access_key_id": self.access_key,
                "secret_access_key": self.secret_key,
                "region": self.region,
            },
            client_options={
                "allow_http": self.endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=self.connect_timeout_seconds),
                "read_timeout": timedelta(seconds=self.read_timeout_seconds),
                "timeout": timedelta(minutes=10),
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=self.read_timeout_seconds),
            },
        )
