"""The lines of objects that problems name, as they are in the bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from api.state.services import services
from etl.model.errors import EtlError
from etl.model.formats import format_of
from etl.model.values import SourceObject

if TYPE_CHECKING:
    from collections.abc import Collection

    from etl.model.dataset import Dataset

MOST_BYTES = 1 << 20  # of an object are read to find a line

Marked = tuple[str, str, str]


def lines_of(
    bucket: str, key: str, etag: str, dataset: Dataset, numbers: Collection[int]
) -> dict[int, str]:
    """The lines with these numbers of this version of the object; one GET.

    Those beyond the first megabyte are left out, and all of compressed files, of formats without
    lines, and of objects that are gone, have changed or cannot be read.
    """
    found = format_of(dataset, key)
    if not numbers or found is None or found.compression is not None:
        return {}
    try:
        with services().objects.open(bucket, key, length=MOST_BYTES) as opened:
            if opened is None or opened.etag != etag:
                return {}
            size, parts = opened.size, list(opened.chunks)
    except EtlError:
        return {}
    from etl.read.raw_lines import raw_lines

    source = SourceObject(key, etag, size, datetime.now(UTC))
    if size <= MOST_BYTES:
        return raw_lines(source, dataset, parts, numbers)
    # A line that another one follows is complete.
    lines = raw_lines(source, dataset, parts, {*numbers, *(one + 1 for one in numbers)})
    return {one: lines[one] for one in numbers if one in lines and one + 1 in lines}


def marked(line: str | None, value: str | None) -> Marked:
    """The line as what is before the fault, the fault, and what follows it.

    The fault is the value if the line has it once, otherwise the whole line. Without the line, it
    is all that is shown.
    """
    if line is None:
        return "", value or "", ""
    if value and line.count(value) == 1:
        before, _, after = line.partition(value)
        return before, value, after
    return "", line, ""
