"""Read Parquet files."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from etl.model.values import ProblemCode
from etl.verify.arrow_values import is_readable, values
from etl.verify.cells import is_uuid
from etl.verify.faults import FileError
from etl.verify.layout import folded
from etl.verify.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.verify.file import DatasetFile
    from etl.verify.rows import Reading

MAX_FOOTER = 64 << 20  # bytes

_ROWS_AT_A_TIME = 10_000
_UNNAMED_INDEX = re.compile("__index_level_[0-9]+__")
_DAMAGES = (pa.ArrowException, OSError, ValueError, OverflowError)


def read(file: DatasetFile) -> Reading:
    """The rows and faults of a file; a row's line is its number, from 1.

    Raises:  FileError.
    """
    _check_end(file.content)
    try:
        source = _open(file.content)
        schema = source.schema_arrow
        places = _places(schema, file)
    except _DAMAGES as error:
        raise FileError(ProblemCode.CORRUPT_ARCHIVE) from error
    if not all(map(is_readable, schema.types)):
        raise FileError(ProblemCode.UNSUPPORTED_ARCHIVE)
    in_file = file.names(schema.names[place] for place in places)
    file.check(in_file)
    columns = file.columns(in_file)
    rows = Rows(columns)
    uuids = {field.name for field in file.layout.fields if is_uuid(field)}
    for number, cells in enumerate(_cells(source, places, [name in uuids for name in in_file]), 1):
        rows.add(number, [columns.trimmed(place, cell) for place, cell in enumerate(cells)])
    return rows.finish()


def _check_end(content: bytes) -> None:
    """Check the last bytes, which are the length of the footer and a mark."""
    if not content:
        raise FileError(ProblemCode.EMPTY_FILE)
    if content.startswith(b"PARE") or content.endswith(b"PARE"):
        raise FileError(ProblemCode.ENCRYPTED_ARCHIVE)
    if not content.endswith(b"PAR1"):
        raise FileError(ProblemCode.CORRUPT_ARCHIVE)
    if int.from_bytes(content[-8:-4], "little") > MAX_FOOTER:
        raise FileError(ProblemCode.ARCHIVE_TOO_LARGE)


def _open(content: bytes) -> pq.ParquetFile:
    return pq.ParquetFile(
        io.BytesIO(content),
        coerce_int96_timestamp_unit="us",
        thrift_string_size_limit=MAX_FOOTER,
        page_checksum_verification=True,
    )


def _places(schema: pa.Schema, file: DatasetFile) -> list[int]:
    """The columns to read: all but those of an index of pandas that has no name."""
    try:
        listed = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        index = {name for name in listed if isinstance(name, str)}
    except (ValueError, LookupError, TypeError, RecursionError):
        index = set()
    return [
        place
        for place, name in enumerate(schema.names)
        if not (
            name in index
            and _UNNAMED_INDEX.fullmatch(name)
            and folded(name) not in file.layout.by_header
        )
    ]


def _cells(
    source: pq.ParquetFile, places: list[int], are_uuids: list[bool]
) -> Iterator[tuple[object, ...]]:
    try:
        for batch in source.iter_batches(_ROWS_AT_A_TIME, use_threads=False):
            columns = [
                values(batch.column(place), is_uuid=is_one)
                for place, is_one in zip(places, are_uuids, strict=True)
            ]
            yield from zip(*columns, strict=True) if columns else [()] * batch.num_rows
    except _DAMAGES as error:
        raise FileError(ProblemCode.CORRUPT_ARCHIVE) from error
