"""How to read a Parquet file in bounded memory; files that would need more are refused.

A few bytes can stand for any number of rows, of elements of a list, or of copies of one long text.
So the number of rows that are read at once depends on the longest text of each dictionary and on
the sizes of the pages, and texts within nested values are read as codes of their dictionary.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode
from etl.read.limits import FREE_BYTES, MOST_RATIO
from etl.read.parquet.pages import DELTA_BYTE_ARRAY, Page, pages

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    import pyarrow.parquet as pq

    # Opens the file again, with the texts of these columns as codes of their dictionaries.
    Reopen = Callable[[list[str]], pq.ParquetFile]

BATCH_ROWS = 1 << 15
MOST_PAGE_BYTES = 128 << 20
MOST_COLUMNS = 10_000  # leaves, which is what is stored

_MOST_CELLS = 1 << 21  # of one batch
_MOST_TEXT_BYTES = 32 << 20  # of one column in one batch, if all of its texts are the longest
_PAGE_TEXT_BYTES = 4 << 20  # the same, if its texts are as long as those of a page are on average
_MOST_NESTED_BYTES = 512 << 20  # of one column in one row group, if one row has all elements
_ROW_BYTES = 32  # that even a row without texts takes
_SHORT_DICTIONARY_BYTES = 1 << 10
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT96": 12}


class Plan(NamedTuple):
    """The rows to read at once, the columns to read as codes, and those with times of 96 bits."""

    rows: int
    coded: tuple[str, ...]
    int96: tuple[str, ...]


class _Leaf(NamedTuple):
    """A stored column: its place, its path, and the bytes of a value; None if they vary."""

    place: int
    path: str
    physical_type: str
    width: int | None
    is_nested: bool


def plan(file: pq.ParquetFile, content: BinaryIO, reopen: Reopen) -> Plan:
    """How to read the file.

    Raises:  RefusedObject, WrongHeader; the errors of Arrow.
    """
    _check_counts(file, content.seek(0, 2))
    leaves = [_leaf(file, place) for place in range(file.metadata.num_columns)]
    texts = [leaf for leaf in leaves if leaf.width is None]
    probe = reopen([leaf.path for leaf in texts if not leaf.is_nested])
    rows = max(min(BATCH_ROWS, _MOST_CELLS // max(len(leaves), 1)), 1)
    coded = set()
    for group in range(file.metadata.num_row_groups):
        for leaf in leaves:
            found = _pages(file, content, group, leaf)
            if leaf.is_nested:
                _check_nested(found, leaf)
                if any(page.is_dictionary for page in found):
                    coded.add(leaf.path)
            rows = min(rows, _rows(found, leaf, partial(_longest, probe, group, leaf)))
    return Plan(
        rows,
        tuple(leaf.path for leaf in texts if leaf.path in coded),
        tuple(leaf.path for leaf in leaves if leaf.physical_type == "INT96" and not leaf.is_nested),
    )


def _check_counts(file: pq.ParquetFile, size: int) -> None:
    metadata = file.metadata
    if metadata.num_columns > MOST_COLUMNS:
        raise RefusedObject(
            ProblemCode.TOO_MANY_COLUMNS,
            f"The file has more than {MOST_COLUMNS:,} columns. Remove columns you do not need.",
        )
    rows = sum(metadata.row_group(n).num_rows for n in range(metadata.num_row_groups))
    if rows != metadata.num_rows or rows < 0:
        raise ValueError("its numbers of rows do not agree")
    expanded = rows * _ROW_BYTES
    if expanded > FREE_BYTES and expanded > MOST_RATIO * size:
        raise _too_large(f"Its {size:,} bytes stand for {rows:,} rows")


def _leaf(file: pq.ParquetFile, place: int) -> _Leaf:
    column = file.schema.column(place)
    kind, path = column.physical_type, column.path
    width = _WIDTHS.get(kind, 8)
    if kind == "FIXED_LEN_BYTE_ARRAY":
        width = column.length
    is_nested = column.max_repetition_level > 0 or path != column.name
    return _Leaf(place, path, kind, None if kind == "BYTE_ARRAY" else width, is_nested)


def _pages(file: pq.ParquetFile, content: BinaryIO, group: int, leaf: _Leaf) -> list[Page]:
    chunk = file.metadata.row_group(group).column(leaf.place)
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    if start < 0 or chunk.total_compressed_size < 0:
        raise ValueError("the place of a column is negative")
    found = list(pages(content, start, start + chunk.total_compressed_size))
    if max((page.expanded_bytes for page in found), default=0) > MOST_PAGE_BYTES:
        raise _too_large(f"It has a page that expands to more than {MOST_PAGE_BYTES >> 20} MB")
    return found


def _check_nested(found: list[Page], leaf: _Leaf) -> None:
    values = sum(page.values for page in found if not page.is_dictionary)
    if values * (leaf.width or 8) > _MOST_NESTED_BYTES:
        raise _too_large(f"A row group has {values:,} elements in one column")


def _rows(found: list[Page], leaf: _Leaf, longest: Callable[[], int]) -> int:
    """The rows of one column chunk that can be read at once."""
    if leaf.width is not None:
        return max(_MOST_TEXT_BYTES // max(leaf.width, 1), 1)
    most = BATCH_ROWS
    for page in found:
        if page.is_dictionary:
            if page.expanded_bytes > _SHORT_DICTIONARY_BYTES and not leaf.is_nested:
                most = min(most, _MOST_TEXT_BYTES // max(longest(), 1))
        elif page.encoding == DELTA_BYTE_ARRAY:  # each text may repeat the one before
            most = min(most, _MOST_TEXT_BYTES // max(page.expanded_bytes, 1))
        elif page.values > 0:
            most = min(most, _PAGE_TEXT_BYTES * page.values // max(page.expanded_bytes, 1))
    return max(most, 1)


def _longest(probe: pq.ParquetFile, group: int, leaf: _Leaf) -> int:
    """The length of the longest text in the dictionary of a column chunk, in bytes."""
    batches = probe.iter_batches(1, row_groups=[group], columns=[leaf.path], use_threads=False)
    first = next(batches, None)
    if first is None or not first.num_columns:
        return 0
    column = first.column(0)
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if not pa.types.is_dictionary(column.type):
        return 0
    return pc.max(pc.binary_length(column.dictionary)).as_py() or 0


def _too_large(fault: str) -> RefusedObject:
    return RefusedObject(
        ProblemCode.ARCHIVE_TOO_LARGE,
        f"{fault}, as files do that are made to fill memory and disks. If the data are genuine, "
        "write the file with smaller row groups and pages, or as several files.",
    )
