"""Listings and HEAD requests, which every run sends, without the S3 client.

Importing minio takes longer than everything that a run without changes does in the store. Here it
is imported only for the errors of a failed request, which are those that minio raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree as ET

from etl.model.etags import bare_etag
from etl.runtime.signing import signed_headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import urllib3

    from etl.model.values import ListingEntry

PAGE_OBJECTS = 1000  # the most that S3 returns per request
_OK = 200
_NOT_FOUND = 404
# What a HEAD request, whose response has no body, failed with.
_HEAD_CODES = {
    301: "PermanentRedirect",
    307: "Redirect",
    400: "BadRequest",
    403: "AccessDenied",
    405: "MethodNotAllowed",
    501: "MethodNotAllowed",
}


class Page(NamedTuple):
    """One page of a listing; if more follow, usually with the token of the next one."""

    rows: list[ListingEntry]
    is_last: bool
    token: str | None


@dataclass(frozen=True)
class StoreRequests:
    """Sends requests to one endpoint, with the timeouts and retries of `http`.

    Raises (every method):  minio's errors if the store rejects a request; urllib3's HTTPError if
    it is unreachable.
    """

    endpoint: str
    access_key: str
    secret_key: str
    region: str
    http: urllib3.PoolManager

    def head(self, bucket: str, key: str = "") -> Mapping[str, str] | None:
        """The headers of an object, or of the bucket; None if it does not exist."""
        response = self._send("HEAD", f"{bucket}/{quote(key)}" if key else bucket)
        if response.status == _NOT_FOUND:
            return None
        self._check("HEAD", response, bucket, key)
        return response.headers

    def list(
        self, bucket: str, *, prefix: str = "", after: str | None = None, most: int = PAGE_OBJECTS
    ) -> Iterator[ListingEntry]:
        """The objects after the key `after` that begin with `prefix`, `most` in each request."""
        token = None
        while True:
            # Empty values too, because a bucket policy may require them.
            query = {
                "list-type": "2",
                "delimiter": "",
                "encoding-type": "url",
                "max-keys": str(most),
                "prefix": prefix,
            }
            query |= {"continuation-token": token} if token else {}
            query |= {"start-after": after} if after and not token else {}
            response = self._send("GET", bucket, query)
            self._check("GET", response, bucket)
            page = parse_page(response.data)
            yield from page.rows
            if page.is_last or not (page.rows or page.token):
                return
            token = page.token
            after = page.rows[-1][0] if page.rows else after

    def _send(
        self, method: str, path: str, query: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        url = f"{self.endpoint}/{path}"
        if query:
            pairs = (f"{name}={quote(query[name], safe='')}" for name in sorted(query))
            url = f"{url}?{'&'.join(pairs)}"
        headers = signed_headers(
            method,
            url,
            access_key=self.access_key,
            secret_key=self.secret_key,
            region=self.region,
            now=datetime.now(UTC),
        )
        return self.http.request(method, url, headers=headers)

    @staticmethod
    def _check(method: str, response: urllib3.BaseHTTPResponse, bucket: str, key: str = "") -> None:
        if response.status == _OK:
            return
        from minio.error import InvalidResponseError, S3Error, ServerError

        media_type = response.headers.get("content-type", "")
        if response.data:
            if "application/xml" in media_type.split(";"):
                raise S3Error.fromxml(response)
            raise InvalidResponseError(response.status, media_type, response.data.decode())
        code = _HEAD_CODES.get(response.status) if method == "HEAD" else None
        if code is None:
            raise ServerError(
                f"server failed with HTTP status code {response.status}", response.status
            )
        raise S3Error(response, code, response.reason, None, None, None, bucket, key or None)


def parse_page(body: bytes) -> Page:
    """The page in the response to a ListObjectsV2 request."""
    root = ET.fromstring(body)  # noqa: S314 - expat refuses entities that expand too far
    is_encoded = root.findtext("{*}EncodingType") == "url"
    rows = []
    for entry in root.iterfind("{*}Contents"):
        key = entry.findtext("{*}Key", "")
        rows.append(
            (
                unquote_plus(key) if is_encoded else key,
                bare_etag(entry.findtext("{*}ETag")),
                int(entry.findtext("{*}Size", "")),
                datetime.fromisoformat(entry.findtext("{*}LastModified", "")),
            )
        )
    is_last = root.findtext("{*}IsTruncated", "").lower() != "true"
    return Page(rows, is_last, root.findtext("{*}NextContinuationToken"))
