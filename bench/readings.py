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
    """A file format, how many times the rows of the big CSV it has, the target, and the tools."""

    name: str
    suffix: str
    times: int
    factor: float
    slow_tools: tuple[tuple[str, str], ...]


_DLT = ("dlt with Arrow, its own columns, no key", "dlt_readings")
_SLING = ("sling full-refresh, its own columns, no key", "sling_readings")
FORMATS = (
    Format("Parquet", "parquet", 5, 1.0, (_DLT,)),
    Format("NDJSON", "ndjson", 1, 1.2, (_SLING, _DLT)),
)


def _loads(stack: Stack, scale: Scale, one: Format) -> Loads:
    rows = reading_data.rows(one.times * scale.big_rows)
    key, count = reading_data.key_of(one.suffix), len(rows)
    content = reading_data.FORMATS[one.suffix](rows)
    duckdb = Tool("duckdb_readings", count, reading_data.TABLE)
    rivals = [Rival("DuckDB into the same table and indexes", duckdb, key, one.factor)]
    rivals += [Rival(name, Tool(job, count), key, is_slow=True) for name, job in one.slow_tools]
    return Loads(
        f"one {one.name} file of {count:,} readings",
        SOURCE,
        filled(stack, f"readings-{one.suffix}", [(key, content)]),
        rivals,
        rows.append_column("site", pa.repeat(reading_data.SITE, count)),
    )


def readings(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure first loads of one file in each format."""
    for one in FORMATS:
        loads = _loads(stack, scale, one)
        take_in_turn(stack, scale, [loads])
        yield from loads.figures()
