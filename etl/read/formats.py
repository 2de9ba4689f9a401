"""Read files of any format: the rows of some files at once, or of one object as it arrives."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from etl.model.errors import RefusedObject
from etl.model.formats import SourceFormat, format_of
from etl.read import csv
from etl.read.pieces import pieces
from etl.read.rows.extract import Extract, joined, refused_extract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from etl.model.dataset import Dataset
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

    Their contents are not compressed, whatever their keys. A file that is refused as a whole has
    an Extract with that problem.
    """
    by_reader: dict[Reader, list[SourceFile]] = defaultdict(list)
    for file in files:
        by_reader[_reader(dataset, file.source.key)].append(file)
    found = []
    for reader, alike in by_reader.items():
        if reader is _read_csv:
            found.append(csv.parse(alike, dataset, added))
        else:
            found += [_read_file(reader, file, dataset, added) for file in alike]
    return found


def read_object(
    source: SourceObject, dataset: Dataset, added: AddedColumns | None, parts: Iterable[bytes]
) -> Iterator[Extract]:
    """The rows of one object, as its content arrives; at least one Extract.

    The last one has the problems that depend on the end of the object. Each one names the object
    in `without_id` if all rows have the same key, which is taken from the object's name.

    Raises:  RefusedObject; discard all earlier Extracts and use `refused_extract` instead.
    """
    return _reader(dataset, source.key)(source, dataset, added, parts)


def _reader(dataset: Dataset, key: str) -> Reader:
    found = format_of(dataset, key)
    if found is None:
        raise LookupError(key)
    return _READERS[found.format]


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
        for piece in pieces(part):
            yield marked(reader.read(piece))
    yield marked(reader.finish())


_READERS: dict[SourceFormat, Reader] = {SourceFormat.CSV: _read_csv, SourceFormat.TSV: _read_csv}
