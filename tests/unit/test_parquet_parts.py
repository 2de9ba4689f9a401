"""Large Parquet files give the same rows and problems by row groups as in one piece."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Dataset, Field, FieldType
from etl.model.errors import RefusedObject
from etl.model.values import SourceObject
from etl.read import parquet
from etl.read.parquet import row_groups
from etl.read.parquet.reader import read_groups
from etl.read.parquet.row_groups import RowGroups
from etl.read.rows.extract import Extract, joined

OF = Dataset(
    name="d",
    table="d",
    include=("**",),
    fields=(
        Field(name="sensor", constraints=Constraints(required=True)),
        Field(name="at", type=FieldType.DATETIME),
        Field(name="unknown"),
    ),
)
TYPES = {
    "sensor": pa.string(),
    "at": pa.timestamp("ns"),
    "n": pa.int64(),
    "tags": pa.list_(pa.string()),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "sensor": st.sampled_from([None, "", " a ", "b", "\0", "long" * 2_000]),
            "at": st.sampled_from([None, 0, 1, 1_000]),
            "n": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
            "tags": st.one_of(st.none(), st.lists(st.sampled_from(["x", "", "\0"]), max_size=3)),
        }
    ),
    min_size=1,
    max_size=60,
)
OPTIONS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["none", "snappy", "zstd"]),
        "use_dictionary": st.booleans(),
        "row_group_size": st.integers(1, 20),
        "use_deprecated_int96_timestamps": st.booleans(),
    }
)


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_groups, "LEAST_BYTES", 1)
        yield


class Stored:
    """A file in a store, and the ranges of it that were fetched."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.fetched: list[tuple[int, int]] = []

    @property
    def source(self) -> SourceObject:
        when = datetime(2026, 1, 1, tzinfo=UTC)
        return SourceObject("a/1.parquet", "etag", len(self.content), when)

    def fetch(self, start: int, end: int) -> Iterator[bytes]:
        self.fetched.append((start, end))
        yield self.content[start:end]

    def parts(self, least_bytes: int = 1) -> list[RowGroups]:
        return row_groups.parts_of(len(self.content), self.fetch, least_bytes)

    def read_part(self, part: RowGroups) -> Extract:
        with row_groups.content_of(len(self.content), part, self.fetch) as content:
            return joined(list(read_groups(self.source, OF, part, content)))


def written(table: pa.Table, **options: Any) -> Stored:  # noqa: ANN401
    content = io.BytesIO()
    pq.write_table(table, content, **options)
    return Stored(content.getvalue())


def numbered(count: int, **options: Any) -> Stored:  # noqa: ANN401
    return written(pa.table({"sensor": [f"s{n}" for n in range(count)]}), **options)


@given(ROWS, OPTIONS, st.integers(1, 4_000))
def test_parts_have_the_rows_and_problems_of_the_whole(
    rows: list[dict[str, Any]], options: dict[str, Any], least_bytes: int
):
    columns = {name: pa.array([row[name] for row in rows], type_) for name, type_ in TYPES.items()}
    stored = written(pa.table(columns), **options)
    parts = stored.parts(least_bytes)
    assert (parts[0].first, parts[0].first_row) == (0, 1)
    assert [part.first for part in parts[1:]] == [part.end for part in parts[:-1]]
    found = joined([stored.read_part(part) for part in parts])
    whole = joined(list(parquet.read(stored.source, OF, None, [stored.content])))
    assert found.rows.equals(whole.rows)
    assert found.problems == whole.problems
    assert found.rows_read == whole.rows_read
    assert found.rows_rejected == whole.rows_rejected
    assert found.more == whole.more


def test_part_fetches_its_row_groups_and_the_footer_only():
    stored = numbered(100_000, row_group_size=20_000, compression="none")
    parts = stored.parts()
    assert [(part.first, part.first_row) for part in parts] == [
        (place, 1 + 20_000 * place) for place in range(5)
    ]
    stored.fetched.clear()
    assert stored.read_part(parts[3]).rows_read == {"a/1.parquet": 20_000}
    fetched = sum(end - start for start, end in stored.fetched)
    assert fetched < len(stored.content) / 3


def test_small_row_groups_are_read_together():
    stored = numbered(100_000, row_group_size=10_000, compression="none")
    one = stored.parts()[1]
    least_bytes = 3 * (one.end_byte - one.start_byte) // 2
    assert [(part.first, part.end) for part in stored.parts(least_bytes)] == [
        (0, 2),
        (2, 4),
        (4, 6),
        (6, 8),
        (8, 10),
    ]


@pytest.mark.parametrize("first", [-8, 0])
def test_file_with_a_damaged_footer_is_not_cut(first: int):
    content = bytearray(numbered(100, row_group_size=10).content)
    content[first:] = b"\xff" * len(content[first:])
    assert Stored(bytes(content)).parts() == []


def test_damaged_part_is_refused():
    stored = numbered(50_000, row_group_size=10_000)
    part = stored.parts()[2]
    content = bytearray(stored.content)
    middle = (part.start_byte + part.end_byte) // 2
    content[middle : middle + 100] = bytes(100)
    with pytest.raises(RefusedObject):
        Stored(bytes(content)).read_part(part)
    assert Stored(bytes(content)).read_part(stored.parts()[3]).rows_read
