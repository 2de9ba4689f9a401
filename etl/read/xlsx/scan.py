"""Find in the XML of a sheet what calamine does not tell: errors, and formulas without a value.

The size of the used area is found before calamine allocates it: it is that of a rectangle around
all cells, however few they are.
"""

from __future__ import annotations

import re
import string

from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode
from etl.read.archive import corrupt

MOST_CELLS = 20_000_000  # of a sheet; all rows of Excel with 19 columns
MOST_FAULTY = 200_000  # cells, whose texts are kept
MOST_PENDING_BYTES = 16 << 20  # of a row
_SHOWN_FORMULA = 100
_LONGEST_ERROR_BYTES = 10_000  # of the cell, with its formula

_PREFIX = rb"(?:[\w.-]+:)?"
_REFERENCE = re.compile(rb"\br\s*=\s*[\"']([A-Za-z]{1,3}[0-9]{1,7})[\"']")
# Attributes are written without space and in double quotes by nearly all programs. The patterns for
# these are several times as fast.
_USUAL_REFERENCE = re.compile(rb'r="([A-Za-z]{1,3}[0-9]{1,7})"')
_UNUSUAL_SIGNS = (b"='", b" =", b"= ", b"\n=", b"=\n", b"\r=", b"=\r", b"\t=", b"=\t")
_DIGITS, _LETTERS = b"0123456789", string.ascii_letters.encode()
_MAY_BE_ERROR = re.compile(rb"\bt\s*=\s*[\"']e[\"']")
# No pattern reads past the next tag, or hostile XML would take much longer.
_ERROR = re.compile(rb"<" + _PREFIX + rb"c(\s[^<>]*?\bt\s*=\s*[\"']e[\"'][^<>]*)>")
_VALUE = re.compile(rb"<" + _PREFIX + rb"v(?:\s[^<>]*)?>([^<]*)<")
_FORMULA = re.compile(
    rb"<" + _PREFIX + rb"c(\s[^<>]*|)>\s*"
    rb"<" + _PREFIX + rb"f(?:\s[^<>]*)?(?:/>|>([^<]*)</" + _PREFIX + rb"f>)\s*"
    rb"(?:<" + _PREFIX + rb"v\s*/>|<" + _PREFIX + rb"v(?:\s[^<>]*)?>\s*</" + _PREFIX + rb"v>|"
    rb"(?=</" + _PREFIX + rb"c>))"
)
_IS_TEXT = re.compile(rb"\bt\s*=\s*[\"']str[\"']")
_ROW_END = b"row>"
_END_OF_ROW = re.compile(rb"</" + _PREFIX + rb"row>")
# The others are stored as #VALUE!; calamine refuses unknown ones.
_KNOWN_ERRORS = frozenset(
    {"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#GETTING_DATA"}
)


class SheetScan:
    """What was found in the XML of a sheet, which is added in parts.

    `errors` are the texts of errors and `formulas` those of formulas without a value, by the
    0-based row and column of their cells.
    """

    def __init__(self) -> None:
        self.errors: dict[tuple[int, int], str] = {}
        self.formulas: dict[tuple[int, int], str] = {}
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._columns: set[bytes] = set()
        self._least_row = self._last_row = 0

    def add(self, part: bytes) -> None:
        """Scan the complete rows so far."""
        last = self._pending[-1][-len(_ROW_END) :] if self._pending else b""
        self._pending.append(part)
        self._pending_bytes += len(part)
        if _ROW_END in last + part:
            text = b"".join(self._pending)
            end = _end_of_rows(text)
            self._scan(text[:end])
            self._pending, self._pending_bytes = [text[end:]], len(text) - end
        if self._pending_bytes > MOST_PENDING_BYTES:
            raise corrupt(f"has a row of more than {MOST_PENDING_BYTES >> 20} MB", "workbook")

    def finish(self) -> None:
        """Scan the rest, after the last part."""
        self._scan(b"".join(self._pending))
        self._pending = []

    @property
    def area(self) -> int:
        """The number of cells in the rectangle around all cells."""
        if not self._columns:
            return 0
        places = [_column(letters) for letters in self._columns]
        return (max(places) - min(places) + 1) * (self._last_row - self._least_row + 1)

    def _scan(self, text: bytes) -> None:
        if not text:
            return
        is_usual = not any(sign in text for sign in _UNUSUAL_SIGNS)
        found = (_USUAL_REFERENCE if is_usual else _REFERENCE).findall(text)
        if found:
            joined = b" ".join(found)
            self._columns.update(joined.translate(None, _DIGITS).split())
            rows = [int(number) for number in set(joined.translate(None, _LETTERS).split())]
            self._least_row = min([self._least_row or rows[0], *rows])
            self._last_row = max(self._last_row, *rows)
        if b't="e"' in text if is_usual else _MAY_BE_ERROR.search(text):
            for cell in _ERROR.finditer(text):
                value = _VALUE.search(text, cell.end(), cell.end() + _LONGEST_ERROR_BYTES)
                self._note(self.errors, cell[1], _error_text(value[1] if value else b""))
        if b"<f" in text or b":f" in text:
            for attributes, formula in _FORMULA.findall(text):
                if not _IS_TEXT.search(attributes):
                    shown = formula[:_SHOWN_FORMULA].decode("utf-8", "replace")
                    self._note(self.formulas, attributes, f"={shown}")

    def _note(self, found: dict[tuple[int, int], str], attributes: bytes, text: str) -> None:
        if len(found) == MOST_FAULTY:
            raise RefusedObject(
                ProblemCode.ERROR_VALUE,
                f"More than {MOST_FAULTY:,} cells of the sheet have an error or a formula without "
                "a value. Correct the formulas and save the workbook again.",
            )
        reference = _REFERENCE.search(attributes)
        if reference is None:
            raise corrupt("has cells without a reference and with errors", "workbook")
        row = int(reference[1].translate(None, _LETTERS))
        found[row - 1, _column(reference[1].translate(None, _DIGITS))] = text


def _end_of_rows(text: bytes) -> int:
    """The end of the last complete row."""
    end = text.rfind(b"</row>")
    if end >= 0:
        return end + len(b"</row>")
    return max((found.end() for found in _END_OF_ROW.finditer(text)), default=0)


def _column(letters: bytes) -> int:
    """The 0-based place of a column: 0 for A, 27 for AB."""
    place = 0
    for letter in letters.upper():
        place = place * 26 + letter - ord("A") + 1
    return place - 1


def _error_text(value: bytes) -> str:
    text = value.decode("ascii", "replace").strip().upper()
    return text if text in _KNOWN_ERRORS else "#ERROR!"
