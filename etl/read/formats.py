"""Read files of any format: the rows of some files at once, or of one object as it arrives."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from etl.model.errors import RefusedObject
from etl.model.formats import SourceFormat, format_of
from etl.read import csv, json, parquet, xlsx
from etl.read.compression import expanded
from etl.read.limits import DEFAULT_LIMITS, ExpansionLimits
from etl.read.pieces import pieces
from etl.read.rows.extract import Extract, joined, refused_extract
from etl.read.signatures import HEAD_BYTES, check_format, peeked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from etl.model.dataset import Dataset
    from etl.model.formats import FileFormat
    from etl.model.values import SourceFile, SourceObject
    from etl.read.rows.layout import AddedColumns

    # The content of an object in parts -> its rows, in constant memory; see `read_object`.
    Reader: TypeAlias = Callable[
        [SourceObject, Dataset, AddedColumns | None, Iterable[bytes]], Iterator[Extract]
    ]


def read_files(
    files: Sequence[SourceFile], dataset: Dataset, added: AddedColumns | None = None
) -> list[Extract]:
    """The rows of small files of text: one Extract for all of those that can be parsed as one.

    Their contents are expanded already, whatever their keys. A file that is refused as a whole has
    an Extract with that problem.
    """
    by_reader: dict[Reader, list[SourceFile]] = defaultdict(list)
    found = []
    for file in files:
        format_ = _format(dataset, file.source.key)
        try:
            check_format(file.content[:HEAD_BYTES], format_.format, within=format_.compression)
        except RefusedObject as refused:
            found.append(refused_extract(file.source, dataset, refused))
        else:
            by_reader[_READERS[format_.format]].append(file)
    for reader, alike in by_reader.items():
        if reader in _PARSERS:
            found += _PARSERS[reader](alike, dataset, added)
        else:
            found += [_read_file(reader, file, dataset, added) for file in alike]
    return found


def expand_file(
    file: SourceFile, dataset: Dataset, most_bytes: int, limits: ExpansionLimits
) -> SourceFile | None:
    """The file with its content expanded if it is compressed; None if it is larger.

    Raises:  RefusedObject.
    """
    compression = _format(dataset, file.source.key).compression
    if compression is None:
        return file
    parts, size = [], 0
    with closing(expanded([file.content], compression, limits)) as coming:
        for part in coming:
            parts.append(part)
            size += len(part)
            if size > most_bytes:
                return None
    return replace(file, content=b"".join(parts))


def expanded_parts(
    source: SourceObject,
    dataset: Dataset,
    parts: Iterable[bytes],
    limits: ExpansionLimits = DEFAULT_LIMITS,
) -> Generator[bytes, None, None]:
    """The content of an object, expanded if it is compressed, for `read_object`.

    Raises:  RefusedObject if it is not what the key says, or cannot be expanded.
    """
    format_ = _format(dataset, source.key)
    if format_.compression is not None:
        parts = expanded(parts, format_.compression, limits)
    head, parts = peeked(parts)
    check_format(head[:HEAD_BYTES], format_.format, within=format_.compression)
    yield from parts


def read_object(
    source: SourceObject, dataset: Dataset, added: AddedColumns | None, parts: Iterable[bytes]
) -> Iterator[Extract]:
    """The rows of one object, as its content arrives from `expanded_parts`; at least one Extract.

    The last one has the problems that depend on the end of the object. Each one names the object
    in `without_id` if all rows have the same key, which is taken from the object's name.

    Raises:  RefusedObject; discard all earlier Extracts and use `refused_extract` instead.
    """
    return _READERS[_format(dataset, source.key).format](source, dataset, added, parts)


def _format(dataset: Dataset, key: str) -> FileFormat:
    found = format_of(dataset, key)
    if found is None:
        raise LookupError(key)
    return found


def _read_file(
    reader: Reader, file: SourceFile, dataset: Dataset, added: AddedColumns | None
) -> Extract:
    try:
        return joined(list(reader(file.source, dataset, added, [file.content])))
    except RefusedObject as refused:
        return refused_extract(file.source, dataset, refused)


def _read_csv(
    source: SourceObject, dataset: Dataset, added: AddedColumns | None, parts: Iterable[bytes]
) -> Iterator[Extract]:
    reader = csv.ChunkReader(source, dataset, added)

    def marked(extract: Extract) -> Extract:
        return (
            replace(extract, without_id=frozenset({source.key}))
            if reader.is_without_id
            else extract
        )

    for part in parts:
        for piece in pieces(part, reader.most_rows):
            yield marked(reader.read(piece))
    yield marked(reader.finish())


def _parse_csv(
    files: Sequence[SourceFile], dataset: Dataset, added: AddedColumns | None
) -> list[Extract]:
    return [csv.parse(files, dataset, added)]


_READERS: dict[SourceFormat, Reader] = {
    SourceFormat.CSV: _read_csv,
    SourceFormat.TSV: _read_csv,
    SourceFormat.NDJSON: json.read,
    SourceFormat.JSON: json.read,
    SourceFormat.XLSX: xlsx.read,
    SourceFormat.PARQUET: parquet.read,
}
# Those that read some files at once
_PARSERS: dict[Reader, Callable[..., list[Extract]]] = {
    _read_csv: _parse_csv,
    json.read: json.parse,
}
