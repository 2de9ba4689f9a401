"""The format of an object, and its compression, by its name and the declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from etl.verify import names

if TYPE_CHECKING:
    from etl.model.dataset import Dataset

_FORMATS = {
    **{name: name for name in ("csv", "tsv", "ndjson", "json", "parquet", "xlsx")},
    "jsonl": "ndjson",
}
_OF_PRESETS = ("csv", "tsv")
_COMPRESSIONS = ("gz", "zst", "bz2", "zip")


class ReadAs(NamedTuple):
    """The name of a format, and how its files are compressed; empty if they are not."""

    name: str
    compression: str = ""


def format_of(dataset: Dataset, key: str) -> ReadAs | None:
    """How an object is read; None if it is of a type that is not read."""
    stem, extension = names.split_name(key)
    compression = ""
    if extension in _COMPRESSIONS:
        compression = extension
        extension = names.split_name(stem)[1]
    name = _FORMATS.get(dataset.format or extension)
    if name is None or (dataset.is_preset and (compression or name not in _OF_PRESETS)):
        return None
    return ReadAs(name, compression)
