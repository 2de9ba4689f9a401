"""Parse text into records: quotes, delimiters and line endings, one character at a time.

A quote error rejects only its physical line. Parsing resumes at the next line, so that the error
cannot hide later rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.model.values import ProblemCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.verify.text import DecodedFile, Line

MAX_LINES = 1_000
MAX_CHARACTERS = 1_048_576


class QuoteError(Exception):
    """A quoted cell that is not closed, is followed by other text, or is too long."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How records are written, and how many cells they have.

    A complete record has `width` cells. The last cells may be omitted, down to `min_width`. Cells
    are stripped but for those with a position in `untrimmed`.
    """

    delimiter: str
    min_width: int
    width: int
    quote: str = '"'
    untrimmed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class CsvRecord:
    """The cells of one record, or None if it has a `fault`, and its 1-based line."""

    line: int
    cells: list[str] | None
    fault: ProblemCode | None = None


def read_records(decoded: DecodedFile, first: int, shape: Shape) -> Iterator[CsvRecord]:
    """Parse all records, including blank ones, starting at the 0-based line `first`."""
    at = first
    while at < len(decoded.lines):
        try:
            cells, last = _read_record(decoded.text, decoded.lines, at, shape)
        except QuoteError:
            cells, last = None, at
        if not decoded.undecodable.isdisjoint(range(at, last + 1)):
            yield CsvRecord(at + 1, None, ProblemCode.UNDECODABLE)
        else:
            yield CsvRecord(at + 1, cells, ProblemCode.UNCLOSED_QUOTE if cells is None else None)
        at = last + 1


def read_cells(
    text: str, start: int, stop: int, delimiter: str, quote: str = '"'
) -> Iterator[tuple[str, int]]:
    """Yield cells from `start` to a line ending or `stop`, each with its end position.

    Raises:  QuoteError at the first quote error.
    """
    at = start
    while True:
        opening = _skip_blanks(text, at, stop, delimiter)
        if opening < stop and text[opening] == quote:
            cell, at = _read_quoted(text, opening + 1, stop, delimiter, quote)
        else:
            cell, at = _read_plain(text, at, stop, delimiter)
        yield cell, at
        if at == stop or text[at] != delimiter:
            return
        at += 1


def drop_surplus(cells: list[str], width: int) -> list[str]:
    """Remove the cells beyond the header's width if all of them are blank."""
    return cells[:width] if not any(cells[width:]) else cells


def _read_record(text: str, lines: list[Line], at: int, shape: Shape) -> tuple[list[str], int]:
    """Parse the record that starts at `lines[at]`; return its cells and last line's index."""
    start = lines[at].start
    reach = lines[min(at + MAX_LINES, len(lines)) - 1].end
    # One character more than allowed shows whether the record is too long. A record of one line
    # may be longer, because no quote in it spans other lines.
    limit = max(lines[at].end, start + MAX_CHARACTERS + 1)
    read = list(read_cells(text, start, min(reach, limit), shape.delimiter, shape.quote))
    end = read[-1][1]
    last = at
    while lines[last].end < end:
        last += 1
    if last > at and end - start > MAX_CHARACTERS:
        raise QuoteError
    cells = drop_surplus(_trim([cell for cell, _ in read], shape.untrimmed), shape.width)
    if last > at and not shape.min_width <= len(cells) <= shape.width:
        raise QuoteError
    return cells, last


def _trim(cells: list[str], untrimmed: frozenset[int]) -> list[str]:
    if not untrimmed:
        return [cell.strip() for cell in cells]
    return [cell if n in untrimmed else cell.strip() for n, cell in enumerate(cells)]


def _skip_blanks(text: str, at: int, stop: int, delimiter: str) -> int:
    while at < stop and text[at] in " \t" and text[at] != delimiter:
        at += 1
    return at


def _read_plain(text: str, start: int, stop: int, delimiter: str) -> tuple[str, int]:
    at = start
    while at < stop and (character := text[at]) != delimiter and character not in "\r\n":
        at += 1
    return text[start:at], at


def _read_quoted(text: str, start: int, stop: int, delimiter: str, quote: str) -> tuple[str, int]:
    """Parse a quoted cell whose first character is at `start`; return it with its end."""
    content = []
    at = start
    while at < stop:
        if text[at] != quote:
            content.append(text[at])
            at += 1
        elif at + 1 < stop and text[at + 1] == quote:
            content.append(quote)
            at += 2
        else:
            return "".join(content), _end_of_quoted(text, at + 1, stop, delimiter)
    raise QuoteError


def _end_of_quoted(text: str, at: int, stop: int, delimiter: str) -> int:
    at = _skip_blanks(text, at, stop, delimiter)
    if at < stop and not _ends_cell(text[at], delimiter):
        raise QuoteError
    return at


def _ends_cell(character: str, delimiter: str) -> bool:
    return character == delimiter or character in "\r\n"
