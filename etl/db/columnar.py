"""Parquet and Arrow from CSV, whose cells are those of `ColumnTraits.cell`. Imports pyarrow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import ipc
from pyarrow import parquet as arrow_parquet

from etl.db.copy_stream import ChunkWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO

    from etl.model.types import SqlType

BLOCK_BYTES = 4 << 20  # of CSV, at most; each block makes one batch, and one row group

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


def parquet(
    csv: IO[bytes], types: Mapping[str, SqlType], *, block_bytes: int = BLOCK_BYTES
) -> Iterator[bytes]:
    """The rows of a CSV with a header as a Parquet file, one row group per block."""
    new_file = partial(arrow_parquet.ParquetWriter, compression="zstd", store_schema=False)
    return _written(csv, types, block_bytes, new_file)


def arrow_stream(
    csv: IO[bytes], types: Mapping[str, SqlType], *, block_bytes: int = BLOCK_BYTES
) -> Iterator[bytes]:
    """The rows of a CSV with a header as an Arrow IPC stream, one batch per block."""
    return _written(csv, types, block_bytes, ipc.new_stream)


def _written(
    csv: IO[bytes],
    types: Mapping[str, SqlType],
    block_bytes: int,
    new_file: Callable[..., Any],
) -> Iterator[bytes]:
    chunks: list[bytes] = []
    batches = _batches(csv, types, block_bytes)
    with new_file(ChunkWriter(chunks.append), batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield b"".join(chunks)
            chunks.clear()
    yield b"".join(chunks)


def _batches(csv: IO[bytes], types: Mapping[str, SqlType], block_bytes: int) -> Any:  # noqa: ANN401 - Arrow's
    """Read COPY's CSV, in which an empty text is quoted and a null is not."""
    return arrow_csv.open_csv(
        csv,
        arrow_csv.ReadOptions(use_threads=False, block_size=block_bytes),
        arrow_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        arrow_csv.ConvertOptions(
            column_types={name: _type(one) for name, one in types.items()},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _type(sql: SqlType) -> pa.DataType:
    if sql.name == "numeric" and sql.precision is not None and sql.precision <= _MAX_PRECISION:
        return pa.decimal128(sql.precision, sql.scale or 0)
    return _TYPES.get(sql.name, pa.string())
