"""The formats of files; an object has that of its extension, or the declared one."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from etl.model.patterns import folded

if TYPE_CHECKING:
    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject


class SourceFormat(StrEnum):
    """How the rows of a file are written."""

    CSV = "csv"
    TSV = "tsv"
    NDJSON = "ndjson"
    JSON = "json"
    PARQUET = "parquet"
    XLSX = "xlsx"

    @property
    def unit(self) -> str:
        """What the numbers of rows count."""
        if self in {SourceFormat.CSV, SourceFormat.TSV, SourceFormat.NDJSON}:
            return "line"
        return "element" if self is SourceFormat.JSON else "row"


class Compression(StrEnum):
    """How a whole file is compressed."""

    GZIP = "gz"
    ZSTD = "zst"
    BZIP2 = "bz2"
    ZIP = "zip"


class FileFormat(NamedTuple):
    """The format of a file, and how it is compressed, if it is."""

    format: SourceFormat
    compression: Compression | None = None

    @property
    def is_text(self) -> bool:
        """Whether small files of the format are read together, as text."""
        return self.format not in _BINARY

    @property
    def growth(self) -> int:
        """How many times as large as the file its rows may be, for files like most others."""
        return 1 if self.is_text and self.compression is None else 10


_BINARY = (SourceFormat.PARQUET, SourceFormat.XLSX)
FORMATS = tuple(SourceFormat)
PRESET_FORMATS = (SourceFormat.CSV, SourceFormat.TSV)

_COMPRESSIONS = {one.value: one for one in Compression}
_BY_EXTENSION = {one.value: one for one in FORMATS} | {"jsonl": SourceFormat.NDJSON}
EXTENSIONS = tuple(f".{one}" for one in _BY_EXTENSION)  # of the files that can be read


def format_of(dataset: Dataset, key: str) -> FileFormat | None:
    """How the object is read as data of the dataset; None: not at all.

    The extension tells the compression even if the format is declared. Presets read plain CSV and
    TSV only.
    """
    name, dot, extension = folded(key).rpartition(".")
    compression = _COMPRESSIONS.get(extension) if dot else None
    if compression is not None:
        _, dot, extension = name.rpartition(".")
    found = _BY_EXTENSION.get(dataset.format or (extension if dot else ""))
    if found is None:
        return None
    if dataset.is_preset and (found not in PRESET_FORMATS or compression is not None):
        return None
    return FileFormat(found, compression)


def content_size(dataset: Dataset, source: SourceObject) -> int | None:
    """The size of the object's content in bytes; None if it is compressed."""
    found = format_of(dataset, source.key)
    is_compressed = found is not None and found.compression is not None
    return None if is_compressed else source.size
