"""Split one physical line into cells, with quotes.

A cell is quoted if it begins with a quote, after optional spaces and tabs. Any other quote is an
ordinary character (O"Brien). Inside a quoted cell, a doubled quote is one quote. Only spaces and
tabs may follow the closing quote.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SPACE = " \t"


class Scan(NamedTuple):
    """The cells that end on a line, and the position of a quoted cell that does not.

    Cells are not stripped. If `opened` is None, the record ends on this line. If it `is_broken`,
    text follows a closing quote.
    """

    cells: list[str]
    opened: int | None
    is_broken: bool = False


class Tokenizer:
    """Splits lines at one delimiter. If `quote` is empty, no cell is quoted."""

    def __init__(self, delimiter: str, quote: str = '"') -> None:
        space = f"[{_SPACE.replace(delimiter, '')}]*+"
        mark = re.escape(quote)
        self._delimiter = delimiter
        self._quote = quote
        self._opening = re.compile(space + mark)
        self._closing = re.compile(f"{mark}{space}(?:({re.escape(delimiter)})|\\Z)")
        # Possessive: no backtracking positions, even for a huge cell.
        self._inside = re.compile(f"[^{mark}]*+(?:{mark}{mark}[^{mark}]*+)*+") if quote else None

    def scan(self, line: str, *, inside: bool = False) -> Scan | None:
        """The cells of a line without its line ending; None if text follows a closing quote.

        `inside` means that a quoted cell of an earlier line continues here. Its remainder is then
        the first cell, and `opened` is 0 if this line does not close it either.
        """
        scan = self.scan_some(line, inside=inside)
        return None if scan.is_broken else scan

    def scan_some(self, line: str, *, inside: bool = False, most: int | None = None) -> Scan:
        """As `scan`, but returns the cells before a fault, and at most `most` cells.

        If there are more cells, `opened` is the position of the next one.
        """
        if self._inside is None:
            return self._scan_unquoted(line, most)
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
            end = self._inside.match(line, begin).end()  # type: ignore[union-attr] # matches anything
            if end == len(line):
                return Scan(cells, begin)
            closing = self._closing.match(line, end)
            if closing is None:
                return Scan(cells, None, is_broken=True)
            cells.append(self.unescape(line[begin:end]))
            position = closing.end() if closing[1] else None
            inside = False
        return Scan(cells, None)

    def _plain_cell(self, line: str, begin: int) -> tuple[str, int | None]:
        end = line.find(self._delimiter, begin)
        return (line[begin:], None) if end < 0 else (line[begin:end], end + 1)

    def unescape(self, quoted: str) -> str:
        """The content of a quoted cell, or part of one, with doubled quotes made single."""
        return quoted.replace(self._quote * 2, self._quote)

    def _scan_unquoted(self, line: str, most: int | None) -> Scan:
        if most is None:
            return Scan(line.split(self._delimiter), None)
        cells = line.split(self._delimiter, most)
        if len(cells) <= most:
            return Scan(cells, None)
        return Scan(cells[:most], len(line) - len(cells[most]))
