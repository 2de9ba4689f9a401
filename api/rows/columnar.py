"""Users as Parquet and Arrow, with the types of their columns. Imports pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pyarrow as pa

from etl.db import columnar
from etl.db.copy_stream import ChunkFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

_TYPES = {
    "birthts": pa.int64(),
    "birthdate": pa.date32(),
    "age": pa.int32(),
    "source_line": pa.int32(),
    "run_id": pa.int64(),
    "updated_at": pa.timestamp("us", "UTC"),
}


def parquet(chunks: Iterator[bytes], columns: Sequence[str]) -> Iterator[bytes]:
    """The users in COPY's CSV as a Parquet file."""
    return columnar.parquet(_file(chunks), _types(columns))


def arrow_stream(chunks: Iterator[bytes], columns: Sequence[str]) -> Iterator[bytes]:
    """The users in COPY's CSV as an Arrow IPC stream."""
    return columnar.arrow_stream(_file(chunks), _types(columns))


def _file(chunks: Iterator[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", ChunkFile(chunks))


def _types(columns: Sequence[str]) -> dict[str, pa.DataType]:
    return {name: _TYPES.get(name, pa.string()) for name in columns}
