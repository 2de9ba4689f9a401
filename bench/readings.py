"""A declared dataset without a primary key: first loads of Parquet and of NDJSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from bench import reading_data
from bench.loads import Loads, Rival, Source, filled, take_in_turn
from bench.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.figures import Figure
    from bench.scale import Scale
    from bench.stack import Stack

SOURCE = Source("readings", reading_data.DECLARATION, reading_data.TABLE)


class Format(NamedTuple):
    """A file format, how many times the rows of the big CSV it has, and the target."""

    name: str
    suffix: str
    times: int
    factor: float


FORMATS = (Format("Parquet", "parquet", 5, 1.0), Format("NDJSON", "ndjson", 1, 1.2))


def _loads(stack: Stack, scale: Scale, one: Format) -> Loads:
    rows = reading_data.rows(one.times * scale.big_rows)
    key, count = reading_data.key_of(one.suffix), len(rows)
    content = reading_data.FORMATS[one.suffix](rows)
    duckdb, sling, dlt = (
        Tool(job, count, reading_data.TABLE)
        for job in ("duckdb_readings", "sling_readings", "dlt_readings")
    )
    return Loads(
        f"one {one.name} file of {count:,} readings",
        SOURCE,
        filled(stack, f"readings-{one.suffix}", [(key, content)]),
        [
            Rival("DuckDB into the same table and indexes", duckdb, key, one.factor),
            Rival("sling full-refresh, its own columns, no key", sling, key, is_slow=True),
            Rival("dlt with Arrow, its own columns, no key", dlt, key, is_slow=True),
        ],
        rows.append_column("site", pa.repeat(reading_data.SITE, count)),
    )


def readings(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure first loads of one file in each format."""
    for one in FORMATS:
        loads = _loads(stack, scale, one)
        take_in_turn(stack, scale, [loads])
        yield from loads.figures()
