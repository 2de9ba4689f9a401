"""The columns of a file: which are declared, which the table gets, and faults of all of them.

A file without a header line, such as Parquet, has columns as well; "header" stands for these too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from etl.model.dataset import UnknownColumns
from etl.model.values import ProblemCode
from etl.read.rows.header_hints import (
    absent_hint,
    missing_hint,
    missing_remedy,
    not_added_hint,
    shown,
)
from etl.read.rows.layout import LONGEST_NAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from etl.read.rows.layout import Layout

# Takes the missing columns and all columns; returns what to do, or "" for the usual remedy.
Remedy: TypeAlias = Callable[[Sequence[str], Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The delimiter and columns of a file.

    Declared columns have their declared name, others are spelled as in the file, and nameless ones
    are called `column_<n>`, counted from 1. All names differ. `added` maps those that the table
    gets to their names there. `not_added` are those that it cannot get. `is_cut`: there are more
    columns, which have names. `warnings` are the codes and hints of each file with this header.
    """

    layout: Layout
    delimiter: str
    columns: tuple[str, ...]
    added: tuple[tuple[str, str], ...] = ()
    not_added: tuple[str, ...] = ()
    is_cut: bool = False
    fewest_cells: int = field(init=False)
    warnings: tuple[tuple[ProblemCode, str], ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Compute the fewest cells that a row may have: the rest are of columns it may lack."""
        unlackable = self.layout.unlackable
        needed = [place for place, name in enumerate(self.columns, 1) if name in unlackable]
        object.__setattr__(self, "fewest_cells", max(needed, default=0))
        object.__setattr__(self, "warnings", tuple(self._warnings()))

    def first(self, count: int) -> FileHeader:
        """The header of the first columns, for rows that lack the others."""
        columns, rest = self.columns[:count], self.columns[count:]
        if not rest:
            return self
        added = tuple(pair for pair in self.added if pair[0] in columns)
        is_cut = any(name != _nameless(place) for place, name in enumerate(rest, count + 1))
        return replace(self, columns=columns, added=added, is_cut=is_cut)

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


def header_of(
    written: Sequence[str], layout: Layout, delimiter: str = "", remedy: Remedy | None = None
) -> FileHeader | HeaderFault:
    """The header of a file with these column names, or its first fault.

    `delimiter` is that of CSVs. `remedy` knows what to do about missing columns in this format.
    """
    columns = _names(written, layout)
    fault = (
        _duplicate(columns)
        or _missing(columns, written, layout, remedy)
        or _unknown(columns, layout)
    )
    return fault or _with_added(FileHeader(layout, delimiter, columns), written)


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
    columns: tuple[str, ...], written: Sequence[str], layout: Layout, remedy: Remedy | None
) -> HeaderFault | None:
    """The fault of a header without a required column, or without any declared one.

    The latter is the header of something else.
    """
    missing = [name for name in layout.required if name not in columns]
    if not missing and not (layout.expected and set(layout.expected).isdisjoint(columns)):
        return None
    shown_names = [name.strip() or _nameless(place) for place, name in enumerate(written, 1)]
    action = remedy(missing, columns) if remedy is not None else ""
    hint = missing_hint(layout, missing, shown_names)
    action = action or missing_remedy(layout.dataset, missing)
    return HeaderFault(ProblemCode.MISSING_COLUMN, f"{hint} {action}")


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
    for name, written in zip(header.columns, cells, strict=True):
        if name in layout.columns:
            continue
        column = added_column(written, layout, added.values())
        if column is None:
            not_added.append(name)
        else:
            added[name] = column
    return FileHeader(
        layout, header.delimiter, header.columns, tuple(added.items()), tuple(not_added)
    )


def added_column(written: str, layout: Layout, others: Container[str] = ()) -> str | None:
    """The column that the table gets for a name in a file; None if it cannot get one.

    `others` are the columns that the table gets for the other names.
    """
    name = written.strip().lower()
    if name in others or name in layout.unaddable or not _is_possible(name):
        return None
    return name if layout.added.accept(name) else None


def _is_possible(name: str) -> bool:
    """Whether a table may get a column of this name."""
    return 0 < len(name.encode()) <= LONGEST_NAME_BYTES and not name.startswith("_")
