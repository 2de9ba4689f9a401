"""How to read a Parquet file in bounded memory; files that would need more are refused.

A few bytes can stand for any number of rows, of elements of a list, or of copies of one long text.
So the number of rows that are read at once depends on the texts of each dictionary, on the sizes of
the pages, and on the elements of lists. Long texts of a dictionary, and those within nested values,
are read as codes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode
from etl.read.limits import FREE_BYTES, MOST_RATIO
from etl.read.parquet.pages import DELTA_BYTE_ARRAY, Chunk, Group, Page, groups, pages
from etl.read.parquet.thrift import WrongStruct
from etl.read.pieces import MOST_CELLS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    import pyarrow.parquet as pq

    # Opens the file again, with the texts of these columns as codes of their dictionaries.
    Reopen = Callable[[list[str]], pq.ParquetFile]

BATCH_ROWS = 1 << 15
MOST_EXPANDED_BYTES = 1 << 30  # of one page, or of one nested column in a row group
MOST_DICTIONARY_BYTES = 8 << 20  # of one column; Arrow has it five times in memory
MOST_COLUMNS = 10_000  # leaves, which is what is stored

_TEXT_BYTES = 4 << 20  # of one column in one batch
_LONG_TEXT_BYTES = 4 << 10  # texts of a dictionary that are read as codes
_PROBED_BYTES = 2 << 20  # of a dictionary; larger ones are read as codes, without another copy
_ROW_BYTES = 32  # that even a row without texts takes
_CODE_BYTES = 4
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT96": 12}


class Plan(NamedTuple):
    """How many rows of each row group to read at once, by its place, and some columns.

    `coded` are those to read as codes, `int96` those with times of 96 bits.
    """

    rows: dict[int, int]
    coded: tuple[str, ...]
    int96: tuple[str, ...]


class _Leaf(NamedTuple):
    """A stored column: its place, its path, and the bytes of a value; None if they vary."""

    place: int
    path: str
    physical_type: str
    width: int | None
    is_nested: bool


def plan(
    file: pq.ParquetFile,
    content: BinaryIO,
    columns: int,
    reopen: Reopen,
    places: range | None = None,
) -> Plan:
    """How to read the file, or its row groups at some places, into so many columns at least.

    Raises:  RefusedObject, WrongStruct; the errors of Arrow.
    """
    found_groups = groups(content)
    _check_counts(file, found_groups, content.seek(0, 2))
    leaves = [_leaf(file, place) for place in range(file.metadata.num_columns)]
    texts = [leaf for leaf in leaves if leaf.width is None]
    probe = reopen([leaf.path for leaf in texts if not leaf.is_nested])
    rows = {}
    coded = set()
    for group in range(len(found_groups)) if places is None else places:
        rows_of_group, chunks = found_groups[group]
        most = BATCH_ROWS
        values = rows_of_group * max(columns - len(leaves), 0)
        for leaf, chunk in zip(leaves, chunks, strict=True):
            if not rows_of_group:
                break  # its columns have no pages, and Arrow gives them places in other data
            found = _pages(content, chunk, leaf)
            count = _values(found)
            values += count
            most = min(most, _values_at_once(found, leaf) * rows_of_group // max(count, 1))
            if leaf.width is None and _is_coded(found, leaf, partial(_longest, probe, group, leaf)):
                coded.add(leaf.path)
        rows[group] = _rounded(min(most, MOST_CELLS * rows_of_group // max(values, 1)))
    return Plan(
        rows,
        tuple(leaf.path for leaf in texts if leaf.path in coded),
        tuple(leaf.path for leaf in leaves if leaf.physical_type == "INT96" and not leaf.is_nested),
    )


def _check_counts(file: pq.ParquetFile, found: list[Group], size: int) -> None:
    metadata = file.metadata
    if metadata.num_columns > MOST_COLUMNS:
        raise RefusedObject(
            ProblemCode.TOO_MANY_COLUMNS,
            f"The file has more than {MOST_COLUMNS:,} columns. Remove columns you do not need.",
        )
    if len(found) != metadata.num_row_groups:
        raise WrongStruct("its numbers of row groups do not agree")
    if any(len(chunks) != metadata.num_columns for _, chunks in found):
        raise WrongStruct("its numbers of columns do not agree")
    rows = sum(rows for rows, _ in found)
    if is_bomb(rows * _ROW_BYTES, size):
        raise too_large(f"Its {size:,} bytes stand for {rows:,} rows")


def _leaf(file: pq.ParquetFile, place: int) -> _Leaf:
    column = file.schema.column(place)
    kind, path = column.physical_type, column.path
    width = _WIDTHS.get(kind, 8)
    if kind == "FIXED_LEN_BYTE_ARRAY":
        width = column.length
    is_nested = column.max_repetition_level > 0 or path != column.name
    return _Leaf(place, path, kind, None if kind == "BYTE_ARRAY" else width, is_nested)


def _pages(content: BinaryIO, chunk: Chunk, leaf: _Leaf) -> list[Page]:
    found = list(pages(content, chunk))
    for page in found:
        _check_size(page.expanded_bytes, page.compressed_bytes, "A page expands to")
        if page.is_dictionary and page.expanded_bytes > MOST_DICTIONARY_BYTES:
            raise too_large(f"The texts of a dictionary have {page.expanded_bytes:,} bytes")
    if leaf.is_nested:
        # One row may have all elements.
        size = _values(found) * (leaf.width or _CODE_BYTES)
        _check_size(size, chunk.end - chunk.start, "The lists of one row group expand to")
    return found


def _values(found: list[Page]) -> int:
    """The number of values in a column chunk: its rows, or the elements of its lists."""
    return sum(page.values for page in found if not page.is_dictionary)


def _check_size(expanded: int, compressed: int, fault: str) -> None:
    if expanded > MOST_EXPANDED_BYTES or is_bomb(expanded, compressed):
        raise too_large(f"{fault} {expanded:,} bytes")


def _values_at_once(found: list[Page], leaf: _Leaf) -> int:
    """How many values of one column chunk to read, if its dictionary has short texts."""
    if leaf.width is not None:
        return _TEXT_BYTES // max(leaf.width, 1)
    most = _TEXT_BYTES
    for page in found:
        if page.is_dictionary or not page.expanded_bytes:
            continue
        if page.encoding == DELTA_BYTE_ARRAY:  # each text may repeat the one before
            most = min(most, _TEXT_BYTES // page.expanded_bytes)
        else:
            most = min(most, _TEXT_BYTES * page.values // page.expanded_bytes)
    return most


def _rounded(rows: int) -> int:
    """A power of two, at least 1, so that row groups that are much alike are read the same way."""
    return 1 << max(rows.bit_length() - 1, 0)


def _is_coded(found: list[Page], leaf: _Leaf, longest: Callable[[], int]) -> bool:
    """Whether texts are to be read as codes of their dictionary, which may have long ones."""
    dictionary = next((page for page in found if page.is_dictionary), None)
    if dictionary is None or dictionary.expanded_bytes <= _LONG_TEXT_BYTES:
        return dictionary is not None and leaf.is_nested
    is_probed = not leaf.is_nested and dictionary.expanded_bytes <= _PROBED_BYTES
    return not is_probed or longest() > _LONG_TEXT_BYTES


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


def is_bomb(expanded: int, compressed: int) -> bool:
    """Whether so many bytes are made from so few that it cannot be by chance."""
    return expanded > FREE_BYTES and expanded > MOST_RATIO * compressed


def too_large(fault: str) -> RefusedObject:
    """The refusal of a file that would fill memory or the database."""
    return RefusedObject(
        ProblemCode.ARCHIVE_TOO_LARGE,
        f"{fault}, as files do that are made to fill memory and disks. If the data are genuine, "
        "write the file with smaller row groups and pages, or as several files.",
    )
