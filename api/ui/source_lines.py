"""The line of an object that a row was read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from api.state.services import services
from etl.model.errors import EtlError, RefusedObject
from etl.model.formats import format_of
from etl.model.safe_text import printable
from etl.model.values import ProblemCode, SourceObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Row

    from etl.model.dataset import Dataset
    from etl.storage.objects import Opened

MOST_BYTES = 1 << 20  # of the object, as stored
MOST_EXPANDED_BYTES = 16 << 20
_GONE = "The object is no longer in its bucket."


@dataclass(frozen=True, slots=True)
class SourceLines:
    """Lines of an object by number, in their order, or why there are none."""

    lines: dict[int, str] = field(default_factory=dict)
    why: str = ""


def source_lines(
    dataset: Dataset, bucket: str, key: str, source: Row[Any] | None, line: int
) -> SourceLines:
    """The line with this number and the header, of the object as the last run has read it."""
    found_format = format_of(dataset, key)
    if source is None or found_format is None:
        return SourceLines(why=_GONE)
    if found_format.format.unit != "line":
        return SourceLines(why=f"{found_format.format.upper()} files do not consist of lines.")
    try:
        with services().objects.open(bucket, key) as opened:
            found = _of_opened(dataset, key, source, opened, line)
    except EtlError as error:
        return SourceLines(why=error.public_message)
    return found


def _of_opened(
    dataset: Dataset, key: str, source: Row[Any], opened: Opened | None, line: int
) -> SourceLines:
    if opened is None:
        return SourceLines(why=_GONE)
    if opened.etag != source.etag:
        return SourceLines(why="The object has changed; the next run reads it again.")
    known = SourceObject(key, opened.etag, opened.size, source.last_modified)
    found = _read(known, dataset, opened.chunks, line)
    if line not in found:
        return SourceLines(why=f"The line is not in the first {MOST_BYTES >> 20} MB of the object.")
    return SourceLines({number: printable(found[number]) for number in sorted(found)})


def _read(
    source: SourceObject, dataset: Dataset, chunks: Iterator[bytes], line: int
) -> dict[int, str]:
    from etl.read.formats import expanded_parts
    from etl.read.limits import ExpansionLimits
    from etl.read.raw_lines import raw_lines

    limits = ExpansionLimits(MOST_EXPANDED_BYTES)
    parts = expanded_parts(source, dataset, _beginning(chunks), limits)
    return raw_lines(source, dataset, parts, {dataset.dialect.header_row, line})


def _beginning(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The first MOST_BYTES; more is an error, so that no part of a line is taken for the line."""
    size = 0
    for chunk in chunks:
        if size + len(chunk) > MOST_BYTES:
            yield chunk[: MOST_BYTES - size]
            raise RefusedObject(ProblemCode.UNDECODABLE, "is longer")
        size += len(chunk)
        yield chunk
