"""Rows as Parquet and Arrow, with the types of their columns. Imports pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from etl.db import columnar
from etl.db.copy_stream import ChunkFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from api.rows.columns import Column
    from etl.model.types import SqlType


def parquet(chunks: Iterator[bytes], columns: Sequence[Column]) -> Iterator[bytes]:
    """The rows in COPY's CSV as a Parquet file."""
    return columnar.parquet(_file(chunks), _types(columns))


def arrow_stream(chunks: Iterator[bytes], columns: Sequence[Column]) -> Iterator[bytes]:
    """The rows in COPY's CSV as an Arrow IPC stream."""
    return columnar.arrow_stream(_file(chunks), _types(columns))


def _file(chunks: Iterator[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", ChunkFile(chunks))


def _types(columns: Sequence[Column]) -> dict[str, SqlType]:
    return {one.name: one.type for one in columns}
