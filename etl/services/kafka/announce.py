"""News of images for others: image.indexed, thumbnail.ready and image.removed.

The tables are the outbox: whoever wrote them, an image is announced as long as it differs
from what `announced_image` says was told. That is noted once the brokers have the messages,
so each is told at least once, and one may be told again after a kill.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from pydantic_core import to_json
from sqlalchemy import Connection, Row, text

from etl.db.engine import ANNOUNCE_LOCK, connect_unpooled, translating
from etl.db.revisions import Resource, current
from etl.db.sql import statements
from etl.model.errors import TransientError
from etl.services.kafka.client import Sender, ThrottledLog
from etl.services.kafka.messages import ImageIndexed, ImageRemoved, Thumbnail, ThumbnailReady

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etl.services.kafka.client import Outgoing
    from etl.settings import Settings

log = structlog.get_logger("etl.kafka")

CHUNK = 1000  # images
LOOK_SECONDS = 1.0
LOOK_ANYWAY_SECONDS = 60.0  # the net under the revision
RETRY_SECONDS = 10.0
STOP_SECONDS = 10.0


class Announcer:
    """Tells the image topic what is news, until told to stop."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._engine = connect_unpooled(settings)
        self._sender = Sender(settings)
        self._complaints = ThrottledLog()
        self._stop = threading.Event()

    def stop(self) -> None:
        """End after the chunk at hand."""
        self._stop.set()

    def run_forever(self) -> None:
        """Announce whenever images have changed; outages of broker and database are waited out."""
        while not self._stop.is_set():
            try:
                with translating(), self._engine.connect() as connection:
                    self._watch(connection)
            except TransientError as error:
                if self._complaints.is_due(error.code):
                    log.warning("announcing nothing", reason=error.message, hint=error.hint)
                self._stop.wait(RETRY_SECONDS)

    def _watch(self, connection: Connection) -> None:
        seen: object = None
        idle_seconds = 0.0
        while not self._stop.is_set():
            revision = current(connection).get(Resource.IMAGES)
            connection.rollback()
            idle_seconds += LOOK_SECONDS
            if revision != seen or idle_seconds >= LOOK_ANYWAY_SECONDS:
                # Only what was seen before the announcing began: a change meanwhile is news.
                if self._announce_alone(connection):
                    seen = revision
                idle_seconds = 0.0
            self._stop.wait(LOOK_SECONDS)

    def _announce_alone(self, connection: Connection) -> bool:
        """Announce, unless somebody else is at it; whether it was done."""
        taken = connection.scalar(text("SELECT pg_try_advisory_lock(:n)"), {"n": ANNOUNCE_LOCK})
        connection.commit()
        if not taken:
            return False
        try:
            self.announce(connection)
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": ANNOUNCE_LOCK})
            connection.commit()
        return True

    def announce(self, connection: Connection) -> int:
        """Announce all that is news now; return how many images it was about.

        Nothing is sent while a transaction is open.

        Raises:  KafkaUnavailable when not all was taken; what was is noted, chunk by chunk.
        """
        return self._announce_news(connection) + self._announce_removed(connection)

    def _announce_news(self, connection: Connection) -> int:
        count, after = 0, ""
        while rows := self._rows(connection, "news", after, bucket=self._settings.source_bucket):
            self._sender.send(self._topic, [each for row in rows for each in self._news(row)])
            told = [
                {"key": row.key, "etag": row.etag, "sizes": row.sizes, "updated_at": row.updated_at}
                for row in rows
            ]
            self._note(connection, "record_sent", images=to_json(told).decode())
            count, after = count + len(rows), rows[-1].key
        return count

    def _announce_removed(self, connection: Connection) -> int:
        count, after = 0, ""
        while rows := self._rows(connection, "removed", after):
            bucket = self._settings.source_bucket
            gone = [ImageRemoved(bucket=bucket, key=row.key, etag=row.etag) for row in rows]
            self._sender.send(self._topic, [each.outgoing() for each in gone])
            self._note(connection, "forget_removed", keys=[row.key for row in rows])
            count, after = count + len(rows), rows[-1].key
        return count

    def _rows(
        self, connection: Connection, name: str, after: str, **further: object
    ) -> Sequence[Row[Any]]:
        if self._stop.is_set():
            return []
        statement = text(statements("announce")[name])
        rows = connection.execute(statement, {"after": after, "limit": CHUNK, **further}).all()
        connection.rollback()
        return rows

    def _note(self, connection: Connection, name: str, **values: object) -> None:
        connection.execute(text(statements("announce")[name]), values)
        connection.commit()

    def _news(self, row: Row[Any]) -> Iterator[Outgoing]:
        image = {"bucket": self._settings.source_bucket, "key": row.key, "etag": row.etag}
        if row.has_new_facts:
            yield ImageIndexed(
                **image,
                user_id=row.user_id,
                state=row.state,
                note=row.note,
                format=row.format,
                mode=row.mode,
                width=row.width,
                height=row.height,
                bytes=row.bytes,
                sha256=row.sha256,
                indexed_at=row.updated_at,
            ).outgoing()
        if row.has_new_thumbnails:
            yield ThumbnailReady(
                **image,
                user_id=row.user_id,
                sha256=row.sha256,
                thumbnails=[
                    Thumbnail(bucket=self._settings.thumbnail_bucket, **each)
                    for each in row.thumbnails
                ],
            ).outgoing()


@contextmanager
def announcing(settings: Settings, topic: str) -> Iterator[None]:
    """Announce in a thread of its own for as long as the block runs."""
    announcer = Announcer(settings, topic)
    thread = threading.Thread(target=announcer.run_forever, name="announcer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        announcer.stop()
        thread.join(STOP_SECONDS)
