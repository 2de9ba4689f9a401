"""The object store at the edge: list, fetch, put; its clients' errors as ours.

obstore lists and fetches in bulk; minio does the rest, and everything for keys that
obstore cannot spell (see `listing`).
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

import obstore
import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from etl.model.errors import (
    ConfigurationError,
    ObjectChanged,
    ObjectStoreUnavailable,
    UnreadableObject,
)
from etl.model.etags import bare_etag
from etl.model.values import SourceFile, SourceObject
from etl.runtime.pools import map_ahead
from etl.storage.bulk import BulkStores
from etl.storage.bulk_lister import BulkLister
from etl.storage.exact_lister import ExactLister
from etl.storage.listing import FIRST_PAGE_SIZES, BucketListing
from etl.storage.put import SignedPut
from etl.storage.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from obstore import GetOptions
    from obstore.store import S3Store

    from etl.model.values import ListingEntry
    from etl.settings import Settings
    from etl.storage.listing import ListingPage

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 30
CHECK_TIMEOUT_SECONDS = 3
RETRIES = 3
POOL_CONNECTIONS = 256  # the most that FETCH_CONCURRENCY may be; others would be closed after use
BLOCK_BYTES = 256 * 1024  # what is sent of a stream at a time
PART_SIZE = 5 * 1024 * 1024  # the least S3 allows
FETCH_ATTEMPTS = 3
PARTS_AHEAD = 1

_NO_SUCH_KEY = {"NoSuchKey", "NoSuchObject"}
_BAD_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"}


class ObjectStore:
    """One S3 endpoint. Safe to share between threads; make one per process.

    Raises (every method):  ObjectStoreUnavailable when the store does not answer after
    retries; ConfigurationError when it refuses our keys or a bucket is missing.
    """

    def __init__(
        self, settings: Settings, *, first_page_sizes: Sequence[int] = FIRST_PAGE_SIZES
    ) -> None:
        self._endpoint, self._access_key, self._secret_key = _credentials(settings)
        self._region = settings.s3_region
        self._list_concurrency = settings.list_concurrency
        self.fetch_concurrency = settings.fetch_concurrency
        self.throttle = Throttle(settings.fetch_concurrency)
        self._minio = self._minio_client(READ_TIMEOUT_SECONDS, RETRIES)
        self._bulk = BulkStores(
            *(self._endpoint, self._access_key, self._secret_key, self._region),
            *(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
        )
        self._exact = ExactLister(self._minio, self.translating)
        self._listing = BucketListing(
            self._exact, BulkLister(self._bulk_store, self.translating), first_page_sizes
        )

    @property
    def client(self) -> Minio:
        """The client for single objects, with our time limits; wrap its calls in `translating`."""
        return self._minio

    def client_at(self, endpoint: str | None) -> Minio:
        """A client that signs for another address of the store; it is not asked anything."""
        return self._minio_client(READ_TIMEOUT_SECONDS, RETRIES, endpoint)

    def impatient(self) -> Minio:
        """A client that waits at most 3 s and does not retry."""
        return self._minio_client(CHECK_TIMEOUT_SECONDS, 0)

    def sender(self) -> SignedPut:
        """What streams single PUTs, with our time limits."""
        credentials = Credentials(self._access_key, self._secret_key)
        pool = _pool(READ_TIMEOUT_SECONDS, RETRIES)
        return SignedPut(self._endpoint, credentials, self._region, pool)

    # -- whole buckets

    def check(self) -> float:
        """Ask the store for a sign of life; return how many seconds it took (3 at most)."""
        started = time.monotonic()
        with self.translating("list the buckets"):
            self.impatient().list_buckets()
        return time.monotonic() - started

    def has_bucket(self, bucket: str) -> bool:
        """Whether the bucket exists."""
        with self.translating(f"look for bucket {bucket}"):
            return bool(self._minio.bucket_exists(bucket))

    def ensure_bucket(self, bucket: str) -> None:
        """Make the bucket unless it exists."""
        if self.has_bucket(bucket):
            return
        with self.translating(f"make bucket {bucket}"):
            try:
                self._minio.make_bucket(bucket)
            except S3Error as error:  # somebody else was faster
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    # -- listing

    def list_pages(self, bucket: str, split_points: Iterable[str] = ()) -> Iterator[ListingPage]:
        """Every object in the bucket, in the order the store lists: UTF-8 bytes of the key.

        Of the key ranges between the `split_points`, LIST_CONCURRENCY are listed concurrently.
        """
        return self._listing.pages(bucket, split_points, self._list_concurrency)

    def list_objects(self, bucket: str) -> Iterator[SourceObject]:
        """As `list_pages`, one by one, without those of the ignored kind."""
        return (SourceObject(*row) for page in self.list_pages(bucket) for row in page.rows)

    def list_everything(
        self, bucket: str, after: str | None = None
    ) -> Iterator[list[ListingEntry]]:
        """Every object behind `after`, whatever its kind, by the page."""
        return self._listing.all_rows(bucket, after)

    def is_empty(self, bucket: str) -> bool:
        """Whether the bucket holds no object at all."""
        return self._exact.first(bucket) is None

    def stat(self, bucket: str, key: str) -> SourceObject | None:
        """One object as the listing shows it, or None.

        It is listed, not asked for by HEAD, whose Last-Modified has no milliseconds.
        """
        return self._exact.stat(bucket, key)

    # -- objects

    def fetch(self, bucket: str, source: SourceObject) -> SourceFile | None:
        """The object's bytes, with the listing's facts about those very bytes; None if gone.

        Raises:  UnreadableObject when the store denies this object, or it never holds still.
        """
        current: SourceObject | None = source
        for _ in range(FETCH_ATTEMPTS):
            if current is None:
                return None
            found = self._get(bucket, current.key)
            if found is not None and found[1] == current.etag:
                return SourceFile(current, found[0])
            current = self.stat(bucket, source.key)
        raise never_still(source)

    def _get(self, bucket: str, key: str) -> tuple[bytes, str] | None:
        """Content and ETag; None when there is no such object."""
        with self.translating(f"get {bucket}/{key}", bucket, key):
            return self.throttle.call(lambda: self._get_once(bucket, key))

    def _get_once(
        self, bucket: str, key: str, start: int = 0, size: int = 0
    ) -> tuple[bytes, str] | None:
        """Content and ETag; `size` 0 stands for the whole object."""
        options: GetOptions = {"range": (start, start + size)} if size else {}
        try:
            # No retries here: the throttle retries, so that it sees every refusal.
            result = obstore.get(self._bulk.get(bucket, retries=0), key, options=options)
            return bytes(result.bytes()), bare_etag(result.meta["e_tag"])
        except (NotFoundError, FileNotFoundError, InvalidPathError, ValueError):
            return self._get_exactly(bucket, key, start, size)

    def _get_exactly(
        self, bucket: str, key: str, start: int, size: int
    ) -> tuple[bytes, str] | None:
        try:
            response = self._minio.get_object(bucket, key, offset=start, length=size)
        except S3Error as error:
            if error.code in _NO_SUCH_KEY | {"InvalidRange"}:
                return None
            raise
        try:
            return response.read(), bare_etag(response.headers.get("ETag"))
        finally:
            response.close()
            response.release_conn()

    def fetch_in_parts(
        self, bucket: str, source: SourceObject, part_bytes: int
    ) -> Generator[bytes, None, None]:
        """The bytes of this very version of the object, a part of them at a time.

        While one part is looked at, the next is fetched.

        Raises:  ObjectChanged when the object is another by now, or gone; UnreadableObject
                 when the store denies this object.
        """
        starts = range(0, source.size, part_bytes)
        return map_ahead(
            lambda start: self._part(bucket, source, start, min(part_bytes, source.size - start)),
            starts,
            PARTS_AHEAD,
        )

    def _part(self, bucket: str, source: SourceObject, start: int, size: int) -> bytes:
        try:
            found = self._get_part(bucket, source.key, start, size)
        except ObjectStoreUnavailable:  # also what a range behind the end of a new version gives
            if self.etag(bucket, source.key) == source.etag:
                raise
            found = None
        # Not If-Match: stores that do not know it would give another version without a word.
        if found is None or found[1] != source.etag or len(found[0]) != size:
            raise _changed(source)
        return found[0]

    def _get_part(self, bucket: str, key: str, start: int, size: int) -> tuple[bytes, str] | None:
        """Content of a range and ETag; None when there is no such object, or it ends before."""
        with self.translating(f"get {bucket}/{key}", bucket, key):
            return self.throttle.call(lambda: self._get_once(bucket, key, start, size))

    def etag(self, bucket: str, key: str) -> str | None:
        """The object's ETag, or None when there is no such object."""
        with self.translating(f"look at {bucket}/{key}", bucket):
            try:
                return bare_etag(self._minio.stat_object(bucket, key).etag)
            except S3Error as error:
                if error.code in _NO_SUCH_KEY:
                    return None
                raise

    def is_gone(self, bucket: str, key: str) -> bool:
        """Whether the store says that there is no such object, asked for it by its key.

        A listing may be older than this answer, but not the other way round.
        """
        with self.translating(f"look at {bucket}/{key}", bucket):
            try:
                self._minio.stat_object(bucket, key)
            except S3Error as error:  # refused to tell, for one: then it is listed
                return error.code in _NO_SUCH_KEY or self.stat(bucket, key) is None
        return False

    def put_stream(self, bucket: str, key: str, stream: BinaryIO, content_type: str) -> None:
        """Write a stream of unknown length in parts; the object appears whole or not at all."""
        with self.translating(f"put {bucket}/{key}", bucket):
            self._minio.put_object(
                bucket,
                key,
                stream,
                length=-1,
                part_size=PART_SIZE,
                num_parallel_uploads=1,  # each more holds two parts more
                content_type=content_type,
            )

    def remove(self, bucket: str, key: str) -> None:
        """Remove an object; nothing happens when there is none."""
        with self.translating(f"remove {bucket}/{key}", bucket):
            self._minio.remove_object(bucket, key)

    # -- clients and their errors

    def _minio_client(
        self, read_timeout_seconds: float, retries: int, endpoint: str | None = None
    ) -> Minio:
        endpoint = endpoint or self._endpoint
        return Minio(
            urlsplit(endpoint).netloc,
            self._access_key,
            self._secret_key,
            secure=endpoint.startswith("https://"),
            region=self._region,
            http_client=_pool(read_timeout_seconds, retries),
        )

    def _bulk_store(self, bucket: str) -> S3Store:
        return self._bulk.get(bucket, RETRIES)

    @contextmanager
    def translating(
        self, operation: str, bucket: str | None = None, key: str | None = None
    ) -> Iterator[None]:
        """Raise the clients' errors as ours; a denied `key` is that object's fault alone."""
        try:
            yield
        except S3Error as error:
            raise self._of_s3(error, operation, bucket, key) from error
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
            raise self._denied(operation, key) from error
        except InvalidPathError:
            raise
        except (NotFoundError, FileNotFoundError) as error:
            raise _missing(bucket or "?") from error
        except (
            BaseError,
            ServerError,
            InvalidResponseError,
            MinioException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            raise self._unavailable(operation, error) from error

    def _of_s3(
        self, error: S3Error, operation: str, bucket: str | None, key: str | None
    ) -> Exception:
        if error.code == "NoSuchBucket":
            return _missing(bucket or error.bucket_name or "?")
        if error.code in _BAD_KEYS:
            return self._denied(operation, key)
        return self._unavailable(operation, error)

    def _denied(self, operation: str, key: str | None) -> Exception:
        if key is not None:
            return UnreadableObject(f"The object store refused to {operation}.", key=key)
        return ConfigurationError(
            f"The object store at {self._endpoint} refused to {operation} with our keys.",
            hint="Check S3_ACCESS_KEY and S3_SECRET_KEY, and what that user may do.",
            public_message=f"The object store refused to {operation} with our keys.",
        )

    def _unavailable(self, operation: str, error: BaseException) -> ObjectStoreUnavailable:
        error = _innermost(error)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return ObjectStoreUnavailable(
            f"Could not {operation} at {self._endpoint}: {reason[:300]}",
            public_message=f"The object store is not available: could not {operation}.",
            operation=operation,
        )


def _innermost(error: BaseException) -> BaseException:
    """The reason of a request's last attempt, without the address and query around it."""
    while isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        error = error.reason
    return error


def _pool(read_timeout_seconds: float, retries: int) -> urllib3.PoolManager:
    return urllib3.PoolManager(
        maxsize=POOL_CONNECTIONS,
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=read_timeout_seconds),
        retries=urllib3.Retry(
            total=retries,
            backoff_factor=0.2,
            status_forcelist=(500, 502, 503, 504),
            allowed_methods=None,  # every S3 verb we use may be repeated
            raise_on_status=False,
        ),
        blocksize=BLOCK_BYTES,
    )


def _credentials(settings: Settings) -> tuple[str, str, str]:
    if not (settings.s3_endpoint and settings.s3_access_key and settings.s3_secret_key):
        raise ConfigurationError(
            "S3_ENDPOINT, S3_ACCESS_KEY and S3_SECRET_KEY must all be set.",
            hint="Set all three, or none of them to use the embedded object store.",
        )
    return settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key.get_secret_value()


def never_still(source: SourceObject) -> UnreadableObject:
    """What is to be said of an object that changed under every attempt to read it."""
    return UnreadableObject(
        f"{source.key!r} was replaced each of the {FETCH_ATTEMPTS} times it was read.",
        hint="It is read again by the next run.",
        key=source.key,
    )


def _changed(source: SourceObject) -> ObjectChanged:
    return ObjectChanged(
        f"{source.key!r} was replaced or removed while it was read.", key=source.key
    )


def _missing(bucket: str) -> ConfigurationError:
    return ConfigurationError(
        f"Bucket {bucket!r} does not exist.",
        hint="Make it (`./run.sh migrate` does), or mend the *_BUCKET setting that names it.",
    )
