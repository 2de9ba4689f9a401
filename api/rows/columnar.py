"""Rows as Parquet and Arrow, with the types of their columns. Imports pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pyarrow as pa

from etl.db import columnar
from etl.db.copy_stream import ChunkFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from api.rows.columns import Column
    from etl.model.types import SqlType

# Other types are texts: a numeric without precision has no exact type.
_TYPES = {
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "timestamp": pa.timestamp("us", "UTC"),
}
_MAX_PRECISION = 38


def parquet(chunks: Iterator[bytes], columns: Sequence[Column]) -> Iterator[bytes]:
    """The rows in COPY's CSV as a Parquet file."""
    return columnar.parquet(_file(chunks), _types(columns))


def arrow_stream(chunks: Iterator[bytes], columns: Sequence[Column]) -> Iterator[bytes]:
    """The rows in COPY's CSV as an Arrow IPC stream."""
    return columnar.arrow_stream(_file(chunks), _types(columns))


def _file(chunks: Iterator[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", ChunkFile(chunks))


def _types(columns: Sequence[Column]) -> dict[str, pa.DataType]:
    return {one.name: _type(one.type) for one in columns}


def _type(sql: SqlType) -> pa.DataType:
    if sql.name == "numeric" and sql.precision is not None and sql.precision <= _MAX_PRECISION:
        return pa.decimal128(sql.precision, sql.scale or 0)
    return _TYPES.get(sql.name, pa.string())
