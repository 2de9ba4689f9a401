"""Lines of objects as they are in the bucket, and the fault within a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from api.state.services import services
from etl.model.errors import EtlError, RefusedObject
from etl.model.formats import format_of
from etl.model.safe_text import printable
from etl.model.values import ProblemCode, SourceObject

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from etl.model.dataset import Dataset
    from etl.storage.objects import Opened

MOST_BYTES = 1 << 20  # of the object, as stored
MOST_EXPANDED_BYTES = 16 << 20
_GONE = "The object is no longer in its bucket."
_ANY_TIME = datetime.fromtimestamp(0, UTC)  # reading does not depend on it

Marked = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class SourceLines:
    """Lines of an object by number, in their order; if some are missing, why."""

    lines: dict[int, str] = field(default_factory=dict)
    why: str = ""


def source_lines(
    dataset: Dataset, bucket: str, key: str, etag: str | None, numbers: Collection[int]
) -> SourceLines:
    """The lines with these numbers in this version of the object; one GET.

    Those beyond the first megabyte are left out. Without an ETag, the object is not known.
    """
    found_format = format_of(dataset, key)
    if etag is None or found_format is None:
        return SourceLines(why=_GONE)
    if found_format.format.unit != "line":
        return SourceLines(why=f"{found_format.format.upper()} files do not consist of lines.")
    if not numbers:
        return SourceLines()
    try:
        with services().objects.open(bucket, key) as opened:
            return _of_opened(dataset, key, etag, opened, numbers)
    except EtlError as error:
        return SourceLines(why=error.public_message)


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


def _of_opened(
    dataset: Dataset, key: str, etag: str, opened: Opened | None, numbers: Collection[int]
) -> SourceLines:
    if opened is None:
        return SourceLines(why=_GONE)
    if opened.etag != etag:
        return SourceLines(why="The object has changed; the next run reads it again.")
    source = SourceObject(key, etag, opened.size, _ANY_TIME)
    found = _read(source, dataset, opened.chunks, numbers)
    lines = {number: printable(found[number]) for number in sorted(found)}
    if found.keys() >= set(numbers):
        return SourceLines(lines)
    return SourceLines(lines, f"Only lines in the first {MOST_BYTES >> 20} MB can be shown.")


def _read(
    source: SourceObject, dataset: Dataset, chunks: Iterator[bytes], numbers: Collection[int]
) -> dict[int, str]:
    from etl.read.formats import expanded_parts
    from etl.read.limits import ExpansionLimits
    from etl.read.raw_lines import raw_lines

    limits = ExpansionLimits(MOST_EXPANDED_BYTES)
    parts = expanded_parts(source, dataset, _beginning(chunks), limits)
    return raw_lines(source, dataset, parts, numbers)


def _beginning(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The first MOST_BYTES; more is an error, so that no part of a line is taken for the line."""
    size = 0
    for chunk in chunks:
        if size + len(chunk) > MOST_BYTES:
            yield chunk[: MOST_BYTES - size]
            raise RefusedObject(ProblemCode.UNDECODABLE, "is longer")
        size += len(chunk)
        yield chunk
