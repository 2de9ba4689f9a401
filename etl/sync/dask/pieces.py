"""Cut the changes of a bucket into pieces, each of which is read in one place."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from etl.model.dataset import Dataset, UnknownColumns
from etl.model.values import Change, ChangeKind
from etl.sync import batch as batches
from etl.sync.dask.cut_file import may_be_cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etl.sync.reading import BucketReading

TASK_BATCHES = 8  # of `batch.MAX_BYTES` at most: a task should take a second or so


class ReadingPlace(Enum):
    """Where a piece is read: by the process of the run, by a worker, or in parts by several."""

    HERE = auto()
    WORKER = auto()
    WORKERS = auto()


class Piece(NamedTuple):
    """Changes to read together."""

    changes: list[Change]
    place: ReadingPlace


def cut(changes: Iterator[Change], reading: BucketReading) -> Iterator[Piece]:
    """Cut changes into pieces of at most 5,000 objects and 16 MB of files, or one larger file."""
    piles: dict[ReadingPlace, list[Change]] = {ReadingPlace.HERE: [], ReadingPlace.WORKER: []}
    sizes = dict.fromkeys(piles, 0)
    for change in changes:
        if may_be_cut(change, reading):
            yield Piece([change], ReadingPlace.WORKERS)
            continue
        weight = batches.weight(change, reading)
        place = ReadingPlace.HERE if _is_local(change, reading) else ReadingPlace.WORKER
        is_full = len(piles[place]) >= batches.MAX_OBJECTS
        if piles[place] and (is_full or sizes[place] + weight > TASK_BATCHES * batches.MAX_BYTES):
            yield Piece(piles[place], place)
            piles[place], sizes[place] = [], 0
        piles[place].append(change)
        sizes[place] += weight
    for place, pile in piles.items():
        if pile:
            yield Piece(pile, place)


def is_for_workers(pieces: Sequence[Piece]) -> bool:
    """Whether workers are worth it for these pieces, if there are no more than two in all.

    A single file that is modified is not: threads compare it with its stored rows.
    """
    is_spread = (one.place is ReadingPlace.WORKERS and _is_added(one) for one in pieces)
    return len(pieces) > 1 or any(is_spread)


def _is_added(piece: Piece) -> bool:
    return all(change.kind is ChangeKind.ADDED for change in piece.changes)


def adds_columns(dataset: Dataset) -> bool:
    """Whether the files of the dataset add columns, in the order in which they are read."""
    return dataset.unknown_columns is UnknownColumns.ADD


def _is_local(change: Change, reading: BucketReading) -> bool:
    return reading.is_read(change) and adds_columns(reading.dataset_of(change.source.key))
