"""Publish the committed users: output.csv and, if configured, output.parquet."""

from __future__ import annotations

import io
from contextlib import closing, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO

from sqlalchemy import Connection, text

from etl.db.copy_stream import ChunkFile, CopyStream
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
PARQUET_BLOCK_BYTES = 8 << 20  # of CSV: about 150,000 users in each row group
READ_BYTES = 1 << 20
PARQUET_TYPES = dict.fromkeys(OUTPUT_COLUMNS, "string") | {"birthts": "int64"}
MEDIA_TYPES = {
    OUTPUT_NAME: "text/csv; charset=utf-8",
    PARQUET_NAME: "application/vnd.apache.parquet",
}

_COPY_OUTPUT = (
    f"COPY (SELECT {', '.join(OUTPUT_COLUMNS)} FROM users"
    " ORDER BY user_id) TO STDOUT (FORMAT csv, HEADER)"
)


def outputs(settings: Settings) -> list[str]:
    """The names of the output files to publish."""
    return [OUTPUT_NAME, PARQUET_NAME] if settings.output_parquet else [OUTPUT_NAME]


def is_due(trigger: Trigger | None, since_last: timedelta | None, interval: timedelta) -> bool:
    """Whether to publish a change now.

    Scheduled, requested and CLI runs publish immediately. Event runs, and checks between runs
    (`trigger` None), publish once `interval` has passed since the last time, so that a burst of
    events rewrites the output once. They also publish immediately if nothing was published yet,
    or if the last time is in the future because the clock was set back.
    """
    is_debounced = trigger is None or trigger is Trigger.EVENT
    if not is_debounced or since_last is None:
        return True
    return since_last >= interval or since_last < timedelta(0)


def pending_run(connection: Connection) -> int | None:
    """The newest committed run whose users are not published yet."""
    run_id: int | None = connection.scalar(text("SELECT max(id) FROM run WHERE publish_pending"))
    return run_id


def since_last(connection: Connection) -> timedelta | None:
    """The time since output.csv was last published; None if it never was."""
    ago: timedelta | None = connection.scalar(
        text("SELECT clock_timestamp() - published_at FROM publication WHERE name = :name"),
        {"name": OUTPUT_NAME},
    )
    return ago


def missing_outputs(
    connection: Connection, store: ObjectStore, bucket: str, names: list[str]
) -> list[str]:
    """The outputs that are missing from the bucket or were overwritten."""
    rows = connection.execute(text("SELECT name, etag FROM publication"))
    ours = {row.name: row.etag for row in rows}
    return [name for name in names if name not in ours or store.etag(bucket, name) != ours[name]]


def publish(
    connection: Connection, store: ObjectStore, bucket: str, run_id: int, names: list[str]
) -> None:
    """Stream the live users into each output named, sorted by user_id in byte order.

    The old object stays until the new one is complete. After a crash, the next run publishes
    again. The caller holds the run lock, so all outputs show the same state.

    Raises:  ObjectStoreUnavailable; DatabaseUnavailable through the caller's connection.
    """
    for name in names:
        with connection.begin(), _copied_out(connection, _COPY_OUTPUT) as stream:
            content = as_parquet(stream) if name == PARQUET_NAME else stream
            store.put_stream(bucket, name, content, MEDIA_TYPES[name])
        etag = store.etag(bucket, name)
        if etag is None:
            raise ObjectStoreUnavailable(f"{bucket}/{name} disappeared right after it was written.")
        _record(connection, name, etag, run_id)


def remove_unconfigured(
    connection: Connection, store: ObjectStore, bucket: str, names: list[str]
) -> None:
    """Remove outputs that are no longer configured, because they would become outdated.

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


def mark_published(connection: Connection, run_id: int) -> None:
    """Mark all runs as published, by run `run_id`, and clear earlier publishing errors."""
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
            "INSERT INTO publication (name, dataset, etag, run_id, published_at)"
            " VALUES (:name, 'users', :etag, :run_id, now())"
            " ON CONFLICT (name) DO UPDATE SET etag = excluded.etag,"
            " run_id = excluded.run_id, published_at = excluded.published_at"
        ),
        {"name": name, "etag": etag, "run_id": run_id},
    )
    connection.commit()


@contextmanager
def _copied_out(connection: Connection, statement: str) -> Iterator[BinaryIO]:
    """The statement's COPY output as a file, in the memory of a few chunks."""

    def copy(connection: Connection, sink: BinaryIO) -> None:
        with driver(connection).cursor() as cursor:
            cursor.copy_expert(statement, sink)

    with closing(CopyStream(lambda: nullcontext(connection), copy)) as chunks:
        yield io.BufferedReader(ChunkFile(chunks), READ_BYTES)


def as_parquet(csv: BinaryIO, block_bytes: int = PARQUET_BLOCK_BYTES) -> BinaryIO:
    """The rows of output.csv as a Parquet file, in the memory of one block."""
    from etl.db import columnar

    chunks = columnar.parquet(csv, PARQUET_TYPES, block_bytes=block_bytes)
    return io.BufferedReader(ChunkFile(chunks), READ_BYTES)
