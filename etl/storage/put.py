"""PUT or DELETE in one request, with conditions and a streamed, unbuffered body.

The minio client buffers and hashes the parts of a stream and does not send conditions. Here
`minio.signer` signs the headers only, and the store discards a body that ends early.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlunsplit
from xml.etree.ElementTree import ParseError

from minio.credentials.credentials import Credentials
from minio.error import S3Error
from minio.signer import sign_v4_s3
from minio.time import to_amz_date

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO
    from urllib.parse import SplitResult

    import urllib3

    from etl.storage.endpoint import Endpoint

LARGEST_PUT_BYTES = 5 * 1024**3  # S3's limit for one request
_UNSIGNED = "UNSIGNED-PAYLOAD"


class SignedPut:
    """Puts and removes objects at one endpoint, each in one request."""

    def __init__(self, endpoint: Endpoint, http: urllib3.PoolManager) -> None:
        self._endpoint = endpoint
        self._credentials = Credentials(endpoint.access_key, endpoint.secret_key)
        self._http = http

    def put(
        self, bucket: str, key: str, body: IO[bytes], size: int, headers: Mapping[str, str]
    ) -> str:
        """Send `size` bytes; return the new object's ETag header.

        Raises:  S3Error if the store rejects it; urllib3's HTTPError if it is unreachable.
        """
        response = self._send(
            "PUT",
            self._endpoint.address(bucket, key),
            {**headers, **self._endpoint.put_headers, "Content-Length": str(size)},
            body=body,
            retries=None if body.seekable() else False,  # False: keep the store's error response
        )
        _check(response, bucket, key)
        return str(response.headers.get("ETag", ""))

    def remove(self, bucket: str, key: str, headers: Mapping[str, str]) -> None:
        """Remove the object.

        Raises:  as `put`.
        """
        _check(self._send("DELETE", self._endpoint.address(bucket, key), headers), bucket, key)

    def _send(
        self,
        method: str,
        address: SplitResult,
        headers: Mapping[str, str],
        *,
        body: IO[bytes] | None = None,
        retries: bool | None = None,
    ) -> urllib3.BaseHTTPResponse:
        signed = self._signed(method, address, headers)
        url = urlunsplit(address)
        return self._http.request(method, url, body=body, headers=signed, retries=retries)

    def _signed(
        self, method: str, address: SplitResult, headers: Mapping[str, str]
    ) -> dict[str, str]:
        now = datetime.now(UTC)
        return sign_v4_s3(
            method=method,
            url=address,
            region=self._endpoint.region,
            headers={
                **headers,
                **self._endpoint.headers,
                "Host": address.netloc,
                "x-amz-content-sha256": _UNSIGNED,
                "x-amz-date": to_amz_date(now),
            },
            credentials=self._credentials,
            content_sha256=_UNSIGNED,
            date=now,
        )  # type: ignore[return-value]


def _check(response: urllib3.BaseHTTPResponse, bucket: str, key: str) -> None:
    if response.status >= 400:  # noqa: PLR2004 - HTTP's errors
        raise _error(response, bucket, key)


def _error(response: urllib3.BaseHTTPResponse, bucket: str, key: str) -> S3Error:
    try:
        return S3Error.fromxml(response)
    except ParseError:  # no XML, for example from a proxy
        return S3Error(
            response, str(response.status), response.reason, None, None, None, bucket, key
        )
