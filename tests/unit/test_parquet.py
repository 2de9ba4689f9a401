"""CSV as COPY writes it, and the Parquet file made of it, cell by cell."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as arrow_parquet

from etl.db.dataset_sql import DatasetSql
from etl.model.dataset import USERS
from etl.sync.outputs import OUTPUT_COLUMNS, PARQUET_NAME, Output
from etl.sync.publish import as_parquet

TYPES = Output(PARQUET_NAME, DatasetSql(USERS, "public")).types

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ROWS = st.lists(
    st.tuples(TEXT, TEXT, TEXT, st.integers(-(2**63), 2**63 - 1), st.none() | TEXT), max_size=30
)


def copied(rows: list[tuple[object, ...]]) -> bytes:
    """The rows as COPY writes them: texts quoted, null empty."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(OUTPUT_COLUMNS)
    for row in rows:
        cells = (
            "" if cell is None else str(cell) if isinstance(cell, int) else _quoted(str(cell))
            for cell in row
        )
        text.write(",".join(cells) + "\n")
    return text.getvalue().encode()


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def read(rows: list[tuple[object, ...]]) -> pa.Table:
    with as_parquet(io.BytesIO(copied(rows)), TYPES) as stream:
        return arrow_parquet.read_table(io.BytesIO(stream.read()))


@given(rows=ROWS)
def test_every_cell_is_preserved(rows: list[tuple[object, ...]]):
    table = read(rows)
    assert table.column_names == list(OUTPUT_COLUMNS)
    assert [tuple(row.values()) for row in table.to_pylist()] == rows


def test_no_users_give_a_file_with_columns_and_no_rows():
    table = read([])
    assert table.num_rows == 0
    types = [str(column) for column in table.schema.types]
    assert dict(zip(table.column_names, types, strict=True)) == dict.fromkeys(TYPES, "string") | {
        "birthts": "int64"
    }


def test_a_row_group_is_written_for_each_block():
    rows: list[tuple[object, ...]] = [(f"{n:05}", "Ann", "Lee", n, None) for n in range(2_000)]
    with as_parquet(io.BytesIO(copied(rows)), TYPES, 1 << 12) as stream:
        file = arrow_parquet.ParquetFile(io.BytesIO(stream.read()))
    assert file.num_row_groups > 5
    assert [tuple(row.values()) for row in file.read().to_pylist()] == rows


def test_a_source_that_fails_fails_the_file():
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: object) -> int:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        as_parquet(io.BufferedReader(Broken()), TYPES).read()
