"""Baselines without other tools: bare requests to the object store and PostgreSQL."""

from __future__ import annotations

import asyncio
import io
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING

import numpy as np
import obstore
import pyarrow as pa
from pyarrow import csv

from bench import objects
from bench.stack import database, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from obstore.store import S3Store

    from etl.settings import Settings

TRIED_KEYS = 1_000
CONCURRENCIES = (16, 32, 64)
LINEAGE = ("_source_key", "_source_line", "_run_id", "_updated_at")


@dataclass
class Watch:
    """How long a block took."""

    seconds: float = field(default=0.0)


@contextmanager
def stopwatch() -> Iterator[Watch]:
    """Time a block by the wall clock."""
    watch, started = Watch(), time.perf_counter()
    try:
        yield watch
    finally:
        watch.seconds = time.perf_counter() - started


def list_seconds(store: S3Store) -> float:
    """List the whole bucket."""
    with stopwatch() as watch:
        for _ in obstore.list(store, chunk_size=1000):
            pass
    return watch.seconds


def get_by_threads(threads: int, store: S3Store, keys: Sequence[str]) -> float:
    """Fetch all keys with this number of threads."""

    def get_some(first: int) -> None:
        for key in keys[first::threads]:
            obstore.get(store, key).bytes()

    with stopwatch() as watch, ThreadPoolExecutor(threads) as pool:
        list(pool.map(get_some, range(threads)))
    return watch.seconds


def get_by_tasks(tasks: int, store: S3Store, keys: Sequence[str]) -> float:
    """Fetch all keys with this number of concurrent asynchronous requests."""
    waiting = iter(keys)

    async def get_some() -> None:
        for key in waiting:
            await (await obstore.get_async(store, key)).bytes_async()

    async def get_all() -> None:
        await asyncio.gather(*(get_some() for _ in range(tasks)))

    with stopwatch() as watch:
        asyncio.run(get_all())
    return watch.seconds


def best_getter(
    store: S3Store, keys: Sequence[str]
) -> tuple[str, Callable[[S3Store, Sequence[str]], float]]:
    """The fastest way to fetch a sample of the keys, and its name; each is tried twice."""
    ways: dict[str, Callable[[S3Store, Sequence[str]], float]] = {}
    for number in CONCURRENCIES:
        ways[f"{number} threads"] = partial(get_by_threads, number)
        ways[f"{number} tasks"] = partial(get_by_tasks, number)
    some = keys[:TRIED_KEYS]
    get_by_threads(CONCURRENCIES[0], store, some)
    name = min(ways, key=lambda way: min(ways[way](store, some) for _ in range(2)))
    return name, ways[name]


def sorted_copy(settings: Settings, count: int) -> float:
    """COPY this number of users, sorted by id, into a table like `users`."""
    execute(settings, "DROP TABLE IF EXISTS copied")
    execute(settings, "CREATE TABLE copied (LIKE users INCLUDING ALL)")
    text = io.StringIO(
        "".join(
            f"{user_id},{first},{last},{born},big.csv,{line},1,2026-01-01T00:00:00Z\n"
            for line, (user_id, first, last, born) in enumerate(objects.users(count), 2)
        )
    )
    columns = ", ".join(["user_id, first_name, last_name, birthts", *LINEAGE])
    execute(settings, "CHECKPOINT")
    with database(settings) as connection, connection.cursor() as cursor, stopwatch() as watch:
        cursor.copy_expert(f"COPY copied ({columns}) FROM STDIN (FORMAT csv)", text, 1 << 16)
    return watch.seconds


def sorted_copy_of(settings: Settings, table: str, rows: pa.Table, zone: str = "UTC") -> float:
    """COPY these rows in their order, with lineage, into the table that the statement creates.

    `zone` is that of times without one.
    """
    execute(settings, "DROP TABLE IF EXISTS copied")
    execute(settings, table.format("copied"))
    columns = ", ".join([*rows.column_names, *LINEAGE])
    with tempfile.TemporaryFile() as content:
        _write_copied(rows, content)
        content.seek(0)
        execute(settings, "CHECKPOINT")
        with database(settings) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET timezone = '{zone}'")
            copy = f"COPY copied ({columns}) FROM STDIN (FORMAT csv)"
            with stopwatch() as watch:
                cursor.copy_expert(copy, content, 1 << 16)
    return watch.seconds


def _write_copied(rows: pa.Table, sink: IO[bytes]) -> None:
    """Write the rows with their lineage as text for COPY."""
    count = len(rows)
    lineage = (
        pa.repeat("copied", count),
        pa.array(np.arange(2, count + 2, dtype=np.int32)),
        pa.repeat(1, count),
        pa.repeat("2026-01-01T00:00:00Z", count),
    )
    for name, column in zip(LINEAGE, lineage, strict=True):
        rows = rows.append_column(name, column)
    csv.write_csv(rows.combine_chunks(), sink, csv.WriteOptions(include_header=False))


class _Counter(io.RawIOBase):
    """A sink that counts bytes."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, data: object) -> int:
        """Count the bytes."""
        size = len(data)  # type: ignore[arg-type]
        self.count += size
        return size


# The members of the object that GET /data returns, concatenated: json_build_object takes 50 %
# longer. The quote and delimiter do not occur in JSON; a text COPY would double its backslashes.
_JSON = (
    "COPY (SELECT to_json(user_id)::text || ':{\"first_name\" : ' || to_json(first_name)::text"
    " || ', \"last_name\" : ' || to_json(last_name)::text || ', \"birthts\" : ' || birthts::text"
    " || ', \"img_path\" : ' || coalesce(to_json(img_path)::text, 'null') || '},' FROM users"
    " ORDER BY user_id) TO STDOUT"
    r" (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02', ESCAPE e'\x01')"
)


def json_copied_out(settings: Settings) -> float:
    """Bytes per second of all users as JSON through COPY TO STDOUT."""
    sink = _Counter()
    with database(settings) as connection, connection.cursor() as cursor, stopwatch() as watch:
        cursor.copy_expert(_JSON, sink, 1 << 16)
    return sink.count / watch.seconds
