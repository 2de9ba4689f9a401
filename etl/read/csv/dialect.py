"""The header line: which delimiter a file uses and which columns it has."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.model.values import ProblemCode
from etl.read.csv.quoting import Scan, Tokenizer
from etl.read.csv.safe_text import safe_value

if TYPE_CHECKING:
    from collections.abc import Sequence

DELIMITERS = (",", ";", "\t", "|")
REQUIRED = ("first_name", "last_name", "birthts")
KNOWN = ("user_id", *REQUIRED)
MOST_COLUMNS = 1_000
SHOWN_NAMES = 10


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to cut a file's lines, and what its cells are called.

    Known columns bear their own spelling, unknown ones the file's, nameless ones `column_<n>`
    with n counted from 1; no two are alike.
    """

    delimiter: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeaderFault:
    """Why a header is of no use."""

    code: ProblemCode
    note: str


def read_header(line: str) -> Dialect | HeaderFault:
    """The dialect a header line (without its line end) sets, or the first fault it has."""
    if "\0" in line:
        return HeaderFault(
            ProblemCode.NUL_BYTE,
            "The header holds a NUL character. Save the file as plain text in UTF-8.",
        )
    delimiter, scan = _cut(line)
    if scan.opened is not None and len(scan.cells) == MOST_COLUMNS:
        return HeaderFault(
            ProblemCode.TOO_MANY_COLUMNS,
            f"The header has more than {MOST_COLUMNS:,} columns. Remove those that are not needed.",
        )
    if scan.is_broken or scan.opened is not None:
        return HeaderFault(
            ProblemCode.UNCLOSED_QUOTE,
            'A quoted name in the header is not closed properly. End it with one " '
            "on the same line, just before the delimiter.",
        )
    columns = _names(scan.cells)
    return _duplicate(columns) or _missing(columns) or Dialect(delimiter, columns)


def fewest_cells(columns: Sequence[str]) -> int:
    """How many cells a row needs: up to the last known column; those after it may be left out."""
    return max((place for place, name in enumerate(columns, 1) if name in KNOWN), default=0)


def is_header(cells: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether the cells name the same columns, whatever their case."""
    return _folded(_names(cells)) == _folded(columns)


def _cut(line: str) -> tuple[str, Scan]:
    """The delimiter under which a header has the required columns, and the header cut by it.

    If none does, the most frequent one outside quotes, or the first of those.
    """
    for delimiter in DELIMITERS:
        scan = _scan(line, delimiter)
        if set(REQUIRED) <= {cell.strip().casefold() for cell in scan.cells}:
            return delimiter, scan
    outside = "".join(line.split('"')[::2])
    delimiter = max(DELIMITERS, key=outside.count)
    return delimiter, _scan(line, delimiter)


def _scan(line: str, delimiter: str) -> Scan:
    return Tokenizer(delimiter).scan_some(line, most=MOST_COLUMNS)


def _names(cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(_name(cell.strip(), place) for place, cell in enumerate(cells, 1))


def _folded(names: Sequence[str]) -> list[str]:
    return [name.casefold() for name in names]


def _name(written: str, place: int) -> str:
    folded = written.casefold()
    return folded if folded in KNOWN else written or f"column_{place}"


def _duplicate(columns: tuple[str, ...]) -> HeaderFault | None:
    doubled = [name for name, count in Counter(columns).items() if count > 1]
    if not doubled:
        return None
    return HeaderFault(
        ProblemCode.DUPLICATE_COLUMN,
        f"The header names {_shown(doubled)} more than once. "
        "Rename or remove columns until each name occurs once.",
    )


def _missing(columns: tuple[str, ...]) -> HeaderFault | None:
    missing = [name for name in REQUIRED if name not in columns]
    if not missing:
        return None
    if len(missing) == len(REQUIRED) and columns[0].casefold().startswith("sep="):
        advice = "Remove line 1, which is for Excel alone: the header comes first."
    elif len(missing) == len(REQUIRED) and any(map(_is_number, columns)):
        advice = "Line 1 looks like a row: put the header before it."
    else:
        advice = "Add the missing columns, or rename those that hold them."
    return HeaderFault(
        ProblemCode.MISSING_COLUMN,
        f"The header lacks {', '.join(missing)}; it has {_shown(columns)}. {advice}",
    )


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _shown(names: Sequence[str]) -> str:
    """Names fit to show, however many or long they are."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(map(safe_value, names[:SHOWN_NAMES])) + more
