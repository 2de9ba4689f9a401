"""Read the header line: the delimiter and the columns of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from etl.model.values import ProblemCode
from etl.read.csv.quoting import Scan, Tokenizer
from etl.read.rows.header import FileHeader, HeaderFault, header_of
from etl.read.rows.header_hints import looks_like_header, one_column_hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.read.rows.layout import Layout

DELIMITERS = (",", ";", "\t", "|")
MOST_COLUMNS = 1_000


class LinesBelow(NamedTuple):
    """The lines below a header and their numbers, and whether no more of them are needed."""

    lines: Sequence[tuple[int, str]]
    is_complete: bool


def read_header(
    line: str, layout: Layout, below: LinesBelow | None = None
) -> FileHeader | HeaderFault:
    """The header of a line (without its line ending), or its first fault.

    If the line seems to be a title, one `below` may be the header.
    """
    if "\0" in line:
        return HeaderFault(
            ProblemCode.NUL_BYTE,
            "The header contains a NUL character. Save the file as plain text in UTF-8.",
        )
    delimiter, scan = _split(line, layout)
    if scan.opened is not None and len(scan.cells) == MOST_COLUMNS:
        return HeaderFault(
            ProblemCode.TOO_MANY_COLUMNS,
            f"The header has more than {MOST_COLUMNS:,} columns. Remove columns you do not need.",
        )
    if scan.is_broken or scan.opened is not None:
        return HeaderFault(
            ProblemCode.UNCLOSED_QUOTE,
            "A quoted column name in the header is not closed properly. End it with one double "
            "quote on the same line, just before the delimiter.",
        )
    return header_of(
        scan.cells,
        layout,
        delimiter,
        lambda *found: _remedy(*found, line=line, layout=layout) or _further_down(below, layout),
    )


def _further_down(below: LinesBelow | None, layout: Layout) -> str:
    lines = () if below is None else below.lines
    rows = ((number, _split(line, layout)[1].cells) for number, line in lines)
    return looks_like_header(layout, rows)


def _split(line: str, layout: Layout) -> tuple[str, Scan]:
    """The delimiter, which may be given, and the header split by it."""
    if layout.delimiter is not None:
        return layout.delimiter, _scan(line, layout.delimiter, layout.quote)
    return _detect(line, layout)


def _detect(line: str, layout: Layout) -> tuple[str, Scan]:
    """The first delimiter that yields all required columns, and the header split by it.

    If none does, or no column is required, it is the one that yields the most declared columns,
    among those the one that occurs most often outside quotes.
    """
    scans = {delimiter: _scan(line, delimiter, layout.quote) for delimiter in DELIMITERS}
    found = {delimiter: _declared(scan.cells, layout) for delimiter, scan in scans.items()}
    for delimiter in DELIMITERS if layout.required else ():
        if found[delimiter].issuperset(layout.required):
            return delimiter, scans[delimiter]
    outside = "".join(line.split(layout.quote)[::2]) if layout.quote else line
    best = max(DELIMITERS, key=lambda one: (len(found[one]), outside.count(one)))
    return best, scans[best]


def _declared(cells: Sequence[str], layout: Layout) -> set[str]:
    return {layout.names.get(cell.strip().casefold(), "") for cell in cells} - {""}


def _scan(line: str, delimiter: str, quote: str) -> Scan:
    return Tokenizer(delimiter, quote).scan_some(line, most=MOST_COLUMNS)


def _remedy(missing: Sequence[str], columns: Sequence[str], *, line: str, layout: Layout) -> str:
    """What to do about a header line without required columns, if there is a special reason."""
    lacks_all = len(missing) == len(layout.required)
    if lacks_all and columns[0].casefold().startswith("sep="):
        return "Remove the sep= line, which only Excel uses; the header must come first."
    if len(columns) == 1 and (reason := _one_column(line, layout)):
        return reason
    if missing and lacks_all and any(map(_is_number, columns)):
        return "The first line seems to be a row of data; insert the header above it."
    return ""


def _one_column(line: str, layout: Layout) -> str:
    """Why the header was read as one column, if a delimiter other than the given one splits it."""
    if layout.delimiter is None:
        return ""
    other, scan = _detect(line, layout)
    return one_column_hint(layout, other) if len(scan.cells) > 1 else ""


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()
