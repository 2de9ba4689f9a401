"""Read the header line: the delimiter and the columns of a file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.dataset import UnknownColumns
from etl.model.values import ProblemCode
from etl.read.csv.header_hints import (
    absent_hint,
    missing_hint,
    missing_remedy,
    not_added_hint,
    one_column_hint,
    shown,
)
from etl.read.csv.layout import LONGEST_NAME_BYTES
from etl.read.csv.quoting import Scan, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etl.read.csv.layout import Layout

DELIMITERS = (",", ";", "\t", "|")
MOST_COLUMNS = 1_000


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The delimiter and columns of a file.

    Declared columns have their declared name, others are spelled as in the file, and nameless ones
    are called `column_<n>`, counted from 1. All names differ. `added` maps those that the table
    gets to their names there. `not_added` are those that it cannot get. `warnings` are the codes
    and hints of each file with this header.
    """

    layout: Layout
    delimiter: str
    columns: tuple[str, ...]
    added: tuple[tuple[str, str], ...] = ()
    not_added: tuple[str, ...] = ()
    fewest_cells: int = field(init=False)
    warnings: tuple[tuple[ProblemCode, str], ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Compute the fewest cells that a row may have: the rest are of columns it may lack."""
        unlackable = self.layout.unlackable
        needed = [place for place, name in enumerate(self.columns, 1) if name in unlackable]
        object.__setattr__(self, "fewest_cells", max(needed, default=0))
        object.__setattr__(self, "warnings", tuple(self._warnings()))

    def is_repeated(self, cells: Sequence[str]) -> bool:
        """Whether the stripped cells of a row are the column names, in any case."""
        return _folded(_names(cells, self.layout)) == _folded(self.columns)

    def _warnings(self) -> Iterator[tuple[ProblemCode, str]]:
        layout = self.layout
        undeclared = [
            name
            for place, name in enumerate(self.columns, 1)
            if name not in layout.columns and name != _nameless(place)
        ]
        absent = [name for name in layout.expected if name not in self.columns]
        is_renamed = bool(absent and undeclared)
        if is_renamed or layout.dataset.prefer in absent:
            yield (
                ProblemCode.DECLARED_COLUMN_ABSENT,
                absent_hint(layout.dataset, absent, undeclared),
            )
        if self.not_added:
            yield ProblemCode.COLUMN_KEPT_IN_EXTRA, not_added_hint(self.not_added)


@dataclass(frozen=True, slots=True)
class HeaderFault:
    """The reason why a header is invalid."""

    code: ProblemCode
    hint: str


def read_header(line: str, layout: Layout) -> FileHeader | HeaderFault:
    """The header of a line (without its line ending), or its first fault."""
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
    columns = _names(scan.cells, layout)
    fault = (
        _duplicate(columns)
        or _missing(columns, scan.cells, line, layout)
        or _unknown(columns, layout)
    )
    return fault or _with_added(FileHeader(layout, delimiter, columns), scan.cells)


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


def _names(cells: Sequence[str], layout: Layout) -> tuple[str, ...]:
    return tuple(_name(cell.strip(), place, layout) for place, cell in enumerate(cells, 1))


def _folded(names: Sequence[str]) -> list[str]:
    return [name.casefold() for name in names]


def _name(written: str, place: int, layout: Layout) -> str:
    return layout.names.get(written.casefold()) or written or _nameless(place)


def _nameless(place: int) -> str:
    return f"column_{place}"


def _duplicate(columns: tuple[str, ...]) -> HeaderFault | None:
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if not repeated:
        return None
    return HeaderFault(
        ProblemCode.DUPLICATE_COLUMN,
        f"The header has more than one column named {shown(repeated)}. "
        "Rename or remove columns until every name is unique.",
    )


def _missing(
    columns: tuple[str, ...], cells: Sequence[str], line: str, layout: Layout
) -> HeaderFault | None:
    """The fault of a header without a required column, or without any declared one.

    The latter is the header of something else.
    """
    missing = [name for name in layout.required if name not in columns]
    if not missing and not (layout.expected and set(layout.expected).isdisjoint(columns)):
        return None
    written = [cell.strip() or _nameless(place) for place, cell in enumerate(cells, 1)]
    lacks_all = len(missing) == len(layout.required)
    if lacks_all and columns[0].casefold().startswith("sep="):
        action = "Remove the sep= line, which only Excel uses; the header must come first."
    elif len(columns) == 1 and (reason := _one_column(line, layout)):
        action = reason
    elif missing and lacks_all and any(map(_is_number, columns)):
        action = "The first line seems to be a row of data; insert the header above it."
    else:
        action = missing_remedy(layout.dataset, missing)
    hint = missing_hint(layout, missing, written)
    return HeaderFault(ProblemCode.MISSING_COLUMN, f"{hint} {action}")


def _one_column(line: str, layout: Layout) -> str:
    """Why the header was read as one column, if a delimiter other than the given one splits it."""
    if layout.delimiter is None:
        return ""
    other, scan = _detect(line, layout)
    return one_column_hint(layout, other) if len(scan.cells) > 1 else ""


def _unknown(columns: tuple[str, ...], layout: Layout) -> HeaderFault | None:
    dataset = layout.dataset
    if dataset.unknown_columns is not UnknownColumns.REFUSE:
        return None
    unknown = [name for name in columns if name not in layout.columns]
    if not unknown:
        return None
    return HeaderFault(
        ProblemCode.UNKNOWN_COLUMN,
        f"The header has columns that {dataset.name} does not declare: {shown(unknown)}. "
        "Remove or rename them, declare them, or add them to the `aliases` of fields.",
    )


def _with_added(header: FileHeader, cells: Sequence[str]) -> FileHeader:
    """The header with the columns that the table gets, and those that it cannot get."""
    layout = header.layout
    if layout.dataset.unknown_columns is not UnknownColumns.ADD:
        return header
    added: dict[str, str] = {}
    not_added = []
    taken = {*layout.reserved, *map(str.lower, layout.columns)}
    for name, written in zip(header.columns, cells, strict=True):
        if name in layout.columns:
            continue
        lowered = written.strip().lower()
        if lowered not in taken and _is_possible(lowered) and layout.added.accept(lowered):
            added[name] = lowered
            taken.add(lowered)
        else:
            not_added.append(name)
    return FileHeader(
        layout, header.delimiter, header.columns, tuple(added.items()), tuple(not_added)
    )


def _is_possible(name: str) -> bool:
    """Whether a table may get a column of this name."""
    return 0 < len(name.encode()) <= LONGEST_NAME_BYTES and not name.startswith("_")


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()
