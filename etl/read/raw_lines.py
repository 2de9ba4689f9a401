"""Find the physical lines of an object that its problems name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.model.errors import RefusedObject
from etl.model.formats import SourceFormat, content_size, format_of
from etl.read.csv.encoding import Transcoder, count_line_endings, decode_lines, end_of_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject

MOST_CHARACTERS = 1_000  # of a line

_OF_LINES = (SourceFormat.CSV, SourceFormat.TSV, SourceFormat.NDJSON)


def raw_lines(
    source: SourceObject,
    dataset: Dataset,
    parts: Iterable[bytes],
    numbers: Collection[int],
) -> dict[int, str]:
    """The lines with these numbers, from 1, as they are decoded, without their endings.

    `parts` are the content of the object, expanded; it is read only as far as it must be. Long
    lines are cut, with an ellipsis. None are found in formats that do not consist of lines.
    """
    found_format = format_of(dataset, source.key)
    if not numbers or found_format is None or found_format.format not in _OF_LINES:
        return {}
    found: dict[int, str] = {}
    first = 1
    last_wanted = max(numbers)
    for text in _whole_lines(source, dataset, parts):
        end = first + count_line_endings(text)
        wanted = [number for number in numbers if first <= number <= end]
        if wanted:
            lines = decode_lines(text).lines
            found |= {
                number: _cut(lines[number - first])
                for number in wanted
                if number - first < len(lines)
            }
        if end > last_wanted:
            break
        first = end
    return found


def _whole_lines(source: SourceObject, dataset: Dataset, parts: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of the object as UTF-8, cut at the ends of lines."""
    transcoder, rest = Transcoder(content_size(dataset, source)), b""
    try:
        for part in parts:
            text = rest + transcoder.transcode(part)
            end = end_of_lines(text)
            rest = text[end:]
            if end:
                yield text[:end]
        yield rest + transcoder.transcode(b"", is_last=True)
    except RefusedObject:
        return


def _cut(line: str) -> str:
    line = line.rstrip("\r\n")
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"
