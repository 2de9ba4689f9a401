"""Parse one file of a dataset into its rows and faults, one row at a time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from etl.verify import delimited, ndjson, parquet, workbook
from etl.verify.faults import FileError
from etl.verify.file import DatasetFile
from etl.verify.formats import format_of
from etl.verify.rows import Reading, Row
from etl.verify.signatures import check_format
from etl.verify.unpack import MAX_EXPANDED, unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from etl.verify.layout import ObjectColumns

__all__ = ["Reading", "Row", "read"]

_READERS: dict[str, Callable[[DatasetFile], Reading]] = {
    "csv": delimited.read,
    "tsv": delimited.read,
    "ndjson": ndjson.read_lines,
    "json": ndjson.read_array,
    "parquet": parquet.read,
    "xlsx": workbook.read,
}


def read(
    content: bytes,
    layout: ObjectColumns,
    key: str,
    today: date,
    most_expanded: int = MAX_EXPANDED,
) -> Reading:
    """Parse a file; `today` is the last birthdate allowed.

    `most_expanded` is the number of bytes to which a compressed file may expand.
    """
    found = format_of(layout.dataset, key)
    if found is None:
        raise LookupError(key)
    try:
        content = unpack(content, found.compression, most_expanded)
        check_format(content, found.name)
        return _READERS[found.name](DatasetFile(found.name, content, layout, key, today))
    except FileError as error:
        return Reading(faults=Counter([error.code.value]))
