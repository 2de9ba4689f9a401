"""Open a Parquet file: refuse what cannot be read, and say which columns it has."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from etl.model.errors import RefusedObject, TemporaryFileFailed
from etl.model.safe_text import safe_value
from etl.model.values import ProblemCode
from etl.read.parquet.columns import is_readable
from etl.read.parquet.pages import END_BYTES
from etl.read.parquet.plan import plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from etl.read.rows.layout import Layout

MAGIC, ENCRYPTED_MAGIC = b"PAR1", b"PARE"
MOST_FOOTER_BYTES = 32 << 20

_BUFFERS_BYTES = 16 << 20  # of all columns together
_LEAST_BUFFER_BYTES, _MOST_BUFFER_BYTES = 1 << 12, 1 << 18
_LONGEST_MESSAGE = 200
_UNNAMED_INDEX = re.compile(r"__index_level_[0-9]+__")
_AGAIN = "Upload it again from its origin; if that does not help, export it again."


class OpenedFile(NamedTuple):
    """A file, and the names of the columns to read in their order.

    `places` are those of the columns in the file. `rows` are the numbers to read at once, by the
    place of the row group. `int96` are the places of columns with times of 96 bits, which are read
    in microseconds; `exact` is the same file with these in nanoseconds. `is_coded`: some texts are
    codes. `size` is in bytes.
    """

    file: pq.ParquetFile
    names: tuple[str, ...]
    places: tuple[int, ...]
    rows: dict[int, int]
    int96: tuple[int, ...] = ()
    exact: pq.ParquetFile | None = None
    is_coded: bool = False
    size: int = 0


def open_file(content: BinaryIO, layout: Layout, groups: range | None = None) -> OpenedFile:
    """Open the content, to read all row groups or those at some places.

    Raises:  RefusedObject.
    """
    size = _check_footer(content)
    with faults():
        first = _opened(content)
        schema = first.schema_arrow
        names = list(schema.names)
        for field in schema:
            _check_zones(field.type)
    if any("\0" in name for name in names):
        raise RefusedObject(
            ProblemCode.NUL_BYTE,
            "The name of a column has a NUL character, which PostgreSQL cannot store. Rename it.",
        )
    _check_types(schema)
    ignored = _index_columns(schema, layout)
    places = [place for place, name in enumerate(names) if name not in ignored]
    with faults():
        declared = len(layout.columns)
        found = plan(first, content, declared, lambda coded: _opened(content, first, coded), groups)
        file = _opened(content, first, found.coded)
        int96 = tuple(place for place in places if names[place] in found.int96)
        exact = _opened(content, first, unit="ns") if int96 else None
    columns = tuple(names[place] for place in places)
    return OpenedFile(
        file, columns, tuple(places), found.rows, int96, exact, bool(found.coded), size
    )


def _opened(
    content: BinaryIO,
    known: pq.ParquetFile | None = None,
    coded: Sequence[str] = (),
    unit: str = "us",
) -> pq.ParquetFile:
    """The file, whose metadata may be known; `unit` is that of times of 96 bits."""
    columns = 1 if known is None else max(known.metadata.num_columns, 1)
    return pq.ParquetFile(
        content,
        metadata=None if known is None else known.metadata,
        memory_map=False,
        pre_buffer=False,
        buffer_size=max(min(_BUFFERS_BYTES // columns, _MOST_BUFFER_BYTES), _LEAST_BUFFER_BYTES),
        read_dictionary=list(coded),
        coerce_int96_timestamp_unit=unit,
        thrift_string_size_limit=MOST_FOOTER_BYTES,
        page_checksum_verification=True,
    )


@contextmanager
def faults() -> Iterator[None]:
    """Turn what Arrow raises about damaged content into a refusal.

    Raises:  RefusedObject, TemporaryFileFailed.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise TemporaryFileFailed(
                f"A temporary file cannot be read: {error.strerror}."
            ) from error
        raise damaged(str(error)) from error
    except (pa.ArrowException, ValueError, OverflowError, RecursionError) as error:
        raise damaged(str(error)) from error


def damaged(fault: str) -> RefusedObject:
    """The refusal of a file that cannot be read."""
    shown = safe_value(fault.partition("\n")[0])[:_LONGEST_MESSAGE].rstrip(".")
    return RefusedObject(
        ProblemCode.CORRUPT_ARCHIVE, f"The Parquet file is damaged or cut short: {shown}. {_AGAIN}"
    )


def _check_footer(content: BinaryIO) -> int:
    """Refuse content without a footer; return its size."""
    size = content.seek(0, 2)
    if not size:
        raise RefusedObject(
            ProblemCode.EMPTY_FILE,
            "The file is empty. Upload it again, or remove it from the bucket.",
        )
    content.seek(max(size - END_BYTES, 0))
    end = content.read()
    content.seek(0)
    if end[-4:] == ENCRYPTED_MAGIC or content.read(4) == ENCRYPTED_MAGIC:
        raise RefusedObject(
            ProblemCode.ENCRYPTED_ARCHIVE,
            "The Parquet file is encrypted. Upload it without encryption.",
        )
    if end[-4:] != MAGIC:
        raise damaged("its end is missing")
    footer_bytes = int.from_bytes(end[:4], "little")
    if footer_bytes > MOST_FOOTER_BYTES:
        raise RefusedObject(
            ProblemCode.ARCHIVE_TOO_LARGE,
            f"The footer of the Parquet file has more than {MOST_FOOTER_BYTES >> 20} MB. Write "
            "the file with larger row groups.",
        )
    return size


def _check_zones(type_: pa.DataType) -> None:
    """Raises:  UnicodeDecodeError for a time zone that is no text, as Arrow does on each use."""
    if pa.types.is_timestamp(type_):
        _ = type_.tz
    for place in range(type_.num_fields):
        _check_zones(type_.field(place).type)


def _check_types(schema: pa.Schema) -> None:
    for field in schema:
        if not is_readable(field.type):
            raise RefusedObject(
                ProblemCode.UNSUPPORTED_ARCHIVE,
                f"The column {safe_value(field.name)} has the type {safe_value(str(field.type))}, "
                "which is not read. Write it as another type.",
            )


def _index_columns(schema: pa.Schema, layout: Layout) -> set[str]:
    """The columns of an index of pandas that has no name: they only number the rows."""
    unnamed = {name for name in schema.names if _UNNAMED_INDEX.fullmatch(name)}
    if not unnamed or not schema.metadata or b"pandas" not in schema.metadata:
        return set()
    try:
        listed = json.loads(schema.metadata[b"pandas"])["index_columns"]
        index = {name for name in listed if isinstance(name, str)}
    except (ValueError, LookupError, TypeError, RecursionError):
        return set()
    return {name for name in unnamed & index if name.casefold() not in layout.names}
