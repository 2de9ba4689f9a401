"""The delimiter and the header of a CSV, from its first rows; runs look at the header alone."""

from __future__ import annotations

import csv
import re
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from etl.read.csv.header import DELIMITERS

if TYPE_CHECKING:
    from collections.abc import Sequence

_RARE = (":", "^", "~", "#", "&", "!")
_MOST_LINES = 100
_QUOTE = '"'
_ALIKE = 0.8  # of the rows
_FILLED = 0.75  # of the cells of a header
_NUMBER = re.compile(r"\s*[+-]?[0-9][0-9.,]*\s*")


def delimiter_and_header(lines: Sequence[str]) -> tuple[str, int]:
    """The delimiter that cuts most lines into as many cells as the header, and its place.

    If none does, there is one column, and the delimiter is one that occurs in no line.
    """
    fitting = _fitting(lines, DELIMITERS)
    for one in DELIMITERS if fitting is None else (fitting,):
        place = header_after_titles(cells_of(lines, one))
        if place is not None:
            return one, place
    found = fitting or _fitting(lines, _RARE)
    if found is not None:
        return found, 0
    text = "\n".join(lines)
    if text.count(_QUOTE) % 2:  # a quote is not closed, which the reader reports
        return DELIMITERS[0], 0
    return next((one for one in DELIMITERS if one not in text), DELIMITERS[0]), 0


def header_after_titles(rows: Sequence[Sequence[str]]) -> int | None:
    """The place of the header, if rows with far fewer filled cells come before it.

    Such rows are titles. The header has no numbers, and the rows after it as many cells.
    """
    filled = [sum(1 for cell in cells if cell.strip()) for cells in rows]
    most = max(filled, default=0)
    first = next((place for place, count in enumerate(filled) if count >= _FILLED * most), 0)
    if not first or most <= 1 or 2 * max(filled[:first]) > filled[first]:
        return None
    widths = [len(cells) for cells in rows[first:]]
    is_alike = widths.count(widths[0]) >= _ALIKE * len(widths)
    return first if is_alike and not any(map(_NUMBER.fullmatch, rows[first])) else None


def cells_of(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """The cells of the first records; a quoted cell may span lines."""
    found: list[list[str]] = []
    records = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)
    with suppress(csv.Error):  # a cell is too large for the csv module
        found += islice(records, _MOST_LINES)
    return found


def _fitting(lines: Sequence[str], candidates: Sequence[str]) -> str | None:
    """The delimiter of the most columns of those that cut header and rows alike."""
    widths = {one: [len(cells) for cells in cells_of(lines, one)] for one in candidates}
    fitting = [one for one in candidates if _fits(widths[one])]
    return max(fitting, key=lambda one: widths[one][0]) if fitting else None


def _fits(widths: Sequence[int]) -> bool:
    """Whether the header has several cells, and half of the rows at least as many."""
    if not widths or widths[0] < 2:  # noqa: PLR2004 - several
        return False
    rows = widths[1:]
    return not rows or 2 * sum(width >= widths[0] for width in rows) >= len(rows)
