"""CSV in, Parquet out, in the memory of one row group."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP_BYTES = 8 * 1024 * 1024  # of CSV: about 150,000 users


def as_parquet(csv: BinaryIO, types: Mapping[str, str]) -> BinaryIO:
    """The rows of a CSV with a header, as COPY writes it, as a Parquet file to read.

    An empty cell is null when it is bare and a text when it is quoted.
    """
    return cast("BinaryIO", io.BufferedReader(_Parquet(csv, types), buffer_size=1 << 20))


class _Parquet(io.RawIOBase):
    """Reads a block of CSV whenever what was written of the last one has been read."""

    def __init__(self, csv: BinaryIO, types: Mapping[str, str]) -> None:
        self._blocks = arrow_csv.open_csv(
            csv,
            arrow_csv.ReadOptions(block_size=GROUP_BYTES, use_threads=False),
            arrow_csv.ParseOptions(newlines_in_values=True),
            arrow_csv.ConvertOptions(
                column_types={name: pa.type_for_alias(alias) for name, alias in types.items()},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(
            self._sink, self._blocks.schema, compression="zstd", store_schema=False
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._sink.waiting and self._writer.is_open:
            self._write_next()
        return self._sink.take_into(buffer)

    def _write_next(self) -> None:
        try:
            self._writer.write_batch(self._blocks.read_next_batch())
        except StopIteration:
            self._writer.close()

    def close(self) -> None:
        self._blocks.close()
        super().close()


class _Sink(io.RawIOBase):
    """Holds what is written until it is taken."""

    def __init__(self) -> None:
        self._written = 0
        self.waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        count = len(memoryview(data))  # type: ignore[arg-type]
        self.waiting += data  # type: ignore[arg-type]
        self._written += count
        return count

    def tell(self) -> int:
        return self._written

    def take_into(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self.waiting))
        buffer[:count] = self.waiting[:count]
        del self.waiting[:count]
        return count
