"""Parquet files with columns of each kind, written with each encoding and compression."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etl.model.dataset import Dataset, Field, FieldType

LAKE = Dataset(
    name="lake",
    table="lake",
    include=("**",),
    fields=(
        Field(name="sensor"),
        Field(name="x", type=FieldType.NUMBER, sql="double precision"),
        Field(name="n", type=FieldType.INTEGER),
        Field(name="at", type=FieldType.DATETIME),
        Field(name="tags", type=FieldType.ARRAY),
    ),
)


def lake_files() -> list[bytes]:
    """Some files with the same rows."""
    count = 60
    table = pa.table({
        "sensor": [f"s{place % 7}" for place in range(count)],
        "x": np.arange(count) / 7,
        "n": pa.array([None if place % 5 else place for place in range(count)]),
        "at": pa.array(range(count), pa.timestamp("us", "UTC")),
        "tags": [[str(place)] * (place % 4) for place in range(count)],
        "s": [{"a": place, "b": "x"} for place in range(count)],
        "m": pa.array([[("k", place)] for place in range(count)], pa.map_(pa.string(), pa.int64())),
        "kind": pa.array(["x", "y"] * (count // 2)).dictionary_encode(),
        "u": pa.array([bytes(16)] * count, pa.uuid()),
        "h": pa.array(np.arange(count).astype(np.float16)),
    })  # fmt: skip
    encodings = {"n": "DELTA_BINARY_PACKED", "sensor": "DELTA_BYTE_ARRAY", "x": "BYTE_STREAM_SPLIT"}
    options: list[dict[str, Any]] = [
        {},
        {"compression": "zstd", "data_page_version": "2.0", "write_page_index": True},
        {"compression": "gzip", "row_group_size": 20, "data_page_size": 100},
        {"compression": "none", "use_dictionary": False, "column_encoding": encodings},
        {"store_schema": False, "use_deprecated_int96_timestamps": True},
        {"compression": "lz4", "write_page_checksum": True},
    ]
    return [_written(table, one) for one in options]


def _written(table: pa.Table, options: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    pq.write_table(table, content, **options)
    return content.getvalue()
