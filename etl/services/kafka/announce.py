"""The announcer: sends image.indexed, thumbnail.ready and image.removed to the image topic.

The tables are a transactional outbox: an image is announced while it differs from its row in
`announced_image`. That row is written after the brokers acknowledge the messages, so delivery is
at least once, and a crash in between sends them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from sqlalchemy import Connection, Row, text

from etl.db.engine import connect_unpooled, schemas_of, translating
from etl.db.names import Lock, lock_key
from etl.db.revisions import Resource, current
from etl.db.sql import statements
from etl.model.dataset import USERS
from etl.model.errors import TransientError
from etl.runtime.logs import get_logger
from etl.runtime.service import ServiceLoop, in_thread
from etl.services.kafka.client import Sender, ThrottledLog
from etl.services.kafka.messages import ImageIndexed, ImageRemoved, Thumbnail, ThumbnailReady

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from etl.services.kafka.client import Outgoing
    from etl.settings import Settings

log = get_logger("etl.kafka")

PAGE_ROWS = 1000
POLL_SECONDS = 1.0
FULL_CHECK_SECONDS = 60.0  # even if the revision is unchanged
RETRY_SECONDS = 10.0
STOP_SECONDS = 10.0


class Announcer(ServiceLoop):
    """Announces changed images until stop()."""

    def __init__(self, settings: Settings, topic: str, *, page_rows: int = PAGE_ROWS) -> None:
        super().__init__()
        self._settings = settings
        self._topic = topic
        self._page_rows = page_rows
        self._engine = connect_unpooled(settings)
        self._sender = Sender(settings)
        self._throttled = ThrottledLog()

    def serve(self) -> None:
        """Announce images whenever their revision changes."""
        with translating(), self._engine.connect() as connection:
            self._watch(connection)

    def handle_failure(self, error: Exception) -> float:
        """Log an outage of the brokers or the database; raise any other error."""
        if not isinstance(error, TransientError):
            raise error
        if self._throttled.is_due(error.code):
            log.warning("announcing failed; will retry", reason=error.message, hint=error.hint)
        return RETRY_SECONDS

    def _watch(self, connection: Connection) -> None:
        announced: object = None
        idle_seconds = 0.0
        while not self.stopping.is_set():
            revision = current(connection).get(Resource.IMAGES)
            connection.rollback()
            idle_seconds += POLL_SECONDS
            if revision != announced or idle_seconds >= FULL_CHECK_SECONDS:
                # The revision read before announcing: images may change in the meantime.
                if self._announce_locked(connection):
                    announced = revision
                idle_seconds = 0.0
            self.stopping.wait(POLL_SECONDS)

    def _announce_locked(self, connection: Connection) -> bool:
        """Announce unless another process is announcing; return whether it was done."""
        key = lock_key(Lock.ANNOUNCEMENTS, schemas_of(self._engine).state)
        is_locked = connection.scalar(text("SELECT pg_try_advisory_lock(:n)"), {"n": key})
        connection.commit()
        if not is_locked:
            return False
        try:
            self.announce(connection)
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": key})
            connection.commit()
        return True

    def announce(self, connection: Connection) -> int:
        """Announce all changes and return the number of images.

        No message is sent while a transaction is open.

        Raises:  KafkaUnavailable unless all messages were acknowledged; complete pages of them
                 are recorded.
        """
        return self._announce_changed(connection) + self._announce_removed(connection)

    def _announce_changed(self, connection: Connection) -> int:
        count, after = 0, ("", "")
        while rows := self._rows(connection, "changed", after):
            self._sender.send(self._topic, [each for row in rows for each in self._messages(row)])
            names = ("bucket", "key", "etag", "sizes", "updated_at")
            announced = [{name: row._mapping[name] for name in names} for row in rows]  # noqa: SLF001 - its public name
            self._record(connection, "record_sent", images=to_json(announced).decode())
            count, after = count + len(rows), (rows[-1].bucket, rows[-1].key)
        return count

    def _announce_removed(self, connection: Connection) -> int:
        count, after = 0, ("", "")
        while rows := self._rows(connection, "removed", after):
            removed = [ImageRemoved(bucket=row.bucket, key=row.key, etag=row.etag) for row in rows]
            self._sender.send(self._topic, [each.outgoing() for each in removed])
            places = {"buckets": [row.bucket for row in rows], "keys": [row.key for row in rows]}
            self._record(connection, "delete_removed", **places)
            count, after = count + len(rows), (rows[-1].bucket, rows[-1].key)
        return count

    def _rows(
        self, connection: Connection, name: str, after: tuple[str, str]
    ) -> Sequence[Row[Any]]:
        if self.stopping.is_set():
            return []
        statement = text(statements("announce")[name])
        bucket, key = after
        parameters = {"after_bucket": bucket, "after_key": key, "limit": self._page_rows}
        rows = connection.execute(statement, parameters).all()
        connection.rollback()
        return rows

    def _record(self, connection: Connection, name: str, **values: object) -> None:
        connection.execute(text(statements("announce")[name]), values)
        connection.commit()

    def _messages(self, row: Row[Any]) -> Iterator[Outgoing]:
        image = {
            "bucket": row.bucket,
            "key": row.key,
            "etag": row.etag,
            "dataset": row.dataset,
            "attachment_id": row.attachment_id,
            "user_id": row.attachment_id if row.dataset == USERS.name else None,
        }
        if row.has_new_metadata:
            yield ImageIndexed(
                **image,
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
                sha256=row.sha256,
                thumbnails=[
                    Thumbnail(bucket=self._settings.thumbnail_bucket, **each)
                    for each in row.thumbnails
                ],
            ).outgoing()


def announcing(settings: Settings, topic: str) -> AbstractContextManager[None]:
    """Announce images in a thread while the block runs."""
    return in_thread(Announcer(settings, topic), "announcer", STOP_SECONDS)
