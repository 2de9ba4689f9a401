"""Parquet and Arrow from the CSV that COPY sends, batch by batch. Imports pyarrow."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv, ipc
from pyarrow import parquet as arrow_parquet

from etl.db.copy_stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLOCK_BYTES = 4 << 20  # of CSV; each makes one batch, and one row group

_TYPES = {
    "birthts": pa.int64(),
    "birthdate": pa.date32(),
    "age": pa.int32(),
    "source_line": pa.int32(),
    "run_id": pa.int64(),
    "updated_at": pa.timestamp("us", "UTC"),
}


def parquet(pieces: Iterator[bytes], columns: Sequence[str]) -> Iterator[bytes]:
    """A Parquet file, row group by row group."""
    batches, outbox = _batches(pieces, columns), _Outbox()
    with arrow_parquet.ParquetWriter(outbox, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield outbox.take()
    yield outbox.take()


def arrow_stream(pieces: Iterator[bytes], columns: Sequence[str]) -> Iterator[bytes]:
    """An Arrow IPC stream, batch by batch."""
    batches, outbox = _batches(pieces, columns), _Outbox()
    with ipc.new_stream(outbox, batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield outbox.take()
    yield outbox.take()


def _batches(pieces: Iterator[bytes], columns: Sequence[str]) -> Any:  # noqa: ANN401 - Arrow's
    """Read COPY's CSV, which quotes an empty text and leaves a null bare."""
    return csv.open_csv(
        Stream(pieces),
        csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types={name: _TYPES.get(name, pa.string()) for name in columns},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


class _Outbox(io.RawIOBase):
    """What was written and not taken yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:  # noqa: ANN401 - any buffer
        self._pieces.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
