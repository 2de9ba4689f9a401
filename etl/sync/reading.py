"""How a run reads the objects of one bucket, and the manifest entries that result."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from etl.model.declaration import reading_hash
from etl.model.formats import FileFormat, format_of
from etl.model.routing import Router
from etl.model.values import Change, ChangeKind, ObjectKind, ObjectState, SourceObject
from etl.read.limits import DEFAULT_LIMITS, ExpansionLimits
from etl.read.rows.layout import AddedColumns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    from etl.model.dataset import Dataset
    from etl.model.routing import ObjectRoute

_MOST_ROUTES = 10_000  # that are kept; each object is routed several times in a row


@dataclass(frozen=True)
class BucketReading:
    """How a run reads the objects of one bucket.

    `route` gives the dataset and the kind of an object key. `today` is the latest valid
    birthdate. `added` are, by dataset, the columns that files have added to its table. `limits`
    are those of each object.
    """

    bucket: str
    route: Callable[[str], ObjectRoute]
    today: date
    added: Mapping[str, AddedColumns] = field(default_factory=lambda: defaultdict(AddedColumns))
    limits: ExpansionLimits = DEFAULT_LIMITS
    _hashes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        datasets: Iterable[Dataset],
        bucket: str,
        today: date,
        added: Mapping[str, Iterable[str]] | None = None,
    ) -> BucketReading:
        """The reading of the bucket's objects for some datasets; `added` as above, as names."""
        route = Router(datasets, bucket).for_bucket(bucket)
        known = {name: AddedColumns(columns) for name, columns in (added or {}).items()}
        return cls(bucket, lru_cache(_MOST_ROUTES)(route), today, defaultdict(AddedColumns, known))

    def dataset_of(self, key: str) -> Dataset:
        """The dataset of an object.

        Raises:  LookupError when it has none.
        """
        dataset = self.route(key).dataset
        if dataset is None:
            raise LookupError(key)
        return dataset

    def hash_of(self, dataset: Dataset) -> str:
        """The hash of what decides the rows of a dataset."""
        if dataset.name not in self._hashes:
            self._hashes[dataset.name] = reading_hash(dataset)
        return self._hashes[dataset.name]

    def format_of(self, key: str) -> FileFormat:
        """The format of an object that is read.

        Raises:  LookupError when it is not.
        """
        found = format_of(self.dataset_of(key), key)
        if found is None:
            raise LookupError(key)
        return found

    def take_new_columns(self, datasets: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The columns that files have added since the last call, by dataset, if any."""
        found = {name: self.added[name].take_new() for name in datasets}
        return {name: columns for name, columns in found.items() if columns}

    def is_read(self, change: Change) -> bool:
        """Whether the contents of the object are needed."""
        if change.kind is ChangeKind.REMOVED:
            return False
        route = self.route(change.source.key)
        return route.dataset is not None and route.kind is ObjectKind.DATA


class StagedObject(NamedTuple):
    """The new manifest entry of one source object.

    `dataset` is None for an object of none. `attachment` is the column, and `attachment_id` the
    text that joins it to rows; both are None for an object of rows. `reading_hash` stands for the
    declaration by which the object was read.
    """

    change: ChangeKind
    bucket: str
    key: str
    dataset: str | None
    kind: ObjectKind
    attachment: str | None
    attachment_id: str | None
    etag: str
    size: int
    last_modified: str
    state: ObjectState
    rows_read: int = 0
    rows_rejected: int = 0
    reread_on: date | None = None
    reading_hash: str | None = None


def entry(
    kind: ChangeKind,
    source: SourceObject,
    reading: BucketReading,
    state: ObjectState,
    figures: tuple[int, int, date | None] = (0, 0, None),
) -> StagedObject:
    """The object's manifest entry; `figures` as returned by Figures.of."""
    route = reading.route(source.key)
    return StagedObject(
        kind,
        reading.bucket,
        source.key,
        None if route.dataset is None else route.dataset.name,
        route.kind,
        None if route.attachment is None else route.attachment.column,
        route.attachment_id,
        source.etag,
        source.size,
        source.last_modified.isoformat(),
        state,
        *figures,
        None if route.dataset is None else reading.hash_of(route.dataset),
    )
