"""Read the header line: the delimiter and the columns of a file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.model.safe_text import safe_value
from etl.model.values import ProblemCode
from etl.read.csv.quoting import Scan, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

DELIMITERS = (",", ";", "\t", "|")
REQUIRED = ("first_name", "last_name", "birthts")
KNOWN = ("user_id", *REQUIRED)
MOST_COLUMNS = 1_000
SHOWN_NAMES = 10


@dataclass(frozen=True, slots=True)
class Dialect:
    """The delimiter and column names of a file.

    Known columns have their canonical spelling, unknown ones that of the file, and nameless ones
    are called `column_<n>`, counted from 1. All names differ.
    """

    delimiter: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeaderFault:
    """The reason why a header is invalid."""

    code: ProblemCode
    hint: str


def read_header(line: str) -> Dialect | HeaderFault:
    """The dialect of a header line (without its line ending), or its first fault."""
    if "\0" in line:
        return HeaderFault(
            ProblemCode.NUL_BYTE,
            "The header contains a NUL character. Save the file as plain text in UTF-8.",
        )
    delimiter, scan = _split(line)
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
    columns = _names(scan.cells)
    return _duplicate(columns) or _missing(columns) or Dialect(delimiter, columns)


def fewest_cells(columns: Sequence[str]) -> int:
    """The fewest cells a row may have: unknown columns after the last known one are optional."""
    return max((place for place, name in enumerate(columns, 1) if name in KNOWN), default=0)


def is_header(cells: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether the cells are the column names, in any case."""
    return _folded(_names(cells)) == _folded(columns)


def _split(line: str) -> tuple[str, Scan]:
    """The delimiter that yields the required columns, and the header split by it.

    If none does, the delimiter that occurs most often outside quotes, or the first of those.
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
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if not repeated:
        return None
    return HeaderFault(
        ProblemCode.DUPLICATE_COLUMN,
        f"The header has more than one column named {_shown(repeated)}. "
        "Rename or remove columns until every name is unique.",
    )


def _missing(columns: tuple[str, ...]) -> HeaderFault | None:
    missing = [name for name in REQUIRED if name not in columns]
    if not missing:
        return None
    if len(missing) == len(REQUIRED) and columns[0].casefold().startswith("sep="):
        action = "Remove the sep= line, which only Excel uses; the header must come first."
    elif len(missing) == len(REQUIRED) and any(map(_is_number, columns)):
        action = "The first line seems to be a row of data; insert the header above it."
    else:
        action = "Add the missing columns, or rename the columns that contain their values."
    return HeaderFault(
        ProblemCode.MISSING_COLUMN,
        f"The header lacks {', '.join(missing)}; its columns are {_shown(columns)}. {action}",
    )


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _shown(names: Sequence[str]) -> str:
    """The first names, shortened and safe to display, and the number of the others."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(map(safe_value, names[:SHOWN_NAMES])) + more
