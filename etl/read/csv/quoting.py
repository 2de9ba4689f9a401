"""Cut one physical line into cells, minding quotes.

A cell is quoted when it begins with a quote, after nothing but spaces and tabs; a quote further
in is an ordinary character (O"Brien). Inside, a doubled quote is one quote; behind the closing
quote only spaces and tabs may follow.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Possessive: a gigantic cell must not leave a trail of places to backtrack to.
_INSIDE = re.compile(r'[^"]*+(?:""[^"]*+)*+')


class Scan(NamedTuple):
    """What a line holds: cells that end on it, and where the quoted cell begins that does not.

    Cells are not stripped. With `opened` None the record is over at the end of the line, or, if it
    `is_broken`, where text follows a closing quote.
    """

    cells: list[str]
    opened: int | None
    is_broken: bool = False


class Tokenizer:
    """Cuts lines at one delimiter."""

    def __init__(self, delimiter: str) -> None:
        space = "[ ]*+" if delimiter == "\t" else "[ \t]*+"
        self._delimiter = delimiter
        self._opening = re.compile(space + '"')
        self._closing = re.compile(f'"{space}(?:({re.escape(delimiter)})|\\Z)')

    def scan(self, line: str, *, inside: bool = False) -> Scan | None:
        """The cells of a line without its line end; None when text follows a closing quote.

        `inside` tells that a quoted cell of an earlier line goes on here: its rest is the
        first cell then, and `opened` is 0 when the line does not close it either.
        """
        scan = self.scan_some(line, inside=inside)
        return None if scan.is_broken else scan

    def scan_some(self, line: str, *, inside: bool = False, most: int | None = None) -> Scan:
        """As `scan`, with the cells before the fault of a broken line, and of `most` cells alone.

        Where there are more, `opened` is where the next one begins.
        """
        cells: list[str] = []
        position: int | None = 0
        while position is not None:
            if len(cells) == most:
                return Scan(cells, position)
            opening = None if inside else self._opening.match(line, position)
            if opening is None and not inside:
                cell, position = self._plain_cell(line, position)
                cells.append(cell)
                continue
            begin = opening.end() if opening else position
            end = _INSIDE.match(line, begin).end()  # type: ignore[union-attr] # matches anything
            if end == len(line):
                return Scan(cells, begin)
            closing = self._closing.match(line, end)
            if closing is None:
                return Scan(cells, None, is_broken=True)
            cells.append(unescape(line[begin:end]))
            position = closing.end() if closing[1] else None
            inside = False
        return Scan(cells, None)

    def _plain_cell(self, line: str, begin: int) -> tuple[str, int | None]:
        end = line.find(self._delimiter, begin)
        return (line[begin:], None) if end < 0 else (line[begin:end], end + 1)


def unescape(quoted: str) -> str:
    """The content of a quoted cell, or of a part of one, with doubled quotes made single."""
    return quoted.replace('""', '"')
