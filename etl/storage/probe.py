"""Find out what an object store can do, by trying it on objects that are removed again.

Objects are put only into the document bucket, below `.bucketline/`, where no run reads them. Keys
that may only read leave those capabilities unknown that need a put.
"""

from __future__ import annotations

import io
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice, zip_longest
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4
from xml.etree.ElementTree import ParseError

import urllib3
from minio.commonconfig import ENABLED
from minio.error import MinioException
from minio.versioningconfig import SUSPENDED, VersioningConfig

from etl.model.capabilities import Capability, CapabilityAnswer, Finding
from etl.model.errors import (
    ConfigurationError,
    EtlError,
    NotificationsUnsupported,
    ObjectStoreUnavailable,
)
from etl.settings.s3 import ENCRYPTION
from etl.storage.client import CHECK_TIMEOUT_SECONDS, PART_SIZE, ObjectStore
from etl.storage.conditional import OWN_PREFIX, ConditionalWrites, Write
from etl.storage.notifications import (
    event_lines,
    is_unsupported,
    keeps_subscriptions,
    open_events,
)
from etl.storage.objects import Objects, PresignOptions
from etl.storage.order import are_rising

if TYPE_CHECKING:
    from collections.abc import Callable

    from minio.datatypes import Object

    from etl.settings import Settings

    _Result = tuple[CapabilityAnswer, str]

READ_TIMEOUT_SECONDS = 10
TIME_LIMIT_SECONDS = 60
EVENT_SECONDS = 6  # for a notification to arrive
FOLDER = f"{OWN_PREFIX}doctor/"

_YES, _NO, _UNKNOWN = CapabilityAnswer
_CONTENT = b"0123456789"
_LISTED = 1000  # objects of the source bucket, if no own objects can be put
_LEFT_AFTER = timedelta(hours=1)  # a probe that was killed
# These sort differently by locale, by UTF-16 unit, and as files and folders.
_NAMES = ("B", "a-", "a.b", "a/b", "aB", "aé", "b", "\N{FULLWIDTH TILDE}", "\N{GRINNING FACE}")
_UNREADABLE = (ValueError, ParseError)  # not the XML that the client expects
_WRITES = {
    Capability.CONDITIONAL_CREATION: Write.NEW,
    Capability.CONDITIONAL_REPLACEMENT: Write.OVER,
    Capability.CONDITIONAL_REMOVAL: Write.REMOVAL,
}


def _is_ip_address(host: str) -> bool:
    """Whether the host is an IPv4 address, which has no names below it."""
    return all(part.isdecimal() for part in host.split("."))


class _NotTried(Exception):
    """The capability cannot be tried: the reason."""


def _as_result(error: Exception) -> _Result:
    """What follows from a failed trial: no if the store says so, else nothing."""
    cause = error.__cause__
    is_missing = isinstance(cause, MinioException) and is_unsupported(cause)
    if is_missing or isinstance(error, NotificationsUnsupported):
        return _NO, ""
    if isinstance(error, _UNREADABLE):
        return _UNKNOWN, f"its response cannot be read: {error}"
    return _UNKNOWN, str(error)


@dataclass(slots=True)
class StoreReport:
    """What was found, with the reason if nothing could be put, and keys that were not removed."""

    endpoint: str
    read_bucket: str
    write_bucket: str
    denial: str = ""
    findings: list[Finding] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        """Whether the store lacks nothing that Bucketline requires."""
        return not any(one.is_fault for one in self.findings)


class StoreProbe:
    """Tries every capability of one store."""

    def __init__(self, settings: Settings, *, limit_seconds: float = TIME_LIMIT_SECONDS) -> None:
        self._settings = settings
        self._store = ObjectStore(settings, read_timeout_seconds=READ_TIMEOUT_SECONDS, retries=1)
        self._client = self._store.client
        self._source, self._bucket = settings.source_bucket, settings.document_bucket
        self._folder = f"{FOLDER}{uuid4().hex}/"
        self._deadline = time.monotonic() + limit_seconds
        self._limit_seconds = limit_seconds
        self._denial = ""
        self._has_put = False

    def run(self, found: Callable[[Finding], object] = lambda _: None) -> StoreReport:
        """Try each capability, call `found` with each finding, and remove what was put.

        Raises:  ConfigurationError if the source bucket is missing or may not be listed;
                 ObjectStoreUnavailable if the store does not respond.
        """
        self._store.is_empty(self._source)
        report = StoreReport(self._store.endpoint.url, self._source, self._bucket)
        try:
            self._denial = report.denial = self._first_puts()
            for capability in Capability:
                report.findings.append(self._finding(capability))
                found(report.findings[-1])
        finally:
            report.left = self._remove_all()
        return report

    def _first_puts(self) -> str:
        """Put the objects to list; return why that is not possible, or an empty text."""
        try:
            if not self._store.has_bucket(self._bucket):  # some stores would create it
                return f"Bucket {self._bucket!r} does not exist."
            for name in _NAMES:
                self._put(name)
        except (ConfigurationError, ObjectStoreUnavailable) as error:  # also a quota
            return error.message
        return ""

    def _finding(self, capability: Capability) -> Finding:
        if time.monotonic() > self._deadline:
            late = f"not tried: the time limit of {self._limit_seconds:.0f} s was reached"
            return Finding(capability, _UNKNOWN, late)
        try:
            with self._store.translating(f"try {capability}", self._bucket):
                return Finding(capability, *self._try(capability))
        except (_NotTried, EtlError, *_UNREADABLE) as error:
            return Finding(capability, *_as_result(error))

    def _try(self, capability: Capability) -> _Result:
        if capability in _WRITES:
            return self._conditional(_WRITES[capability])
        tries: dict[Capability, Callable[[], _Result]] = {
            Capability.KEY_ORDER: self._key_order,
            Capability.RANGES: self._ranges,
            Capability.MULTIPART: self._multipart,
            Capability.PRECISE_TIMES: self._precise_times,
            Capability.LISTENING: self._listening,
            Capability.SUBSCRIPTIONS: self._subscriptions,
            Capability.VERSIONING: self._versioning,
            Capability.PRESIGNED_URLS: self._presigned,
            Capability.VIRTUAL_HOSTS: self._virtual_hosts,
            Capability.ENCRYPTION: self._encryption,
        }
        return tries[capability]()

    # -- reading

    def _key_order(self) -> _Result:
        if self._denial:
            keys = [one.object_name or "" for one in self._listed()]
            if len(keys) <= 1:
                raise _NotTried(f"{self._source} has too few objects, and {self._reason}")
            detail = f"the first {len(keys)} keys of {self._source}"
            return (_YES if are_rising(keys) else _NO), detail
        wanted = [f"{self._folder}{name}" for name in _NAMES]  # sorted
        for after in (None, wanted[3]):
            found = [
                one.object_name or ""
                for one in self._client.list_objects(
                    self._bucket, prefix=self._folder, recursive=True, start_after=after
                )
            ]
            expected = wanted if after is None else wanted[4:]
            if found != expected:
                return _NO, self._first_difference(found, expected)
        return _YES, ""

    def _first_difference(self, found: list[str], expected: list[str]) -> str:
        pairs = zip_longest(found, expected, fillvalue="")
        one, other = next(pair for pair in pairs if pair[0] != pair[1])
        names = [repr(key.removeprefix(self._folder)) if key else "the end" for key in (one, other)]
        return f"{names[0]} in the place of {names[1]}"

    def _precise_times(self) -> _Result:
        times = [one.last_modified for one in self._listed() if one.last_modified]
        if any(one.microsecond % 1000 for one in times):
            return _YES, "microseconds"
        if any(one.microsecond for one in times):
            return _YES, "milliseconds"
        if len(times) < len(_NAMES):
            raise _NotTried(f"{self._source} has too few objects, and {self._reason}")
        return _NO, "seconds"

    def _ranges(self) -> _Result:
        bucket, key, _ = self._sample()
        response = self._client.get_object(bucket, key, offset=1, length=1)
        with closing(response):
            content = response.read(2)
            is_part = response.status == 206 and len(content) == 1  # noqa: PLR2004 - HTTP's
        return (_YES if is_part and (self._denial or content == b"1") else _NO), ""

    def _presigned(self) -> _Result:
        bucket, key, size = self._sample()
        options = PresignOptions("GET", timedelta(minutes=1))
        url = Objects(self._store, self._settings).presign(bucket, key, options)
        with urllib3.PoolManager(timeout=CHECK_TIMEOUT_SECONDS, retries=False) as http:
            try:
                response = http.request("GET", url, preload_content=False)
            except urllib3.exceptions.HTTPError as error:
                host = self._settings.s3_public_endpoint or self._store.endpoint.url
                raise _NotTried(f"{host} does not answer from here") from error
            with closing(response):
                length = int(response.headers.get("Content-Length", -1))
                is_object = response.status == 200 and length == size  # noqa: PLR2004 - HTTP's
                return (_YES if is_object else _NO), "" if is_object else f"{response.status}"

    def _virtual_hosts(self) -> _Result:
        bucket = self._source if self._denial else self._bucket
        virtual = replace(self._store.endpoint, is_virtual=True)
        host = virtual.address(bucket).netloc
        if _is_ip_address(str(urlsplit(virtual.url).hostname)):
            return _NO, "the endpoint is an IP address"
        try:
            response = self._store.client_of(virtual)._execute(  # noqa: SLF001
                "GET", bucket, query_params={"list-type": "2", "max-keys": "1"}
            )
        except (urllib3.exceptions.HTTPError, MinioException) as error:
            name = type(error).__name__
            if isinstance(error, urllib3.exceptions.MaxRetryError):
                return _NO, f"{host} does not resolve or does not answer"
            return _NO, f"{host}: {getattr(error, 'code', name)}"
        # A store that ignores the host name lists its buckets.
        return (_YES if b"<ListBucketResult" in response.data else _NO), host

    # -- writing

    def _multipart(self) -> _Result:
        size = PART_SIZE + 1
        key = self._own_key("multipart")
        self._store.put_stream(self._bucket, key, io.BytesIO(bytes(size)), "text/plain")
        found = self._client.stat_object(self._bucket, key)
        return (_YES if found.size == size else _NO), ""

    def _conditional(self, write: Write) -> _Result:
        self._check_writable()
        sender = self._store.sender()
        conditional = ConditionalWrites(self._store, sender, self._bucket, self._folder)
        return (_YES if conditional.supports(write) else _NO), ""

    def _listening(self) -> _Result:
        bucket, name = (self._source if self._denial else self._bucket), "event"
        until = time.monotonic() + EVENT_SECONDS
        client = self._store.probing_client()
        with closing(open_events(client, bucket, prefix=self._folder)) as response:
            self._check_writable()
            self._put(name)
            try:
                for line in event_lines(response):
                    if name.encode() in line:
                        return _YES, ""
                    if time.monotonic() > until:
                        break
            except urllib3.exceptions.ReadTimeoutError:
                pass
        return _NO, "the store accepted the connection and sent nothing"

    def _subscriptions(self) -> _Result:
        self._check_writable()
        return (_YES if keeps_subscriptions(self._store, self._bucket) else _NO), ""

    def _encryption(self) -> _Result:
        wanted = self._store.endpoint.put_headers or {ENCRYPTION: "AES256"}
        client = self._store.client_of(replace(self._store.endpoint, put_headers=wanted))
        key = self._own_key("encrypted")
        try:
            written = client.put_object(self._bucket, key, io.BytesIO(_CONTENT), len(_CONTENT))
        except MinioException as error:
            return _NO, f"{wanted[ENCRYPTION]}: {getattr(error, 'code', type(error).__name__)}"
        confirmed = written.http_headers.get(ENCRYPTION, "")
        return (_YES if confirmed == wanted[ENCRYPTION] else _NO), wanted[ENCRYPTION]

    # -- versions

    def _versioning(self) -> _Result:
        state = self._versions_of(self._source)
        detail = f"{state.lower()} in the source bucket"
        if state in (ENABLED, SUSPENDED):
            return _YES, detail
        return self._versioning_of_new_bucket(), detail

    def _versions_of(self, bucket: str) -> str:
        return str(self._client.get_bucket_versioning(bucket).status or "off")

    def _versioning_of_new_bucket(self) -> CapabilityAnswer:
        """Enable versioning in a bucket that exists only for this; ours stay as they are."""
        bucket = f"bucketline-doctor-{uuid4().hex[:16]}"
        try:
            self._store.create_bucket(bucket)
        except ConfigurationError as error:
            raise _NotTried(f"off in the source bucket; {error.message}") from error
        try:
            self._client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
            for content in (b"1", b"22"):
                self._client.put_object(bucket, "a", io.BytesIO(content), len(content))
            return _YES if len(self._all_versions(bucket)) > 1 else _NO
        finally:
            for one in self._all_versions(bucket):
                self._client.remove_object(bucket, one.object_name or "", one.version_id)
            self._store.remove_bucket(bucket)

    def _all_versions(self, bucket: str, prefix: str = "") -> list[Object]:
        return list(
            self._client.list_objects(bucket, prefix=prefix, recursive=True, include_version=True)
        )

    # -- own objects

    @property
    def _reason(self) -> str:
        return f"no object can be put: {self._denial}"

    def _check_writable(self) -> None:
        if self._denial:
            raise _NotTried(f"needs the right to write to {self._bucket}")

    def _own_key(self, name: str) -> str:
        """The key of an object that the caller puts."""
        self._check_writable()
        return f"{self._folder}{name}"

    def _put(self, name: str) -> None:
        key = f"{self._folder}{name}"
        with self._store.translating(f"put {self._bucket}/{key}", self._bucket):
            self._client.put_object(self._bucket, key, io.BytesIO(_CONTENT), len(_CONTENT))
        self._has_put = True

    def _listed(self) -> list[Object]:
        """Our own objects, or the first ones of the source bucket."""
        bucket, prefix = (self._source, "") if self._denial else (self._bucket, self._folder)
        found = self._client.list_objects(bucket, prefix=prefix, recursive=True)
        return list(islice(found, _LISTED))

    def _sample(self) -> tuple[str, str, int]:
        """Bucket, key and size of an object to read."""
        if not self._denial:
            return self._bucket, f"{self._folder}{_NAMES[0]}", len(_CONTENT)
        for one in self._listed():
            if one.size and one.size > 1:
                return self._source, one.object_name or "", one.size
        raise _NotTried(f"{self._source} has no object to read, and {self._reason}")

    def _remove_all(self) -> list[str]:
        """Remove our objects, and those of killed probes; return the keys that are left."""
        if not self._has_put:
            return []
        try:
            with self._store.translating("remove the objects of the probe", self._bucket):
                for one in self._ours():
                    self._client.remove_object(self._bucket, one.object_name or "", one.version_id)
                return [one.object_name or "" for one in self._ours()]
        except (EtlError, *_UNREADABLE) as error:
            return [f"{self._folder}*: {error}"]

    def _ours(self) -> list[Object]:
        try:
            is_versioned = self._versions_of(self._bucket) in (ENABLED, SUSPENDED)
        except MinioException:
            is_versioned = False
        if is_versioned:
            found = self._all_versions(self._bucket, FOLDER)
        else:
            found = list(self._client.list_objects(self._bucket, prefix=FOLDER, recursive=True))
        old = datetime.now(UTC) - _LEFT_AFTER
        return [
            one
            for one in found
            if (one.object_name or "").startswith(self._folder)
            or (one.last_modified and one.last_modified < old)
        ]
