"""A large file that workers read in parts: lines of a CSV, or row groups of a Parquet file.

The ranges of a CSV are surveyed before its parts are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.model.dataset import UnknownColumns
from etl.model.errors import SourceError
from etl.model.formats import FileFormat, SourceFormat
from etl.read.csv import ranges
from etl.read.parquet import row_groups
from etl.read.signatures import HEAD_BYTES, check_format
from etl.sync.parts import CsvPart, ParquetPart, fetching, from_json, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.model.values import Change
    from etl.storage.client import ObjectStore
    from etl.sync.batch import Batch
    from etl.sync.parts import FilePart
    from etl.sync.reading import BucketReading
    from etl.sync.run_tables import ReadBatch

RANGE_BYTES = 16 << 20  # of a CSV: a part should take some seconds
GROUP_BYTES = 4 << 20  # of row groups, whose rows take more as text

_PARQUET = FileFormat(SourceFormat.PARQUET)  # not compressed as a whole
_CSV = (FileFormat(SourceFormat.CSV), FileFormat(SourceFormat.TSV))


class CutFile:
    """The state of one file: what was found in its ranges and parts so far.

    `spans` are the ranges to survey, from their first byte to the one after their last. `numbers`
    are those of the parts among the batches.
    """

    def __init__(self, change: Change, head: bytes = b"", parts: Sequence[FilePart] = ()) -> None:
        self.change, self.head, self.parts = change, head, parts
        self.numbers: list[int] = []
        size = change.source.size
        starts = () if parts else range(0, size, RANGE_BYTES)
        self.spans = [(start, min(start + RANGE_BYTES, size)) for start in starts]
        self._surveyed: dict[int, ranges.Surveyed] = {}
        self._read: dict[int, ReadBatch] = {}

    @classmethod
    def of(cls, change: Change, reading: BucketReading, store: ObjectStore) -> CutFile | None:
        """The file of a change, if it can be cut.

        Raises:  as `batch.fetch`.
        """
        source, format_ = change.source, reading.format_of(change.source.key)
        dataset = reading.dataset_of(source.key)
        fetch = fetching(store, reading.bucket, source)
        try:
            beginning = b"".join(fetch(0, min(ranges.HEAD_BYTES, source.size)))
            check_format(beginning[:HEAD_BYTES], format_.format)
            if format_ != _PARQUET:
                head = ranges.read_head(source, dataset, beginning)
                return None if head is None else cls(change, head.content)
            parts = row_groups.parts_of(source.size, fetch, GROUP_BYTES)
        except SourceError:  # of the object, which is then read as a whole
            return None
        if len(parts) < 2 or dataset.id_from_name is not None:  # noqa: PLR2004
            return None
        return cls(change, parts=[ParquetPart(groups) for groups in parts])

    def add_survey(self, start: int, found: ranges.Surveyed) -> None:
        """Note what was found in a range. After the last one, the `parts` are known."""
        self._surveyed[start] = found
        if len(self._surveyed) == len(self.spans):
            surveyed = [self._surveyed[start] for start, _ in self.spans]
            found_lines = ranges.parts_of(self.change.source.size, RANGE_BYTES, surveyed)
            self.parts = [CsvPart(self.head, lines) for lines in found_lines]

    def add_part(self, place: int, found: ReadBatch) -> bool:
        """Note what was staged of a part; return whether all parts are read."""
        self._read[place] = found
        return len(self._read) == len(self.parts)

    @property
    def staged(self) -> list[ReadBatch]:
        """What was staged of each part, in their order."""
        return [self._read[place] for place in range(len(self.parts))]

    def completed(self, reading: BucketReading) -> Batch | None:
        """The batch that completes the object; None if it must be read as a whole."""
        found = (from_json(one.part) for one in self.staged if one.part is not None)
        return joined(found, self.change, reading)


def may_be_cut(change: Change, reading: BucketReading) -> bool:
    """Whether the change is of a file that is large enough, and has a format that can be cut."""
    if not reading.is_read(change) or change.source.size <= 2 * min(GROUP_BYTES, RANGE_BYTES):
        return False
    key, size = change.source.key, change.source.size
    if reading.dataset_of(key).unknown_columns is UnknownColumns.ADD:
        return False
    found = reading.format_of(key)
    return found == _PARQUET or (found in _CSV and size > 2 * RANGE_BYTES)
