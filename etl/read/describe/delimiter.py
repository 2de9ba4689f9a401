"""The delimiter of a CSV, from its header and first rows; runs look at the header alone."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from etl.read.csv.header import DELIMITERS
from etl.read.csv.quoting import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

_RARE = (":", "^", "~", "#", "&", "!")
_MOST_LINES = 100
_MOST_CELLS = 1_000
_QUOTE = '"'
_ALIKE = 0.8  # of the lines
_NUMBER = re.compile(r"\s*[+-]?[0-9][0-9.,]*\s*")


def detected_delimiter(lines: Sequence[str]) -> str:
    """The delimiter that cuts most lines into as many cells as the header.

    If none does, there is one column, and the delimiter is one that occurs in no line.
    """
    some = lines[:_MOST_LINES]
    for candidates in (DELIMITERS, _RARE):
        widths = {one: _widths(some, one) for one in candidates}
        fitting = [one for one in candidates if _fits(widths[one])]
        if fitting:
            return max(fitting, key=lambda one: widths[one][0])
    text = "\n".join(some)
    if text.count(_QUOTE) % 2:  # a quote is not closed, which the reader reports
        return DELIMITERS[0]
    return next((one for one in DELIMITERS if one not in text), DELIMITERS[0])


def header_after_titles(lines: Sequence[str]) -> int | None:
    """The place of the header, if lines with far fewer filled cells come before it.

    Such lines are titles. The header has no numbers, and the lines after it as many cells.
    """
    for delimiter in DELIMITERS:
        rows = _cells(lines[:_MOST_LINES], delimiter)
        filled = [sum(1 for cell in cells if cell.strip()) for cells in rows]
        usual = Counter(filled).most_common(1)[0][0] if filled else 0
        first = next((place for place, count in enumerate(filled) if count >= usual), 0)
        if first and usual > 1 and 2 * max(filled[:first]) <= filled[first]:
            widths = [len(cells) for cells in rows[first:]]
            is_alike = widths.count(widths[0]) >= _ALIKE * len(widths)
            if is_alike and not any(map(_NUMBER.fullmatch, rows[first])):
                return first
    return None


def _widths(lines: Sequence[str], delimiter: str) -> list[int]:
    return [len(cells) for cells in _cells(lines, delimiter)]


def _cells(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    tokenizer = Tokenizer(delimiter, _QUOTE)
    return [tokenizer.scan_some(line, most=_MOST_CELLS).cells for line in lines]


def _fits(widths: Sequence[int]) -> bool:
    """Whether the header has several cells, and half of the rows at least as many."""
    if not widths or widths[0] < 2:  # noqa: PLR2004 - several
        return False
    rows = widths[1:]
    return not rows or 2 * sum(width >= widths[0] for width in rows) >= len(rows)
