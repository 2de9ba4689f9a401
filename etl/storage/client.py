"""The object store: list, fetch and put objects, with client errors translated to EtlError.

obstore lists and fetches in bulk. minio does the rest, and handles the keys that obstore changes
(see `listing`).
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

import obstore
import urllib3
from minio.error import S3Error
from obstore.exceptions import InvalidPathError, NotFoundError

from etl.model.errors import ObjectChanged, ObjectStoreUnavailable, UnreadableObject
from etl.model.etags import bare_etag
from etl.model.keys import is_csv_or_image
from etl.model.values import SourceFile, SourceObject
from etl.runtime.pools import map_ahead
from etl.storage.bulk import BulkStores
from etl.storage.bulk_lister import BulkLister
from etl.storage.endpoint import Endpoint
from etl.storage.exact_lister import ExactLister
from etl.storage.listing import FIRST_PAGE_SIZES, BucketListing, KeyRanges
from etl.storage.order_trial import order_of
from etl.storage.pace import Pace
from etl.storage.put import SignedPut
from etl.storage.store_errors import StoreErrors
from etl.storage.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from minio import Minio
    from obstore import GetOptions
    from obstore.store import S3Store

    from etl.model.keys import IsUsed
    from etl.model.values import ListingEntry
    from etl.settings import Settings
    from etl.storage.listing import ListingPage
    from etl.storage.order import ListingOrder

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 30
CHECK_TIMEOUT_SECONDS = 3
RETRIES = 3
POOL_CONNECTIONS = 256  # the maximum of FETCH_CONCURRENCY; more would be closed after use
BLOCK_BYTES = 256 * 1024  # sent at a time
PART_SIZE = 5 * 1024 * 1024  # the minimum that S3 allows
FETCH_ATTEMPTS = 3
PARTS_AHEAD = 1

_NO_SUCH_KEY = {"NoSuchKey", "NoSuchObject"}


class ObjectStore:
    """One S3 endpoint. Safe to share between threads; make one per process.

    Raises (every method):  ObjectStoreUnavailable if the store does not respond after retries;
    ConfigurationError if it denies access or a bucket is missing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        first_page_sizes: Sequence[int] = FIRST_PAGE_SIZES,
        read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        self.endpoint = Endpoint.of(settings)
        self._own_bucket = settings.document_bucket
        self._list_concurrency = settings.list_concurrency
        self.pace = Pace(settings.fetch_concurrency)
        self.throttle = Throttle(settings.fetch_concurrency)
        errors = StoreErrors(self.endpoint.url, settings.buckets, settings.s3_sse)
        self.translating, self.timings = errors.translating, errors.timings
        self._read_timeout_seconds, self._retries = read_timeout_seconds, retries
        self._minio = self.client_of(self.endpoint)
        self._bulk = BulkStores(self.endpoint, CONNECT_TIMEOUT_SECONDS, read_timeout_seconds)
        self._exact = ExactLister(self._minio, self.translating)
        self._listing = BucketListing(
            self._exact, BulkLister(self._bulk_store, self.translating), first_page_sizes
        )

    @property
    def client(self) -> Minio:
        """The client for single objects, with timeouts; wrap its calls in `translating`."""
        return self._minio

    def client_of(self, endpoint: Endpoint) -> Minio:
        """A client as `client`, for another address of the store or with other headers."""
        return endpoint.client(_pool(self._read_timeout_seconds, self._retries))

    def probing_client(self) -> Minio:
        """A client with a timeout of 3 s and no retries."""
        return self.endpoint.client(_pool(CHECK_TIMEOUT_SECONDS, 0))

    def sender(self) -> SignedPut:
        """A client that streams single PUTs, with timeouts."""
        return SignedPut(self.endpoint, _pool(self._read_timeout_seconds, self._retries))

    # -- whole buckets

    def check(self) -> float:
        """Check that the store responds; return the response time in seconds, at most 3."""
        started = time.monotonic()
        with self.translating("list the buckets"):
            self.probing_client().list_buckets()
        return time.monotonic() - started

    def has_bucket(self, bucket: str) -> bool:
        """Whether the bucket exists."""
        with self.translating(f"check bucket {bucket}"):
            return bool(self._minio.bucket_exists(bucket))

    def ensure_bucket(self, bucket: str) -> None:
        """Create the bucket unless it exists."""
        if not self.has_bucket(bucket):
            self.create_bucket(bucket)

    def create_bucket(self, bucket: str) -> bool:
        """Create the bucket; False if it exists, which some stores do not report."""
        with self.translating(f"create bucket {bucket}"):
            try:
                self._minio.make_bucket(bucket)
            except S3Error as error:
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise
                return False
        return True

    def remove_bucket(self, bucket: str) -> bool:
        """Remove the bucket; False if it is not empty."""
        with self.translating(f"remove bucket {bucket}", bucket):
            try:
                self._minio.remove_bucket(bucket)
            except S3Error as error:
                if error.code != "BucketNotEmpty":
                    raise
                return False
        return True

    def bucket_names(self) -> list[str]:
        """The names of all buckets of the store."""
        with self.translating("list the buckets"):
            return [one.name for one in self._minio.list_buckets()]

    # -- listing

    def list_pages(
        self,
        bucket: str,
        split_points: Iterable[str] = (),
        is_used: IsUsed = is_csv_or_image,
    ) -> Iterator[ListingPage]:
        """Every object in the bucket, in UTF-8 byte order of the keys.

        Of the key ranges between the `split_points`, `ranges_at_once` are listed concurrently,
        unless LIST_CONCURRENCY is not set and that turns out to be slower. `is_used` tells empty
        data and image objects from folder markers.
        """
        return self._listing.pages(bucket, self._ranges(bucket, list(split_points)), is_used)

    def _ranges(self, bucket: str, split_points: list[str]) -> KeyRanges:
        at_once = self.ranges_at_once(bucket) if split_points else 1
        if at_once == 1 or self._order is None:
            return KeyRanges()
        may_be_given_up = not self._list_concurrency
        return KeyRanges(split_points, at_once, self._order, may_be_given_up=may_be_given_up)

    def ranges_at_once(self, bucket: str) -> int:
        """How many key ranges of a bucket are listed concurrently; the first call asks the store.

        LIST_CONCURRENCY, or several if the store is far away; 1 if the order of its listings is
        unknown, because it would not be noticed that a range lacks keys.
        """
        at_once = self._list_concurrency or self._ranges_by_distance(bucket)
        return at_once if at_once == 1 or self._order else 1

    @cached_property
    def _order(self) -> ListingOrder | None:
        return order_of(self._minio, self.translating, self._own_bucket)

    def _ranges_by_distance(self, bucket: str) -> int:
        if not self.pace.is_known:
            begun = time.perf_counter()
            self.has_bucket(bucket)
            self.pace.add(time.perf_counter() - begun, 0)
        return self.pace.ranges

    def list_objects(self, bucket: str) -> Iterator[SourceObject]:
        """As `list_pages`, one by one, without ignored objects."""
        return (SourceObject(*row) for page in self.list_pages(bucket) for row in page.rows)

    def list_everything(
        self, bucket: str, after: str | None = None
    ) -> Iterator[list[ListingEntry]]:
        """Every object after the key `after`, ignored ones included, in pages."""
        return self._listing.all_rows(bucket, after)

    def is_empty(self, bucket: str) -> bool:
        """Whether the bucket contains no object."""
        return self._exact.first(bucket) is None

    def stat(self, bucket: str, key: str) -> SourceObject | None:
        """One object as the listing shows it, or None.

        The Last-Modified of a HEAD response has no milliseconds, so the object is listed.
        """
        return self._exact.stat(bucket, key)

    # -- objects

    def fetch(self, bucket: str, source: SourceObject) -> SourceFile | None:
        """The object's bytes with the listing entry of that version; None if it does not exist.

        Raises:  UnreadableObject if the store denies access to the object, or if the object is
                 replaced during every attempt.
        """
        current: SourceObject | None = source
        for _ in range(FETCH_ATTEMPTS):
            if current is None:
                return None
            begun = time.perf_counter()
            found = self._get(bucket, current.key)
            self.pace.add(time.perf_counter() - begun, current.size)
            if found is not None and found[1] == current.etag:
                return SourceFile(current, found[0])
            current = self.stat(bucket, source.key)
        raise always_replaced(source)

    def _get(
        self, bucket: str, key: str, start: int = 0, size: int = 0
    ) -> tuple[bytes, str] | None:
        """Content and ETag; `size` 0 means all. None if the object, or this range, is missing."""
        with self.translating(f"get {bucket}/{key}", bucket, key):
            return self.throttle.call_with_retries(lambda: self._get_once(bucket, key, start, size))

    def _get_once(self, bucket: str, key: str, start: int, size: int) -> tuple[bytes, str] | None:
        options: GetOptions = {"range": (start, start + size)} if size else {}
        try:
            # No retries here: the throttle retries, so that it sees every failure.
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
        self,
        bucket: str,
        source: SourceObject,
        part_bytes: int,
        between: tuple[int, int] | None = None,
    ) -> Generator[bytes, None, None]:
        """The bytes of exactly this version of the object, or some of them, part by part.

        The next part is fetched while the caller processes one.

        Raises:  ObjectChanged if the object was replaced or removed; UnreadableObject if the
                 store denies access to it.
        """
        begin, end = between or (0, source.size)
        return map_ahead(
            lambda start: self._part(bucket, source, start, min(part_bytes, end - start)),
            range(begin, end, part_bytes),
            PARTS_AHEAD,
        )

    def _part(self, bucket: str, source: SourceObject, start: int, size: int) -> bytes:
        try:
            found = self._get(bucket, source.key, start, size)
        except ObjectStoreUnavailable:  # also raised for a range past the end of a new version
            if self.etag(bucket, source.key) == source.etag:
                raise
            found = None
        # No If-Match: stores without support for it silently return another version.
        if found is None or found[1] != source.etag or len(found[0]) != size:
            raise _changed(source)
        return found[0]

    def etag(self, bucket: str, key: str) -> str | None:
        """The object's ETag, or None if the object does not exist."""
        with self.translating(f"check {bucket}/{key}", bucket):
            try:
                return bare_etag(self._minio.stat_object(bucket, key).etag)
            except S3Error as error:
                if error.code in _NO_SUCH_KEY:
                    return None
                raise

    def is_gone(self, bucket: str, key: str) -> bool:
        """Whether a HEAD request confirms that the object does not exist.

        A listing may be outdated; the response to HEAD is current.
        """
        with self.translating(f"check {bucket}/{key}", bucket):
            try:
                self._minio.stat_object(bucket, key)
            except S3Error as error:  # HEAD may be denied, so list the object
                return error.code in _NO_SUCH_KEY or self.stat(bucket, key) is None
        return False

    def put_stream(self, bucket: str, key: str, stream: BinaryIO, content_type: str) -> None:
        """Write a stream of unknown length in parts; the object appears complete or not at all."""
        with self.translating(f"put {bucket}/{key}", bucket):
            self._minio.put_object(
                bucket,
                key,
                stream,
                length=-1,
                part_size=PART_SIZE,
                num_parallel_uploads=1,  # each additional one buffers two more parts
                content_type=content_type,
            )

    def remove(self, bucket: str, key: str) -> None:
        """Remove an object, if it exists."""
        with self.translating(f"remove {bucket}/{key}", bucket):
            self._minio.remove_object(bucket, key)

    # -- clients

    def _bulk_store(self, bucket: str) -> S3Store:
        return self._bulk.get(bucket, self._retries)


def _pool(read_timeout_seconds: float, retries: int) -> urllib3.PoolManager:
    return urllib3.PoolManager(
        maxsize=POOL_CONNECTIONS,
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=read_timeout_seconds),
        retries=urllib3.Retry(
            total=retries,
            backoff_factor=0.2,
            status_forcelist=(500, 502, 503, 504),
            allowed_methods=None,  # every request is idempotent
            raise_on_status=False,
        ),
        blocksize=BLOCK_BYTES,
    )


def always_replaced(source: SourceObject) -> UnreadableObject:
    """The error for an object that was replaced during every attempt to read it."""
    return UnreadableObject(
        f"Object {source.key!r} was replaced during each of {FETCH_ATTEMPTS} attempts to read it.",
        hint="The next run reads it again.",
        key=source.key,
    )


def _changed(source: SourceObject) -> ObjectChanged:
    return ObjectChanged(
        f"Object {source.key!r} was replaced or removed while it was read.", key=source.key
    )
