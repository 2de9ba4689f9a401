"""The S3 endpoint: credentials, addresses of buckets, and headers that requests need.

Every client is made here or gets its addresses here, so that all of them send the same requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from minio import Minio
from minio.helpers import BaseURL

from etl.model.errors import ConfigurationError
from etl.settings.s3 import (
    ENCRYPTION,
    ENCRYPTION_KEY,
    PAYER,
    put_headers,
    request_headers,
    virtual_hosts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    import urllib3
    from minio.helpers import DictType
    from obstore.store import S3Config
    from urllib3 import BaseHTTPResponse

    from etl.settings import Settings


@dataclass(frozen=True)
class Endpoint:
    """One address of the store; `is_virtual` None leaves the addressing to its host name.

    `put_headers` are sent with each request that creates an object, `headers` with all requests to
    buckets.
    """

    url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    is_virtual: bool | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    put_headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Endpoint:
        """The endpoint of the settings.

        Raises:  ConfigurationError if it or its keys are not set.
        """
        if not (settings.s3_endpoint and settings.s3_access_key and settings.s3_secret_key):
            raise ConfigurationError(
                "S3_ENDPOINT, S3_ACCESS_KEY and S3_SECRET_KEY must all be set.",
                hint="Set all three, or none of them to use the embedded object store.",
            )
        return cls(
            settings.s3_endpoint,
            settings.s3_access_key,
            settings.s3_secret_key.get_secret_value(),
            settings.s3_region,
            virtual_hosts(settings),
            request_headers(settings),
            put_headers(settings),
        )

    def at(self, url: str | None) -> Endpoint:
        """The same store at another address; None is this one."""
        return self if url is None else replace(self, url=url)

    def address(self, bucket: str, key: str = "", method: str = "GET") -> SplitResult:
        """The URL of a bucket or an object, in path style or with the bucket as host name."""
        return self._addresses.build(
            method=method, region=self.region, bucket_name=bucket, object_name=key or None
        )

    def is_virtual_host(self, bucket: str) -> bool:
        """Whether requests to this bucket have its name in the host name."""
        return self.address(bucket).path in ("", "/")

    def client(self, http: urllib3.PoolManager) -> Minio:
        """A minio client that sends the headers of this endpoint."""
        return _Client(self, http)

    def bulk_config(self, bucket: str) -> S3Config:
        """The same as options of obstore."""
        address, put = self.address(bucket), self.put_headers
        config: S3Config = {
            "endpoint": f"{address.scheme}://{address.netloc}",
            "virtual_hosted_style_request": self.is_virtual_host(bucket),
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
            "region": self.region,
            "request_payer": PAYER in self.headers,
        }
        if ENCRYPTION in put:
            config["server_side_encryption"] = put[ENCRYPTION]
        if ENCRYPTION_KEY in put:
            config["sse_kms_key_id"] = put[ENCRYPTION_KEY]
        return config

    @cached_property
    def _addresses(self) -> BaseURL:
        found = BaseURL(self.url, self.region)
        if self.is_virtual is not None:
            found.virtual_style_flag = self.is_virtual
        return found


class _Client(Minio):
    """A client that sends the headers of its endpoint, signed like all others."""

    def __init__(self, endpoint: Endpoint, http: urllib3.PoolManager) -> None:
        scheme, _, host = endpoint.url.partition("://")
        super().__init__(
            host,
            endpoint.access_key,
            endpoint.secret_key,
            secure=scheme == "https",
            region=endpoint.region,
            http_client=http,
        )
        self._endpoint = endpoint
        if endpoint.is_virtual is not None:
            self._base_url.virtual_style_flag = endpoint.is_virtual

    def _url_open(  # noqa: PLR0913, PLR0917 - the library's signature
        self,
        method: str,
        region: str,
        bucket_name: str | None = None,
        object_name: str | None = None,
        body: bytes | None = None,
        headers: DictType | None = None,
        query_params: DictType | None = None,
        preload_content: bool = True,  # noqa: FBT001, FBT002
        no_body_trace: bool = False,  # noqa: FBT001, FBT002
    ) -> BaseHTTPResponse:
        sent = dict(headers or {})
        if bucket_name:
            sent |= self._endpoint.headers
        if object_name and _creates_object(method, query_params):
            sent |= self._endpoint.put_headers
        return super()._url_open(
            *(method, region, bucket_name, object_name, body, sent, query_params),
            *(preload_content, no_body_trace),
        )


def _creates_object(method: str, query: Mapping[str, object] | None) -> bool:
    """Whether it is PutObject or CreateMultipartUpload; parts are encrypted as the upload is."""
    return (method == "PUT" and not query) or (method == "POST" and "uploads" in (query or {}))
