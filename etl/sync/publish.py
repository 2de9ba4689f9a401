"""Make a committed run visible outside the database: output.csv, output.parquet when asked."""

from __future__ import annotations

import io
from contextlib import closing, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO

from sqlalchemy import Connection, text

from etl.db.copy_stream import Copied, Stream
from etl.db.engine import driver
from etl.model.errors import ObjectStoreUnavailable
from etl.model.values import Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.settings import Settings
    from etl.storage.client import ObjectStore

OUTPUT_NAME = "output.csv"
PARQUET_NAME = "output.parquet"
OUTPUT_COLUMNS = ("user_id", "first_name", "last_name", "birthts", "img_path")
PARQUET_TYPES = dict.fromkeys(OUTPUT_COLUMNS, "string") | {"birthts": "int64"}
MEDIA_TYPES = {
    OUTPUT_NAME: "text/csv; charset=utf-8",
    PARQUET_NAME: "application/vnd.apache.parquet",
}

_COPY_OUTPUT = (
    f"COPY (SELECT {', '.join(OUTPUT_COLUMNS)} FROM users"
    " WHERE retired_at IS NULL ORDER BY user_id) TO STDOUT (FORMAT csv, HEADER)"
)


def outputs(settings: Settings) -> list[str]:
    """The names of what is to be published."""
    return [OUTPUT_NAME, PARQUET_NAME] if settings.output_parquet else [OUTPUT_NAME]


def is_time(trigger: Trigger | None, since_last: timedelta | None, interval: timedelta) -> bool:
    """Whether a change is to be published now.

    At once behind a run that somebody or the interval asked for. Behind event runs it waits until
    the last publication is `interval` ago, so that a burst of events rewrites the output once;
    the same goes for a look between runs (`trigger` None). With nothing published yet: at once.
    A last publication that is yet to come was before the clock was set back: nobody waits for it.
    """
    gathered = trigger is None or trigger is Trigger.EVENT
    if not gathered or since_last is None:
        return True
    return since_last >= interval or since_last < timedelta(0)


def pending_run(connection: Connection) -> int | None:
    """The newest committed run whose users are not published yet."""
    run_id: int | None = connection.scalar(text("SELECT max(id) FROM run WHERE publish_pending"))
    return run_id


def since_last(connection: Connection) -> timedelta | None:
    """How long ago output.csv was put; None when it never was."""
    ago: timedelta | None = connection.scalar(
        text("SELECT clock_timestamp() - published_at FROM publication WHERE name = :name"),
        {"name": OUTPUT_NAME},
    )
    return ago


def lost(connection: Connection, store: ObjectStore, bucket: str, names: list[str]) -> list[str]:
    """Those that are not in the bucket as we put them."""
    rows = connection.execute(text("SELECT name, etag FROM publication"))
    ours = {row.name: row.etag for row in rows}
    return [name for name in names if name not in ours or store.etag(bucket, name) != ours[name]]


def publish(
    connection: Connection, store: ObjectStore, bucket: str, run_id: int, names: list[str]
) -> None:
    """Stream the live users into each output named, sorted by user_id in byte order.

    An old object stays until the new one is whole. Repeatable: a crash before the last
    commit is finished by the next run. The caller holds the run lock, so all are of one state.

    Raises:  ObjectStoreUnavailable; DatabaseUnavailable through the caller's connection.
    """
    for name in names:
        with connection.begin(), _copied_out(connection, _COPY_OUTPUT) as stream:
            content = _as_parquet(stream) if name == PARQUET_NAME else stream
            store.put_stream(bucket, name, content, MEDIA_TYPES[name])
        etag = store.etag(bucket, name)
        if etag is None:
            raise ObjectStoreUnavailable(f"{bucket}/{name} is gone right after it was put.")
        _record(connection, name, etag, run_id)


def _as_parquet(csv: BinaryIO) -> BinaryIO:
    from etl.sync.parquet import as_parquet

    return as_parquet(csv, PARQUET_TYPES)


def withdraw(connection: Connection, store: ObjectStore, bucket: str, names: list[str]) -> None:
    """Remove what we published and is not among these any more: nobody would keep it level.

    Raises:  ObjectStoreUnavailable, ConfigurationError.
    """
    rows = connection.scalars(
        text("SELECT name FROM publication WHERE name <> ALL(:names)"), {"names": names}
    ).all()
    connection.commit()
    for name in rows:
        store.remove(bucket, name)
        connection.execute(text("DELETE FROM publication WHERE name = :name"), {"name": name})
        connection.commit()


def settle(connection: Connection, run_id: int) -> None:
    """Say that nothing waits for publication any more; `run_id` is the run that saw to it.

    What was in its way before is mended with it.
    """
    connection.execute(
        text(
            "UPDATE run SET publish_pending = false, published_at = now(), error = NULL"
            " WHERE publish_pending OR id = :run_id"
        ),
        {"run_id": run_id},
    )
    connection.commit()


def _record(connection: Connection, name: str, etag: str, run_id: int) -> None:
    connection.execute(
        text(
            "INSERT INTO publication (name, etag, run_id, published_at)"
            " VALUES (:name, :etag, :run_id, now())"
            " ON CONFLICT (name) DO UPDATE SET etag = excluded.etag,"
            " run_id = excluded.run_id, published_at = excluded.published_at"
        ),
        {"name": name, "etag": etag, "run_id": run_id},
    )
    connection.commit()


@contextmanager
def _copied_out(connection: Connection, statement: str) -> Iterator[BinaryIO]:
    """The statement's COPY output as a stream to read, in the memory of a few pieces."""

    def copy(connection: Connection, sink: BinaryIO) -> None:
        with driver(connection).cursor() as cursor:
            cursor.copy_expert(statement, sink)

    copied = Copied(lambda: nullcontext(connection), copy)
    with closing(copied):
        yield io.BufferedReader(Stream(copied), buffer_size=1 << 20)
