"""Read the current state of the buckets, one object at a time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from minio import Minio
from minio.error import MinioException, S3Error
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from etl.model.errors import ConfigurationError, ObjectStoreUnavailable, UnreadableObject
from etl.model.values import SourceObject
from etl.settings.s3 import request_headers, virtual_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from minio.credentials.credentials import Credentials
    from minio.datatypes import Object
    from minio.helpers import DictType

    from etl.settings import Settings

_CONNECT_TIMEOUT_SECONDS = 2
_READ_TIMEOUT_SECONDS = 30
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ObjectContent:
    """An object's bytes and their ETag."""

    etag: str
    content: bytes


def connect(settings: Settings) -> Minio:
    """Create a client with timeouts of seconds, not minutes.

    Raises:  ConfigurationError if S3_ENDPOINT is not set.
    """
    if settings.s3_endpoint is None:
        raise ConfigurationError(
            "S3_ENDPOINT is not set and no embedded object store was started.",
            hint="Start it with `./run.sh up`, or set S3_ENDPOINT.",
        )
    scheme, _, host = settings.s3_endpoint.partition("://")
    secret = settings.s3_secret_key
    client = _Client(
        host,
        access_key=settings.s3_access_key,
        secret_key=None if secret is None else secret.get_secret_value(),
        secure=scheme == "https",
        region=settings.s3_region,
        http_client=PoolManager(
            timeout=Timeout(connect=_CONNECT_TIMEOUT_SECONDS, read=_READ_TIMEOUT_SECONDS),
            retries=Retry(3, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)),
        ),
    )
    client.own_headers = request_headers(settings)
    is_virtual = virtual_hosts(settings)
    if is_virtual is not None:
        client._base_url.virtual_style_flag = is_virtual  # noqa: SLF001
    return client


class _Client(Minio):
    """A client that signs and sends more headers with every request."""

    own_headers: Mapping[str, str] = MappingProxyType({})

    def _build_headers(
        self,
        host: str,
        headers: DictType | None = None,
        body: bytes | None = None,
        creds: Credentials | None = None,
    ) -> tuple[DictType, datetime]:
        return super()._build_headers(host, {**(headers or {}), **self.own_headers}, body, creds)


def list_objects(client: Minio, bucket: str, prefix: str = "") -> Iterator[SourceObject]:
    """List all objects of a bucket whose key begins with `prefix`, including ignored ones.

    Raises:  ConfigurationError if the bucket does not exist or may not be listed;
             ObjectStoreUnavailable.
    """
    with _translating(bucket):
        for listed in client.list_objects(bucket, prefix=prefix, recursive=True):
            yield _as_source(listed)


def read_object(
    client: Minio, bucket: str, source: SourceObject
) -> tuple[SourceObject, bytes] | None:
    """Read an object and the listing entry of this version; None if it no longer exists.

    If the object was replaced since it was listed, returns its newer entry.

    Raises:  UnreadableObject if the store denies access; ObjectStoreUnavailable.
    """
    current: SourceObject | None = source
    for _ in range(_ATTEMPTS):
        if current is None:
            return None
        fetched = fetch(client, bucket, source.key)
        if fetched is not None and fetched.etag == current.etag:
            return current, fetched.content
        current = _find(client, bucket, source.key)
    raise ObjectStoreUnavailable(
        f"{bucket}/{source.key} was replaced during each of {_ATTEMPTS} attempts to read it.",
        hint="Run verify again when fewer uploads are in progress.",
    )


def fetch(client: Minio, bucket: str, key: str) -> ObjectContent | None:
    """Read an object's bytes; None if it does not exist.

    Raises:  UnreadableObject if the store denies access; ObjectStoreUnavailable.
    """
    with _translating(bucket):
        try:
            return _fetch(client, bucket, key)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            if error.response.status == HTTPStatus.FORBIDDEN:
                raise UnreadableObject(
                    f"The object store denied access to {bucket}/{key}: {error.code}.",
                    hint="Allow the access key to read it.",
                ) from error
            raise


def _fetch(client: Minio, bucket: str, key: str) -> ObjectContent:
    for attempt in range(_ATTEMPTS):
        response = client.get_object(bucket, key)
        try:
            return ObjectContent(_bare(response.headers["ETag"]), response.read())
        except HTTPError:  # the body was cut off; the client retries only before it begins
            if attempt == _ATTEMPTS - 1:
                raise
        finally:
            response.close()
            response.release_conn()
    raise AssertionError  # the last attempt returned or raised


def _find(client: Minio, bucket: str, key: str) -> SourceObject | None:
    """Find an object's listing entry: the first one of those with its key as prefix."""
    first = list(islice(list_objects(client, bucket, prefix=key), 1))
    return first[0] if first and first[0].key == key else None


def _as_source(listed: Object) -> SourceObject:
    return SourceObject(
        key=listed.object_name or "",
        etag=_bare(listed.etag or ""),
        size=listed.size or 0,
        last_modified=listed.last_modified or datetime.fromtimestamp(0, UTC),
    )


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


@contextmanager
def _translating(bucket: str) -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        if error.response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ObjectStoreUnavailable(
                f"The object store failed on bucket {bucket}: {error.code}."
            ) from error
        raise ConfigurationError(
            f"The object store cannot list or read bucket {bucket}: {error.code}.",
            hint="Check that the bucket exists and that the access key may list and read it.",
        ) from error
    except (MinioException, HTTPError) as error:
        raise ObjectStoreUnavailable(
            f"The object store did not answer for bucket {bucket}: {type(error).__name__}."
        ) from error
