"""Route each object to its dataset: the first one that includes it, with presets last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.model.values import ObjectKind
from etl.verify import names
from etl.verify.formats import format_of
from etl.verify.globs import glob

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etl.model.dataset import Attachment, Dataset

_ANYWHERE = ("\x01.csv", "\x01/\x02/\x03.csv")


@dataclass(frozen=True, slots=True)
class Destination:
    """What an object is to a dataset: data, an attachment of its rows, or of a type not read."""

    kind: ObjectKind
    dataset: Dataset
    attachment: Attachment | None = None
    attachment_id: str | None = None

    @property
    def attachment_column(self) -> str | None:
        """The column that names the image."""
        return None if self.attachment is None else self.attachment.column


class Routes:
    """The datasets of one bucket, in the order in which they are offered its objects."""

    def __init__(self, datasets: Iterable[Dataset], bucket: str, source_bucket: str) -> None:
        own = [each for each in datasets if (each.bucket or source_bucket) == bucket]
        self._ordered = sorted(own, key=lambda dataset: dataset.is_preset)
        self._covering = next((each for each in own if _covers_bucket(each)), None)

    def of(self, key: str) -> Destination | None:
        """The route of an object; None if it is ignored because no dataset wants it."""
        is_rejected = False
        for dataset in self._ordered:
            if dataset.is_preset and is_rejected:
                continue
            if _matches_any(dataset.exclude, key):
                is_rejected |= _matches_any(dataset.include, key)
                continue
            route = _within(dataset, key)
            if route is not None:
                return route
        covering = self._covering
        if covering is None or is_rejected or _matches_any(covering.exclude, key):
            return None
        return Destination(ObjectKind.OTHER, covering)


def _within(dataset: Dataset, key: str) -> Destination | None:
    for attachment in dataset.attachments:
        found = glob(attachment.match).values(key)
        if found is not None:
            (value,) = found.values()
            return Destination(ObjectKind.IMAGE, dataset, attachment, names.join_name(value))
    if not _matches_any(dataset.include, key):
        return None
    is_read = format_of(dataset, key) is not None
    return Destination(ObjectKind.DATA if is_read else ObjectKind.OTHER, dataset)


def _covers_bucket(dataset: Dataset) -> bool:
    """Whether a preset takes the CSVs of any name in any folder."""
    return dataset.is_preset and all(_matches_any(dataset.include, key) for key in _ANYWHERE)


def _matches_any(patterns: Sequence[str], key: str) -> bool:
    return any(glob(pattern).matches(key) for pattern in patterns)
