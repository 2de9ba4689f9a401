"""The delimiter of a CSV, from its header and first rows; runs look at the header alone."""

from __future__ import annotations

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


def title_rows(lines: Sequence[str], delimiter: str) -> int:
    """How many lines with fewer cells than all later ones come before the header."""
    widths = _widths(lines[:_MOST_LINES], delimiter)
    usual = Counter(widths).most_common(1)[0][0] if widths else 0
    first = next((place for place, width in enumerate(widths) if width == usual), 0)
    return first if usual > 1 and all(width < usual for width in widths[:first]) else 0


def _widths(lines: Sequence[str], delimiter: str) -> list[int]:
    tokenizer = Tokenizer(delimiter, _QUOTE)
    scans = [tokenizer.scan_some(line, most=_MOST_CELLS) for line in lines]
    return [len(one.cells) for one in scans]


def _fits(widths: Sequence[int]) -> bool:
    """Whether the header has several cells, and half of the rows as many."""
    if not widths or widths[0] < 2:  # noqa: PLR2004 - several
        return False
    rows = widths[1:]
    return not rows or 2 * sum(width == widths[0] for width in rows) >= len(rows)
