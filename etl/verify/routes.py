"""Route each object to its dataset: the first one that includes it, with presets last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.model.values import ObjectKind
from etl.verify import names
from etl.verify.globs import glob

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etl.model.dataset import Attachment, Dataset

_WHOLE_BUCKET = "**/*.csv"


@dataclass(frozen=True, slots=True)
class Route:
    """What becomes of an object: data of a dataset, an attachment of its rows, or neither."""

    kind: ObjectKind
    dataset: Dataset | None = None
    attachment: Attachment | None = None
    attachment_id: str | None = None

    @property
    def dataset_name(self) -> str | None:
        """The name of the dataset."""
        return None if self.dataset is None else self.dataset.name

    @property
    def attachment_column(self) -> str | None:
        """The column that names the image."""
        return None if self.attachment is None else self.attachment.column


_UNSUPPORTED = Route(ObjectKind.OTHER)


class Routes:
    """The datasets of one bucket, in the order in which they are offered its objects."""

    def __init__(self, datasets: Iterable[Dataset], bucket: str, source_bucket: str) -> None:
        own = [each for each in datasets if (each.bucket or source_bucket) == bucket]
        self._ordered = sorted(own, key=lambda dataset: dataset.is_preset)
        self._reports_others = any(each.is_preset and _WHOLE_BUCKET in each.include for each in own)

    def of(self, key: str) -> Route | None:
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
        return _UNSUPPORTED if self._reports_others and not is_rejected else None


def _within(dataset: Dataset, key: str) -> Route | None:
    if _matches_any(dataset.include, key):
        return Route(ObjectKind.CSV, dataset)
    for attachment in dataset.attachments:
        found = glob(attachment.match).values(key)
        if found is not None:
            (value,) = found.values()
            return Route(ObjectKind.IMAGE, dataset, attachment, names.join_name(value))
    return None


def _matches_any(patterns: Sequence[str], key: str) -> bool:
    return any(glob(pattern).matches(key) for pattern in patterns)
