"""Make a committed run visible outside the database: output.csv in the processed bucket."""

from __future__ import annotations

import io
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, BinaryIO

from sqlalchemy import Connection, text

from etl.copied import Copied, Stream
from etl.database import driver
from etl.errors import ObjectStoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.bucket import ObjectStore

OUTPUT_NAME = "output.csv"
OUTPUT_COLUMNS = ("user_id", "first_name", "last_name", "birthts", "img_path")

_COPY_OUTPUT = (
    f"COPY (SELECT {', '.join(OUTPUT_COLUMNS)} FROM users"
    " WHERE retired_at IS NULL ORDER BY user_id) TO STDOUT (FORMAT csv, HEADER)"
)


def is_due(connection: Connection, store: ObjectStore, bucket: str) -> bool:
    """Whether a committed run waits for publication, or output.csv is not the one we put."""
    if connection.scalar(text("SELECT EXISTS (SELECT FROM run WHERE publish_pending)")):
        return True
    ours = connection.scalar(
        text("SELECT etag FROM publication WHERE name = :name"), {"name": OUTPUT_NAME}
    )
    return ours is None or store.etag(bucket, OUTPUT_NAME) != ours


def publish(connection: Connection, store: ObjectStore, bucket: str, run_id: int) -> None:
    """Stream the live users into output.csv, sorted by user_id in byte order.

    The old object stays until the new one is whole. Repeatable: a crash before the last
    commit is finished by the next run.

    Raises:  ObjectStoreUnavailable; DatabaseUnavailable through the caller's connection.
    """
    with connection.begin(), _copied_out(connection, _COPY_OUTPUT) as stream:
        store.put_stream(bucket, OUTPUT_NAME, stream, "text/csv; charset=utf-8")
    etag = store.etag(bucket, OUTPUT_NAME)
    if etag is None:
        raise ObjectStoreUnavailable(f"{bucket}/{OUTPUT_NAME} is gone right after it was put.")
    _record(connection, etag, run_id)


def _record(connection: Connection, etag: str, run_id: int) -> None:
    connection.execute(
        text(
            "INSERT INTO publication (name, etag, run_id, published_at)"
            " VALUES (:name, :etag, :run_id, now())"
            " ON CONFLICT (name) DO UPDATE SET etag = excluded.etag,"
            " run_id = excluded.run_id, published_at = excluded.published_at"
        ),
        {"name": OUTPUT_NAME, "etag": etag, "run_id": run_id},
    )
    connection.execute(
        text(
            "UPDATE run SET publish_pending = false, published_at = now()"
            " WHERE publish_pending OR id = :run_id"
        ),
        {"run_id": run_id},
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
