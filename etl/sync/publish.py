"""Publish the committed rows of each dataset into the processed bucket."""

from __future__ import annotations

import io
import time
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

import psycopg2
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from etl.db.copy_stream import ChunkFile, CopyStream
from etl.db.engine import driver
from etl.db.round_trips import Question, ask
from etl.db.sql import statements
from etl.model.errors import DatasetRefused, ObjectStoreUnavailable
from etl.model.values import Trigger
from etl.runtime.logs import get_logger
from etl.sync.refusals import is_refusal, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from etl.model.types import SqlType
    from etl.storage.client import ObjectStore
    from etl.sync.outputs import Output

log = get_logger("etl.run")

PARQUET_BLOCK_BYTES = 8 << 20  # of CSV: about 150,000 users in each row group
READ_BYTES = 1 << 20


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
    """The newest committed run whose changes are not published yet."""
    run_id: int | None = connection.scalar(text("SELECT max(id) FROM run WHERE publish_pending"))
    return run_id


def pending_datasets(connection: Connection) -> set[str]:
    """The datasets with committed changes that are not published yet."""
    return set(connection.scalars(text(statements("publish")["pending_datasets"])))


@dataclass(frozen=True)
class Published:
    """The published outputs: the ETag of each, by name and dataset.

    `seconds` is the time since one was last published when this was `asked`, a monotonic time;
    None if none ever was.
    """

    etags: Mapping[tuple[str, str], str]
    seconds: float | None
    asked: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Published:
        """The result of PUBLISHED."""
        etags = {(row["name"], row["dataset"]): row["etag"] for row in rows}
        return cls(etags, min((row["seconds"] for row in rows), default=None))

    @property
    def since_last(self) -> timedelta | None:
        """The time since one was last published; None if none ever was."""
        if self.seconds is None:
            return None
        return timedelta(seconds=self.seconds + time.monotonic() - self.asked)


PUBLISHED = Question(
    "SELECT name, dataset, etag,"
    " CAST(extract(epoch FROM clock_timestamp() - published_at) AS double precision) AS seconds"
    " FROM publication",
    {},
)


def published(connection: Connection) -> Published:
    """What was published. The caller ends the transaction."""
    return Published.of(ask(connection, {"published": PUBLISHED})["published"])


def missing_outputs(
    store: ObjectStore, bucket: str, before: Published, outputs: Sequence[Output]
) -> list[Output]:
    """The outputs that are missing from the bucket, were overwritten, or are of another dataset."""
    return [
        one
        for one in outputs
        if (one.name, one.dataset) not in before.etags
        or store.etag(bucket, one.name) != before.etags[one.name, one.dataset]
    ]


def publish(
    connection: Connection,
    store: ObjectStore,
    bucket: str,
    run_id: int,
    outputs: Sequence[Output],
) -> None:
    """Stream the live rows of each output's dataset into it, by key or by object and line.

    The old object stays until the new one is complete. After a crash, the next run publishes
    again. The caller holds the run lock, so all outputs show the same state.

    Raises:  ObjectStoreUnavailable; DatabaseUnavailable through the caller's connection;
             DatasetRefused, after all others were published, for a table that cannot be read now.
    """
    refused: DatasetRefused | None = None
    for output in outputs:
        try:
            _publish(connection, store, bucket, run_id, output)
        except (DBAPIError, psycopg2.Error) as error:
            if not is_refusal(error):
                raise
            log.warning("could not publish", output=output.name, exc_info=error)
            refused = refusal(connection, output.sql, error)
            connection.commit()
    if refused is not None:
        raise refused


def _publish(
    connection: Connection, store: ObjectStore, bucket: str, run_id: int, output: Output
) -> None:
    with connection.begin():
        # Separately, because COPY would wait for the lock while the store waits for its rows.
        connection.execute(text(f"LOCK TABLE {output.sql.table} IN ACCESS SHARE MODE"))
        with _copied_out(connection, output.copy) as stream:
            content = as_parquet(stream, output.types) if output.is_parquet else stream
            store.put_stream(bucket, output.name, content, output.media_type)
    etag = store.etag(bucket, output.name)
    if etag is None:
        raise ObjectStoreUnavailable(
            f"{bucket}/{output.name} disappeared right after it was written."
        )
    _record(connection, output, etag, run_id)


def remove_unconfigured(
    connection: Connection,
    store: ObjectStore,
    bucket: str,
    before: Published,
    outputs: Sequence[Output],
) -> None:
    """Remove outputs that are no longer declared, because they would become outdated.

    Raises:  ObjectStoreUnavailable, ConfigurationError.
    """
    declared = {one.name for one in outputs}
    for name, _ in before.etags:
        if name in declared:
            continue
        store.remove(bucket, name)
        connection.execute(text("DELETE FROM publication WHERE name = :name"), {"name": name})
        connection.commit()


def mark_published(connection: Connection, run_id: int) -> None:
    """Mark all runs as published, by run `run_id`, and clear earlier publishing errors.

    A failed run keeps its error, which names the datasets that it did not commit.
    """
    connection.execute(
        text(
            "UPDATE run SET publish_pending = false, published_at = now(),"
            " error = CASE WHEN state = 'failed' THEN error END"
            " WHERE publish_pending OR id = :run_id"
        ),
        {"run_id": run_id},
    )
    connection.commit()


def _record(connection: Connection, output: Output, etag: str, run_id: int) -> None:
    connection.execute(
        text(statements("publish")["record"]),
        {"name": output.name, "dataset": output.dataset, "etag": etag, "run_id": run_id},
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


def as_parquet(
    csv: BinaryIO, types: Mapping[str, SqlType], block_bytes: int = PARQUET_BLOCK_BYTES
) -> BinaryIO:
    """The rows of a CSV as a Parquet file with columns of these types, in the memory of a block."""
    from etl.db import columnar

    chunks = columnar.parquet(csv, types, block_bytes=block_bytes)
    return io.BufferedReader(ChunkFile(chunks), READ_BYTES)
