"""The data of the `readings` scenario: temperatures of sensors, as Parquet and as NDJSON.

Readings are in the order of their times, as a collector writes them; each sensor sends one every
ten seconds or so, and some have no value. Every row is valid. The same seed gives the same bytes.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.objects import SEED

if TYPE_CHECKING:
    from collections.abc import Callable

SITE = "berlin"
SENSORS = 4_000
FIRST_MOMENT_US = 1_704_067_200_000_000  # 2024-01-01
MEAN_STEP_US = 2_500  # from one reading to the next
NULL_SHARE = 20  # one in so many rows
MOMENT = pa.timestamp("us", tz="UTC")
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"  # Arrow's seconds have the digits of the type

DECLARATION = Path(__file__).with_name("readings.toml")

# The columns, types and indexes of the table that Bucketline makes of the declaration.
TABLE = """CREATE TABLE {0} (
    sensor text NOT NULL, measured_at timestamptz NOT NULL, celsius double precision, site text,
    _extra jsonb, _source_key text COLLATE "C" NOT NULL, _source_line integer NOT NULL,
    _run_id bigint NOT NULL, _updated_at timestamptz NOT NULL,
    PRIMARY KEY (_source_key, _source_line))"""


def key_of(suffix: str) -> str:
    """The key of the object with all readings in that format."""
    return f"sensors/{SITE}/2024.{suffix}"


def rows(count: int) -> pa.Table:
    """`count` readings in the order of their times: sensor, moment and degrees."""
    choose = np.random.default_rng(SEED)
    steps = choose.integers(1, 2 * MEAN_STEP_US, count)
    names = pa.array([f"{SITE}-{number:05}" for number in range(SENSORS)])
    hundredths = choose.normal(1_500, 800, count).astype(np.int64)
    is_null = choose.integers(0, NULL_SHARE, count) == 0
    return pa.table(
        {
            "sensor": names.take(pa.array(choose.integers(0, SENSORS, count))),
            "measured_at": pa.array(FIRST_MOMENT_US + np.cumsum(steps)).cast(MOMENT),
            "celsius": pa.array(hundredths / 100, mask=is_null),
        }
    )


def as_parquet(readings: pa.Table) -> bytes:
    """Readings from `rows` as pyarrow and pandas write them by default."""
    sink = io.BytesIO()
    pq.write_table(readings, sink)
    return sink.getvalue()


def as_ndjson(readings: pa.Table) -> bytes:
    """Readings from `rows`, one object on each line; a value that is missing is null."""
    lines = pc.binary_join_element_wise(
        '{"sensor": "',
        readings["sensor"],
        '", "measured_at": "',
        pc.strftime(readings["measured_at"], TIME_FORMAT),
        '", "celsius": ',
        pc.fill_null(readings["celsius"].cast(pa.string()), "null"),
        "}",
        "",
    ).combine_chunks()
    text: str = pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "\n")[0].as_py()
    return f"{text}\n".encode()


FORMATS: dict[str, Callable[[pa.Table], bytes]] = {"parquet": as_parquet, "ndjson": as_ndjson}
