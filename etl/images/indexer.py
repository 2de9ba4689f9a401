"""Look after the images of the manifest: facts and thumbnails of each, and none of others.

Apart from runs, under a lock of its own: no picture ever holds up a user. A kill at any
instant leaves what the next keep() mends: a thumbnail's row is committed before its object is
put and goes after it is removed, and an image counts as looked at only once all of its
thumbnails are there.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Condition, Event
from typing import TYPE_CHECKING

import structlog

from etl.db import revisions
from etl.db.engine import connect_unpooled, image_lock, translating
from etl.images import rows
from etl.images.decode import Examined, ImageMetadata, examine
from etl.images.rows import Seen, thumbnail_key
from etl.images.store import ThumbnailStore
from etl.model.errors import UnreadableObject
from etl.model.values import ImageState
from etl.runtime.pools import map_ahead, map_in_threads
from etl.runtime.sandbox import Killed, OutOfMemory, OutOfTime, Sandbox, WorkFailed
from etl.storage.client import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

    from etl.model.values import SourceObject
    from etl.settings import Settings

log = structlog.get_logger("etl.images")

CHUNK = 200  # images a commit
STORE_THREADS = 8
LEAST_BYTES_AHEAD = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What one keep() did. Looked at are ready + corrupt + too large + unsupported.

    Passed over are images that were replaced or removed since the last run, those the store
    refuses, and those whose decoder somebody killed: they wait for the next time.
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
class _Looked:
    source: SourceObject
    examined: Examined


class ThumbnailIndexer:
    """Keeps facts and thumbnails level with the images of the manifest."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: ObjectStore | None = None,
        look: Callable[[bytes], Examined] | None = None,
    ) -> None:
        """`look` is what the processes call, to be found by name; by default `examine`."""
        self._settings = settings
        self._engine: Engine = connect_unpooled(settings)
        self._store = store or ObjectStore(settings)
        self._thumbnails = ThumbnailStore(self._store, settings.thumbnail_bucket)
        self._look = look or partial(
            examine, sizes=settings.thumbnail_sizes, max_pixels=settings.image_max_pixels
        )

    def keep(
        self, *, again: bool = False, wait_seconds: float = 0, stopping: Event | None = None
    ) -> IndexReport:
        """Look at what waits, then remove what is no longer used; ends early when `stopping`.

        `again`: faulty images too, and those whose thumbnails somebody took from the bucket.

        Raises:  ImageWorkerBusy when another holds the lock after `wait_seconds`;
                 ObjectStoreUnavailable, DatabaseUnavailable, ConfigurationError. What was
                 committed by then stays.
        """
        started, counts = time.monotonic(), Counter[str]()
        with image_lock(self._engine, wait_seconds=wait_seconds) as connection:
            if again:
                with connection.begin():
                    rows.lose(connection, self._thumbnails.keys())
            waiting = self._waiting(stopping or Event(), again=again)
            self._look_at_all(connection, waiting, counts)
            self._forget(connection, counts)
            self._remove_unused(connection, counts)
        kept = IndexReport(**counts, seconds=round(time.monotonic() - started, 3))
        log.info("images kept", **counts, seconds=kept.seconds)
        return kept

    # -- looking

    def _look_at_all(
        self, connection: Connection, waiting: Iterator[SourceObject], counts: Counter[str]
    ) -> None:
        """Fetch and decode in many processes; commit a chunk while the next is decoded."""
        processes = _cores()
        window = _Window(max(LEAST_BYTES_AHEAD, self._settings.image_max_bytes))
        with ExitStack() as stack:
            sandbox = stack.enter_context(closing(self._sandbox(processes)))
            looked = map_ahead(
                lambda source: self._look_at(sandbox, window, source),
                waiting,
                2 * processes,  # half of them fetch while the others decode
            )
            stack.callback(looked.close)
            chunks = iter(lambda: list(islice(looked, CHUNK)), [])
            written = map_ahead(lambda chunk: self._write(connection, chunk), chunks, 1)
            stack.callback(written.close)
            for done in written:
                counts.update(done)

    def _sandbox(self, processes: int) -> Sandbox[Examined]:
        return Sandbox(
            self._look,
            processes=processes,
            seconds=self._settings.image_timeout.total_seconds(),
            memory_bytes=self._settings.image_memory_mb * 1024 * 1024,
        )

    def _waiting(self, stopping: Event, *, again: bool) -> Iterator[SourceObject]:
        """What waits, in the order of the keys; a page at a time, each as of its own moment."""
        after = ""
        while True:
            with translating(), self._engine.connect() as connection:
                page = rows.waiting(connection, self._settings, after, again=again)
            for source in page:
                if stopping.is_set():
                    return
                yield source
            if not page:
                return
            after = page[-1].key

    def _look_at(
        self, sandbox: Sandbox[Examined], window: _Window, source: SourceObject
    ) -> _Looked | None:
        """What the image holds; None for one that is not to be had as the manifest knows it."""
        if source.size > self._settings.image_max_bytes:
            return _Looked(source, _too_many_bytes(source, self._settings.image_max_bytes))
        with window.room_for(source.size):
            try:
                file = self._store.fetch(self._settings.source_bucket, source)
            except UnreadableObject as error:
                log.warning("image not to be had", key=source.key, reason=error.message)
                return None
            if file is None or file.source.etag != source.etag:
                return None  # the run that sees this has it looked at
            try:
                return _Looked(source, _examine(sandbox, file.content))
            except Killed as error:  # by the system for want of memory, or by somebody's hand
                log.warning("image not decoded", key=source.key, reason=str(error))
                return None

    # -- writing

    def _write(self, connection: Connection, chunk: list[_Looked | None]) -> Counter[str]:
        """Put what is new of a chunk's thumbnails, and commit its facts."""
        looked = [one for one in chunk if one is not None]
        counts = Counter(one.examined.facts.state.name.lower() for one in looked)
        counts |= Counter(looked_at=len(looked), passed_over=len(chunk) - len(looked))
        if looked:
            with translating():
                counts["thumbnails_put"] = self._put(connection, looked)
                self._write_facts(connection, looked)
        return counts

    def _put(self, connection: Connection, looked: list[_Looked]) -> int:
        made = {
            thumbnail_key(sha256, size): (sha256, size, content, one.source.etag)
            for one in looked
            for size, content in one.examined.thumbnails.items()
            if (sha256 := one.examined.facts.sha256) is not None
        }
        with connection.begin():
            unput = rows.intend(connection, [(sha, size) for sha, size, *_ in made.values()])
        new = sorted(unput)
        map_in_threads(lambda key: self._thumbnails.put(key, *made[key][2:]), new, STORE_THREADS)
        with connection.begin():
            rows.note_put(connection, new)
        return len(new)

    def _write_facts(self, connection: Connection, looked: list[_Looked]) -> None:
        seen = [
            Seen(one.source, one.examined.facts, tuple(one.examined.thumbnails)) for one in looked
        ]
        with connection.begin():
            rows.write(connection, seen, self._settings)
            revisions.advance(connection, revisions.Resource.IMAGES)

    # -- cleaning

    def _forget(self, connection: Connection, counts: Counter[str]) -> None:
        bucket = self._settings.source_bucket
        with connection.begin():
            counts["forgotten"] = rows.forget(connection, bucket)
            narrowed = rows.drop_sizes(connection, self._settings.thumbnail_sizes)
            if counts["forgotten"] or narrowed:
                revisions.advance(connection, revisions.Resource.IMAGES)
            rows.carry_problems(connection, bucket)

    def _remove_unused(self, connection: Connection, counts: Counter[str]) -> None:
        """A page at a time: said, then removed from the bucket, then from the table."""
        while True:
            with connection.begin():
                keys = rows.claim_unused(connection)
            if not keys:
                return
            map_in_threads(self._thumbnails.remove, keys, STORE_THREADS)
            with connection.begin():
                rows.drop_removed(connection, keys)
            counts["thumbnails_removed"] += len(keys)


class _Window:
    """Room for so many bytes of pictures in memory; one that is larger waits to be alone."""

    def __init__(self, size_bytes: int) -> None:
        self._most = self._left = size_bytes
        self._freed = Condition()

    @contextmanager
    def room_for(self, size_bytes: int) -> Iterator[None]:
        """Wait until there is room, and take it while the block runs."""
        taken = min(size_bytes, self._most)
        with self._freed:
            self._freed.wait_for(lambda: taken <= self._left)
            self._left -= taken
        try:
            yield
        finally:
            with self._freed:
                self._left += taken
                self._freed.notify_all()


def _cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _too_many_bytes(source: SourceObject, most: int) -> Examined:
    reason = f"It has {source.size:,} bytes; images of more than {most:,} are not fetched."
    return Examined(ImageMetadata(ImageState.TOO_LARGE, source.size, reason=reason))


def _examine(sandbox: Sandbox[Examined], content: bytes) -> Examined:
    """What the processes say of it; of one that took its process down, what that shows.

    Raises:  Killed, which shows nothing of it.
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
            return ImageState.TOO_LARGE, f"Decoding it took too long: {error}."
        case OutOfMemory():
            return ImageState.TOO_LARGE, "Decoding it takes more memory than it may have."
        case _:
            return ImageState.CORRUPT, f"Decoding it crashed the decoder: {error}."
