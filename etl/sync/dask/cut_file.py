"""A large CSV that workers read in parts: its ranges are surveyed, then its parts are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.model.dataset import UnknownColumns
from etl.model.errors import ObjectChanged, UnreadableObject
from etl.model.formats import PRESET_FORMATS, FileFormat
from etl.read.csv import ranges
from etl.sync.parts import from_json, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.model.values import Change
    from etl.storage.client import ObjectStore
    from etl.sync.batch import Batch
    from etl.sync.reading import BucketReading
    from etl.sync.run_tables import ReadBatch

RANGE_BYTES = 16 << 20  # a part should take some seconds

_CUT = [FileFormat(one) for one in PRESET_FORMATS]  # CSV and TSV that are not compressed


class CutFile:
    """The state of one file: what was found in its ranges and parts so far."""

    def __init__(self, change: Change, head: bytes) -> None:
        self.change, self.head = change, head
        size = change.source.size
        self._starts = range(0, size, RANGE_BYTES)
        self._surveyed: dict[int, ranges.Surveyed] = {}
        self._parts: list[ranges.Part] = []
        self._read: dict[int, ReadBatch] = {}  # by the first byte of the part
        self.numbers: list[int] = []  # of its parts among the batches

    @classmethod
    def of(cls, change: Change, reading: BucketReading, store: ObjectStore) -> CutFile | None:
        """The file of a change, if it can be cut.

        Raises:  as `batch.fetch`.
        """
        source = change.source
        end = min(ranges.HEAD_BYTES, source.size)
        try:
            (beginning,) = store.fetch_in_parts(reading.bucket, source, end, (0, end))
        except (ObjectChanged, UnreadableObject):
            return None
        head = ranges.read_head(source, reading.dataset_of(source.key), beginning)
        return None if head is None else cls(change, head.content)

    @property
    def spans(self) -> Iterator[tuple[int, int]]:
        """The first byte of each range, and the one after its last."""
        return ((one, min(one + RANGE_BYTES, self.change.source.size)) for one in self._starts)

    def add_survey(self, start: int, found: ranges.Surveyed) -> list[ranges.Part]:
        """Note what was found in a range; return the parts once all ranges are surveyed."""
        self._surveyed[start] = found
        if len(self._surveyed) < len(self._starts):
            return []
        surveyed = [self._surveyed[start] for start in self._starts]
        self._parts = ranges.parts_of(self.change.source.size, RANGE_BYTES, surveyed)
        return self._parts

    def add_part(self, part: ranges.Part, found: ReadBatch) -> bool:
        """Note what was staged of a part; return whether all parts are read."""
        self._read[part.start] = found
        return len(self._read) == len(self._parts)

    @property
    def staged(self) -> list[ReadBatch]:
        """What was staged of each part, in their order."""
        return [self._read[part.start] for part in self._parts]

    def completed(self, reading: BucketReading) -> Batch | None:
        """The batch that completes the object; None if it must be read as a whole."""
        found = (from_json(one.part) for one in self.staged if one.part is not None)
        return joined(found, self.change, reading)


def may_be_cut(change: Change, reading: BucketReading) -> bool:
    """Whether the change is of a CSV that is large enough."""
    if not reading.is_read(change) or change.source.size <= 2 * RANGE_BYTES:
        return False
    key = change.source.key
    is_add = reading.dataset_of(key).unknown_columns is UnknownColumns.ADD
    return not is_add and reading.format_of(key) in _CUT
