"""Find in the XML of a sheet what calamine does not tell: errors, and formulas without a value.

The size of the used area is found before calamine allocates it: it is that of a rectangle around
all cells, however few they are, and calamine has no limit of rows or columns.
"""

from __future__ import annotations

import re
import string

from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode
from etl.read.archive import corrupt

MOST_CELLS = 20_000_000  # of a sheet; all rows of Excel with 19 columns
FREE_CELLS = 1_000_000  # of the area around all cells, however few these are
MOST_SPREAD = 200  # times as many cells that the area may have otherwise
MOST_FAULTY = 200_000  # cells, whose texts are kept
MOST_PENDING_BYTES = 16 << 20  # of a row
_SHOWN_FORMULA = 100
_LONGEST_ERROR_BYTES = 10_000  # of the cell, with its formula

_PREFIX = rb"(?:[\w.-]+:)?"
# Of a cell, or of a row, which has no letters. Calamine reads any number of letters and digits.
_REFERENCE = re.compile(rb"\br\s*=\s*[\"']([A-Za-z]*[0-9]+)[\"']")
# Attributes are written without space and in double quotes by nearly all programs. The patterns for
# these are several times as fast.
_USUAL_REFERENCE = re.compile(rb'r="([A-Za-z]*[0-9]+)"')
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
_LONGEST_NUMBER = 20  # digits, or letters; longer ones are as much too large
_ROW_END = b"row>"
_END_OF_ROW = re.compile(rb"</" + _PREFIX + rb"row>")
# The others are stored as #VALUE!; calamine refuses unknown ones.
_KNOWN_ERRORS = frozenset(
    {"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#GETTING_DATA"}
)


class _Elements:
    """The elements with a name; their reference must be the first attribute to be seen."""

    def __init__(self, name: bytes) -> None:
        self._starts = b"<" + name, b":" + name
        self._usual = b"<" + name + b' r="'
        any_prefix = rb"<(?:[^<>\s/:]*:)?" + name
        self._all = re.compile(any_prefix + rb"[\s/>]")
        self._referenced = re.compile(any_prefix + rb"\s+r\s*=\s*[\"'][A-Za-z0-9]")

    def without_reference(self, text: bytes) -> int:
        """The number of those without a reference, at most."""
        if sum(map(text.count, self._starts)) == text.count(self._usual):
            return 0
        return len(self._all.findall(text)) - len(self._referenced.findall(text))


_CELLS, _ROWS = _Elements(b"c"), _Elements(b"row")


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
        self.cells = 0
        self._columns: set[bytes] = set()
        self._more_columns = self._more_rows = 0  # at most, of cells and rows without a reference
        self._last_row = 0

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
        """The number of cells in the rectangle around all cells and the first row, at most."""
        places = [_column(letters) for letters in self._columns]
        first = 0 if self._more_columns else min(places, default=0)
        width = max(places, default=-1) + 1 - first + self._more_columns
        return width * (self._last_row + self._more_rows)

    def _scan(self, text: bytes) -> None:
        if not text:
            return
        is_usual = not any(sign in text for sign in _UNUSUAL_SIGNS)
        self._measure(text, (_USUAL_REFERENCE if is_usual else _REFERENCE).findall(text))
        if b't="e"' in text if is_usual else _MAY_BE_ERROR.search(text):
            for cell in _ERROR.finditer(text):
                value = _VALUE.search(text, cell.end(), cell.end() + _LONGEST_ERROR_BYTES)
                self._note(self.errors, cell[1], _error_text(value[1] if value else b""))
        if b"<f" in text or b":f" in text:
            for attributes, formula in _FORMULA.findall(text):
                if not _IS_TEXT.search(attributes):
                    shown = formula[:_SHOWN_FORMULA].decode("utf-8", "replace")
                    self._note(self.formulas, attributes, f"={shown}")

    def _measure(self, text: bytes, references: list[bytes]) -> None:
        """Add to the used area. What has no reference follows what is before it."""
        joined = b" ".join(references)
        columns = joined.translate(None, _DIGITS).split()
        self._columns.update(columns)
        rows = map(_row, set(joined.translate(None, _LETTERS).split()))
        self._last_row = max(self._last_row, *rows, 0)
        unreferenced = _CELLS.without_reference(text)
        self.cells += len(columns) + unreferenced
        if unreferenced:
            in_rows = map(_CELLS.without_reference, text.split(_ROW_END))
            self._more_columns = max(self._more_columns, *in_rows)
        self._more_rows += _ROWS.without_reference(text)

    def _note(self, found: dict[tuple[int, int], str], attributes: bytes, text: str) -> None:
        if len(found) == MOST_FAULTY:
            raise RefusedObject(
                ProblemCode.ERROR_VALUE,
                f"More than {MOST_FAULTY:,} cells of the sheet have an error or a formula without "
                "a value. Correct the formulas and save the workbook again.",
            )
        reference = _REFERENCE.search(attributes)
        letters = reference[1].translate(None, _DIGITS) if reference else b""
        if reference is None or not letters:
            raise corrupt("has cells without a reference and with errors", "workbook")
        found[_row(reference[1].translate(None, _LETTERS)) - 1, _column(letters)] = text


def _end_of_rows(text: bytes) -> int:
    """The end of the last complete row."""
    end = text.rfind(b"</row>")
    if end >= 0:
        return end + len(b"</row>")
    return max((found.end() for found in _END_OF_ROW.finditer(text)), default=0)


def _row(digits: bytes) -> int:
    return int(digits.lstrip(b"0")[:_LONGEST_NUMBER] or b"0")


def _column(letters: bytes) -> int:
    """The 0-based place of a column: 0 for A, 27 for AB."""
    place = 0
    for letter in letters[:_LONGEST_NUMBER].upper():
        place = place * 26 + letter - ord("A") + 1
    return place - 1


def _error_text(value: bytes) -> str:
    text = value.decode("ascii", "replace").strip().upper()
    return text if text in _KNOWN_ERRORS else "#ERROR!"
