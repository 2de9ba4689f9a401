"""Which files of a batch are read together, and which one by one.

A file that is small may still have many rows, which take memory for all columns of their dataset.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from etl.model.dataset import UnknownColumns
from etl.model.errors import RefusedObject
from etl.model.values import SourceFile
from etl.read import pieces
from etl.read.formats import expand_file
from etl.read.rows.layout import MOST_ADDED
from etl.sync.batch import MAX_BYTES, Fetched

if TYPE_CHECKING:
    from etl.model.dataset import Dataset
    from etl.model.values import Change
    from etl.sync.reading import BucketReading

MAX_EXPANDED_BYTES = 2 * MAX_BYTES  # of the compressed files of a batch that are read together
MOST_CELLS = 4 * pieces.MOST_CELLS  # of a group

_ROW_MARKS = (*pieces.LINE_ENDS, b"{")  # each row has one of them


class Groups(NamedTuple):
    """The changes to check together, and those of files that are read one by one, with contents."""

    together: list[Fetched]
    alone: list[tuple[Change, bytes]]


def grouped(fetched: Fetched, reading: BucketReading) -> Groups:
    """The changes of a batch in groups.

    Compressed files of text are expanded to be read together, until there is enough text.
    """
    found = Groups([], [])
    outcomes = dict(fetched.outcomes)
    left_bytes = MAX_EXPANDED_BYTES
    group: list[Change] = []
    cells = 0
    for change in fetched.changes:
        key = change.source.key
        fetched_file = outcomes.get(key)
        more = 0
        if isinstance(fetched_file, SourceFile):
            file = _as_text(fetched_file, reading, left_bytes)
            more = 0 if file is None else _most_cells(file, reading.dataset_of(key))
            if file is None or more > MOST_CELLS:
                source = replace(change, source=fetched_file.source)
                found.alone.append((source, fetched_file.content))
                continue
            if file is not fetched_file:
                left_bytes -= len(file.content)
                outcomes[key] = file
        if cells + more > MOST_CELLS:
            found.together.append(Fetched(group, outcomes))
            group, cells = [], 0
        group.append(change)
        cells += more
    if group:
        found.together.append(Fetched(group, outcomes))
    return found


def _as_text(file: SourceFile, reading: BucketReading, most_bytes: int) -> SourceFile | None:
    """The file expanded to text of at most that size; None if it must be read by itself."""
    key = file.source.key
    if not reading.format_of(key).is_text:
        return None
    try:
        return expand_file(file, reading.dataset_of(key), most_bytes, reading.limits)
    except RefusedObject:
        return None


def _most_cells(file: SourceFile, dataset: Dataset) -> int:
    """How many cells the rows of a text have at most, with those of columns that it lacks."""
    rows = 1 + max(map(file.content.count, _ROW_MARKS))
    added = MOST_ADDED if dataset.unknown_columns is UnknownColumns.ADD else 0
    return rows * (len(dataset.fields) + added)
