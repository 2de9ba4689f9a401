"""Process the images of the manifest: store metadata and thumbnails, and remove unused ones.

It runs outside of runs and under its own lock, so images never delay users. After a kill at any
instant the next run() completes the work: a thumbnail's row is committed before its object is put
and deleted after it. An image's metadata is written only once all of its thumbnails are put.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Condition
from typing import TYPE_CHECKING

from etl.db import revisions
from etl.db.engine import connect_unpooled, translating
from etl.db.locks import image_lock
from etl.images import rows, waiting
from etl.images.decode import Examined, ImageMetadata, examine
from etl.images.rows import IndexedImage, thumbnail_key
from etl.images.store import ThumbnailStore
from etl.model.errors import ConfigurationError, EtlError, ObjectStoreUnavailable, UnreadableObject
from etl.model.values import ImageState
from etl.runtime.cores import usable_cores
from etl.runtime.logs import get_logger
from etl.runtime.pools import map_ahead, map_in_threads
from etl.runtime.sandbox import Killed, OutOfMemory, OutOfTime, Sandbox, WorkFailed
from etl.storage.client import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

    from etl.model.values import SourceObject
    from etl.runtime.service import StopEvent
    from etl.settings import Settings

log = get_logger("etl.images")

CHUNK_IMAGES = 200  # per commit
STORE_THREADS = 8
MIN_BYTES_AHEAD = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The results of one run(): `looked_at` is ready + corrupt + too_large + unsupported.

    `passed_over` counts images that stay pending: those replaced or removed since the last run,
    those the store refused, and those whose decoder process was killed from outside.
    """

    looked_at: int = 0
    ready: int = 0
    corrupt: int = 0
    too_large: int = 0
    unsupported: int = 0
    passed_over: int = 0
    forgotten: int = 0
    thumbnails_put: int = 0
    thumbnails_removed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Decoded:
    source: SourceObject
    examined: Examined


class ThumbnailIndexer:
    """Syncs image metadata and thumbnails with the images of the manifest."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: ObjectStore | None = None,
        decode: Callable[[bytes], Examined] | None = None,
        chunk_images: int = CHUNK_IMAGES,
        page_rows: int = rows.PAGE_ROWS,
    ) -> None:
        """`decode` is called in the processes and must be picklable; the default is `examine`."""
        self._settings = settings
        self._engine: Engine = connect_unpooled(settings)
        self._store = store or ObjectStore(settings)
        self._thumbnails = ThumbnailStore(self._store, settings.thumbnail_bucket)
        self._chunk_images, self._page_rows = chunk_images, page_rows
        self._decode = decode or partial(
            examine, sizes=settings.thumbnail_sizes, max_pixels=settings.image_max_pixels
        )

    def run(
        self, *, again: bool = False, wait_seconds: float = 0, stopping: StopEvent | None = None
    ) -> IndexReport:
        """Process pending images, then remove unused thumbnails; end early when `stopping` is set.

        `again`: also retry faulty images, and recreate thumbnails missing from the bucket.

        Raises:  ImageWorkerBusy when another process holds the lock after `wait_seconds`;
                 ObjectStoreUnavailable, DatabaseUnavailable, ConfigurationError. Committed
                 chunks stay.
        """
        started, counts = time.monotonic(), Counter[str]()
        with image_lock(self._engine, wait_seconds=wait_seconds) as connection:
            if again:
                with connection.begin():
                    rows.mark_missing(connection, self._thumbnails.keys())
            self._process_buckets(connection, counts, partial(self._pending, stopping, again=again))
            self._delete_stale_rows(connection, counts)
            self._remove_unused(connection, counts)
        report = IndexReport(**counts, seconds=round(time.monotonic() - started, 3))
        log.info("processed images", **counts, seconds=report.seconds)
        return report

    # -- decoding

    def _process_buckets(
        self,
        connection: Connection,
        counts: Counter[str],
        pending: Callable[[str], Iterator[SourceObject]],
    ) -> None:
        """Process the images of each bucket, also if those of an earlier one could not be fetched.

        Raises:  the first error, at the end.
        """
        with connection.begin():
            buckets = waiting.buckets(connection, self._settings)
        failures: list[EtlError] = []
        with closing(self._sandbox(usable_cores())) as sandbox:
            for bucket in buckets:
                try:
                    self._process_all(connection, sandbox, bucket, pending(bucket), counts)
                except (ObjectStoreUnavailable, ConfigurationError) as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    def _process_all(
        self,
        connection: Connection,
        sandbox: Sandbox[Examined],
        bucket: str,
        pending: Iterator[SourceObject],
        counts: Counter[str],
    ) -> None:
        """Fetch and decode images in processes; commit each chunk while the next is decoded."""
        window = _Window(max(MIN_BYTES_AHEAD, self._settings.image_max_bytes))
        with ExitStack() as stack:
            decoded = map_ahead(
                lambda source: self._process(sandbox, window, bucket, source),
                pending,
                2 * usable_cores(),  # half of them fetch while the others decode
            )
            stack.callback(decoded.close)
            chunks = iter(lambda: list(islice(decoded, self._chunk_images)), [])
            written = map_ahead(lambda chunk: self._write(connection, bucket, chunk), chunks, 1)
            stack.callback(written.close)
            for done in written:
                counts.update(done)

    def _sandbox(self, processes: int) -> Sandbox[Examined]:
        return Sandbox(
            self._decode,
            processes=processes,
            seconds=self._settings.image_timeout.total_seconds(),
            memory_bytes=self._settings.image_memory_mb * 1024 * 1024,
        )

    def _pending(
        self, stopping: StopEvent | None, bucket: str, *, again: bool
    ) -> Iterator[SourceObject]:
        """Yield pending images in key order, read in pages; each page is a snapshot of its own."""
        after = ""
        while True:
            with translating(), self._engine.connect() as connection:
                page = waiting.pending(
                    connection, self._settings, bucket, after, limit=self._page_rows, again=again
                )
            for source in page:
                if stopping is not None and stopping.is_set():
                    return
                yield source
            if not page:
                return
            after = page[-1].key

    def _process(
        self, sandbox: Sandbox[Examined], window: _Window, bucket: str, source: SourceObject
    ) -> _Decoded | None:
        """Fetch and decode an image; return None if it is not available as the manifest has it."""
        if source.size > self._settings.image_max_bytes:
            return _Decoded(source, _too_many_bytes(source, self._settings.image_max_bytes))
        with window.room_for(source.size):
            try:
                file = self._store.fetch(bucket, source)
            except UnreadableObject as error:
                log.warning("image skipped", bucket=bucket, key=source.key, reason=error.message)
                return None
            if file is None or file.source.etag != source.etag:
                return None  # the next run updates the manifest, and the image is pending again
            try:
                return _Decoded(source, _examine(sandbox, file.content))
            except Killed as error:  # by the kernel when memory was short, or by an operator
                log.warning("image skipped", bucket=bucket, key=source.key, reason=str(error))
                return None

    # -- writing

    def _write(
        self, connection: Connection, bucket: str, chunk: list[_Decoded | None]
    ) -> Counter[str]:
        """Put the new thumbnails of a chunk, and commit its metadata."""
        decoded = [one for one in chunk if one is not None]
        counts = Counter(one.examined.metadata.state.name.lower() for one in decoded)
        counts |= Counter(looked_at=len(decoded), passed_over=len(chunk) - len(decoded))
        if decoded:
            with translating():
                counts["thumbnails_put"] = self._put_thumbnails(connection, decoded)
                self._write_metadata(connection, bucket, decoded)
        return counts

    def _put_thumbnails(self, connection: Connection, decoded: list[_Decoded]) -> int:
        made = {
            thumbnail_key(sha256, size): (sha256, size, content, one.source.etag)
            for one in decoded
            for size, content in one.examined.thumbnails.items()
            if (sha256 := one.examined.metadata.sha256) is not None
        }
        with connection.begin():
            not_put = rows.register_thumbnails(connection, [each[:2] for each in made.values()])
        new = sorted(not_put)
        map_in_threads(lambda key: self._thumbnails.put(key, *made[key][2:]), new, STORE_THREADS)
        with connection.begin():
            rows.mark_put(connection, new)
        return len(new)

    def _write_metadata(self, connection: Connection, bucket: str, decoded: list[_Decoded]) -> None:
        images = [
            IndexedImage(one.source, one.examined.metadata, tuple(one.examined.thumbnails))
            for one in decoded
        ]
        with connection.begin():
            rows.write(connection, bucket, images)
            revisions.advance(connection, revisions.Resource.IMAGES)

    # -- cleaning

    def _delete_stale_rows(self, connection: Connection, counts: Counter[str]) -> None:
        with connection.begin():
            counts["forgotten"] = rows.delete_removed(connection)
            changed = rows.drop_sizes(connection, self._settings.thumbnail_sizes)
            rows.reopen_problems(connection)
            if counts["forgotten"] or changed:
                revisions.advance(connection, revisions.Resource.IMAGES)

    def _remove_unused(self, connection: Connection, counts: Counter[str]) -> None:
        """Remove unused thumbnails in pages: claim them, then delete the objects, then the rows."""
        while True:
            with connection.begin():
                keys = rows.claim_unused(connection, limit=self._page_rows)
            if not keys:
                return
            map_in_threads(self._thumbnails.remove, keys, STORE_THREADS)
            with connection.begin():
                rows.drop_removed(connection, keys)
            counts["thumbnails_removed"] += len(keys)


class _Window:
    """Limits the bytes of images in memory; an image above the limit is processed alone."""

    def __init__(self, size_bytes: int) -> None:
        self._size = self._left = size_bytes
        self._freed = Condition()

    @contextmanager
    def room_for(self, size_bytes: int) -> Iterator[None]:
        """Wait until there is room, and reserve it while the block runs."""
        taken = min(size_bytes, self._size)
        with self._freed:
            self._freed.wait_for(lambda: taken <= self._left)
            self._left -= taken
        try:
            yield
        finally:
            with self._freed:
                self._left += taken
                self._freed.notify_all()


def _too_many_bytes(source: SourceObject, max_bytes: int) -> Examined:
    reason = f"It has {source.size:,} bytes; IMAGE_MAX_BYTES is {max_bytes:,}."
    return Examined(ImageMetadata(ImageState.TOO_LARGE, source.size, reason=reason))


def _examine(sandbox: Sandbox[Examined], content: bytes) -> Examined:
    """Decode in a sandbox process; an image that crashes or exhausts its process is faulty.

    Raises:  Killed when the process was killed from outside, whatever the image.
    """
    try:
        return sandbox.call(content)
    except Killed:
        raise
    except WorkFailed as error:
        state, reason = _failure(error)
        sha256 = hashlib.sha256(content).hexdigest()
        return Examined(ImageMetadata(state, len(content), sha256, reason=reason))


def _failure(error: WorkFailed) -> tuple[ImageState, str]:
    match error:
        case OutOfTime():
            return ImageState.TOO_LARGE, f"Decoding exceeded IMAGE_TIMEOUT: {error}."
        case OutOfMemory():
            return ImageState.TOO_LARGE, "Decoding exceeded IMAGE_MEMORY_MB."
        case _:
            return ImageState.CORRUPT, f"Decoding crashed: {error}."
