"""Read one sheet of a workbook with openpyxl."""

from __future__ import annotations

import io
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from openpyxl import load_workbook
from openpyxl.cell.read_only import EMPTY_CELL
from openpyxl.worksheet._reader import WorkSheetParser

from etl.model.dataset import FieldType
from etl.model.values import ProblemCode
from etl.verify.documents import JsonNumber, Written
from etl.verify.faults import FileError
from etl.verify.file import normalized
from etl.verify.rows import Rows
from etl.verify.typed import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openpyxl.workbook import Workbook
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

    from etl.model.dataset import Dataset, Field
    from etl.verify.file import DatasetFile
    from etl.verify.rows import FileColumns, Reading

MAX_COLUMNS = 1_000
MAX_CELLS = 20_000_000  # of the rectangle around all cells
MAX_FREE_CELLS = 1_000_000  # of it, even if it has few cells
MAX_SPREAD = 200  # times the number of cells that it may have otherwise
MAX_EXACT = 2**53  # whole numbers that floats tell apart

_OLE = b"\xd0\xcf\x11\xe0"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_MIDNIGHT = time()
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # of local times
_DAY = timedelta(days=1)
_MOMENTS = {
    FieldType.DATE: ProblemCode.NOT_A_DATE,
    FieldType.TIME: ProblemCode.NOT_A_TIME,
    FieldType.DATETIME: ProblemCode.NOT_A_DATETIME,
}
_DOCUMENTS = (FieldType.OBJECT, FieldType.ARRAY, FieldType.ANY)  # read from texts of JSON
_FLOATS = ("double precision", "float8", "real", "float4")


class _Faulty(NamedTuple):
    """A cell without a value: an error, or a formula whose value the file lacks."""

    code: ProblemCode
    text: str


def read(file: DatasetFile) -> Reading:
    """The rows and faults of a sheet; a row's line is its number in the sheet.

    Raises:  FileError.
    """
    if not file.content:
        raise FileError(ProblemCode.EMPTY_FILE)
    if file.content.startswith(_OLE):
        is_protected = _ENCRYPTED in file.content
        raise FileError(ProblemCode.ENCRYPTED_ARCHIVE if is_protected else ProblemCode.WRONG_FORMAT)
    try:
        rows = _without_margin(_cells(file.content, file.layout.dataset))
    except FileError:
        raise
    except Exception as error:  # openpyxl raises almost anything about damaged content
        raise FileError(ProblemCode.CORRUPT_ARCHIVE) from error
    number, names = _header(rows, file.layout.dataset.dialect.header_row)
    if len(names) > MAX_COLUMNS:
        raise FileError(ProblemCode.TOO_MANY_COLUMNS)
    in_file = file.names(names)
    file.check(in_file)
    sheet = _SheetRows(file, file.columns(in_file))
    for line, cells in enumerate(rows[number:], number + 1):
        sheet.add(line, cells)
    return sheet.rows.finish()


def _cells(content: bytes, dataset: Dataset) -> list[list[object]]:
    """The values of all rows from the first one of the sheet."""
    values = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    formulas = load_workbook(io.BytesIO(content), read_only=True)
    name = _sheet_name(values, dataset.sheet)
    sheets = values[name], formulas[name]
    for one in sheets:
        one.reset_dimensions()  # what the file says of its size may be wrong
    rows, area = {}, _Area()
    for (number, cells), (_, written) in zip(*map(_filled_rows, sheets), strict=False):
        area.add(number, cells)
        rows[number] = [_value(*pair) for pair in zip(cells, written, strict=False)]
    area.check()
    return [rows.get(number, []) for number in range(1, area.last_row + 1)]


def _filled_rows(sheet: ReadOnlyWorksheet) -> Iterator[tuple[int, Sequence[Any]]]:
    """The rows that the sheet has, with their numbers.

    `iter_rows` makes all blank ones before them, too, of which there may be billions.
    """
    book, least = sheet.parent, 1
    with sheet._get_source() as source:  # noqa: SLF001
        parser = WorkSheetParser(
            source,
            sheet._shared_strings,  # noqa: SLF001
            data_only=book.data_only,
            epoch=book.epoch,
            date_formats=book._date_formats,  # noqa: SLF001
            timedelta_formats=book._timedelta_formats,  # noqa: SLF001
        )
        for number, row in parser.parse():
            if number >= least and row:
                least = number + 1
                yield number, sheet._get_row(row, 1)  # noqa: SLF001


class _Area:
    """The rectangle around all cells of a sheet."""

    def __init__(self) -> None:
        self.last_row = 0
        self._cells = 0
        self._first = self._end = 0

    def add(self, row: int, cells: Sequence[object]) -> None:
        """Add the cells of a row, from the first column on."""
        places = [place for place, cell in enumerate(cells) if cell is not EMPTY_CELL]
        if not places:
            return
        self._first = min(self._first, places[0]) if self._cells else places[0]
        self._end = max(self._end, places[-1] + 1)
        self._cells += len(places)
        self.last_row = row
        if self._size > MAX_CELLS:
            self.check()

    def check(self) -> None:
        """Raise FileError if it is too large, or too large for so few cells."""
        if self._size > min(MAX_CELLS, max(MAX_FREE_CELLS, MAX_SPREAD * self._cells)):
            raise FileError(ProblemCode.ARCHIVE_TOO_LARGE)

    @property
    def _size(self) -> int:
        return self.last_row * (self._end - self._first)


def _sheet_name(workbook: Workbook, wanted: str | int | None) -> str:
    sheets = workbook.worksheets
    if wanted is None:
        visible = [one for one in sheets if one.sheet_state == "visible"]
        if not sheets:
            raise FileError(ProblemCode.UNKNOWN_SHEET)
        return str((visible or sheets)[0].title)
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(workbook.sheetnames):
            raise FileError(ProblemCode.UNKNOWN_SHEET)
        return str(workbook.sheetnames[wanted - 1])
    folded = wanted.strip().casefold()
    found = (one.title for one in sheets if one.title.strip().casefold() == folded)
    name = next(found, None)
    if name is None:
        raise FileError(ProblemCode.UNKNOWN_SHEET)
    return str(name)


def _value(cell: Any, formula: Any) -> object:  # noqa: ANN401
    """The value of a cell; a _Faulty if it has none but should."""
    if cell.data_type == "e":
        return _Faulty(ProblemCode.ERROR_VALUE, str(cell.value))
    if cell.value is None and formula.data_type == "f" and cell.data_type != "str":  # a blank text
        return _Faulty(ProblemCode.FORMULA_WITHOUT_VALUE, str(formula.value))
    value = cell.value
    if isinstance(value, datetime) and value.time() == _MIDNIGHT:
        return value.date()
    return None if value == "" else value


def _without_margin(rows: list[list[object]]) -> list[list[object]]:
    """The rows from the first column with a value on, all equally wide."""
    first = min((n for row in rows for n, cell in enumerate(row) if cell is not None), default=0)
    width = max(
        (n + 1 for row in rows for n, cell in enumerate(row) if cell is not None), default=0
    )
    return [(row + [None] * width)[first:width] for row in rows]


def _header(rows: list[list[object]], least: int) -> tuple[int, list[str]]:
    """The number of the first row with a name, from a number on, and its names."""
    for number, row in enumerate(rows[least - 1 :], least):
        names = [_name(cell) for cell in row]
        if any(names):
            return number, names
    raise FileError(ProblemCode.EMPTY_FILE)


def _name(cell: object) -> str:
    if isinstance(cell, _Faulty):
        return cell.text if cell.code is ProblemCode.ERROR_VALUE else ""
    return "" if cell is None else plain_text(_typed(cell, None))


class _SheetRows:
    """Validates the rows below the header."""

    def __init__(self, file: DatasetFile, columns: FileColumns) -> None:
        self.rows = Rows(columns)
        self._layout = file.layout
        self._columns = columns
        fields = {one.name: one for one in file.layout.dataset.fields}
        self._fields = [
            None if name in file.found else fields.get(name) for name in columns.in_file
        ]

    def add(self, line: int, cells: list[object]) -> None:
        """Accept or reject a row, unless it is blank."""
        faults: dict[str, ProblemCode] = {}
        for name, cell, field in zip(self._columns.in_file, cells, self._fields, strict=True):
            if (fault := self._fault(cell, field)) is not None:
                faults[name] = fault
        found: list[object] = []
        for place, (cell, field) in enumerate(zip(cells, self._fields, strict=True)):
            value = self._columns.trimmed(place, self._read(cell, field))
            found.append(None if value == "" else value)
        if faults:
            self.rows.reject_cells(line, faults, found)
            return
        if all(one is None for one in found):
            return
        if self._is_header(found):
            self.rows.note(ProblemCode.REPEATED_HEADER)
        else:
            self.rows.add(line, found)

    def _read(self, cell: object, field: Field | None) -> object:
        if isinstance(cell, _Faulty):
            is_shown = field is None and cell.code is ProblemCode.ERROR_VALUE
            return cell.text if is_shown or cell.text in self._missing(field) else None
        value = _typed(cell, field)
        is_text = field is None or (
            field.type in _DOCUMENTS and isinstance(value, date | time | Written)
        )
        return plain_text(value) if is_text and value is not None else value

    def _fault(self, cell: object, field: Field | None) -> ProblemCode | None:
        """The fault of a cell of a declared column that no text can express."""
        if field is None:
            return None
        if isinstance(cell, _Faulty):
            return None if cell.text in self._missing(field) else cell.code
        if not isinstance(cell, int | float) or isinstance(cell, bool):
            return None
        text = plain_text(_typed(cell, field))
        if field.type in _MOMENTS:
            is_read = text in self._missing(field) or _is_in_format(text, field)
            return None if is_read else _MOMENTS[field.type]
        is_inexact = float(cell).is_integer() and abs(cell) > MAX_EXACT and not _is_float(field)
        return ProblemCode.NUMBER_OUT_OF_RANGE if is_inexact else None

    def _missing(self, field: Field | None) -> tuple[str, ...]:
        if field is None or field.missing_values is None:
            return self._layout.dataset.missing_values
        return field.missing_values

    def _is_header(self, cells: list[object]) -> bool:
        texts = ["" if cell is None else plain_text(cell) for cell in cells]
        names = [normalized(text, number, self._layout) for number, text in enumerate(texts, 1)]
        return [one.casefold() for one in names] == [
            one.casefold() for one in self._columns.in_file
        ]


def _is_float(field: Field | None) -> bool:
    if field is None or field.type is not FieldType.NUMBER or field.sql is None:
        return False
    return " ".join(field.sql.lower().split()) in _FLOATS


def _is_in_format(text: str, field: Field) -> bool:
    if field.format is None:
        return False
    try:
        datetime.strptime(text, field.format)  # noqa: DTZ007  # only the form matters
    except ValueError:
        return False
    return True


def _typed(cell: object, field: Field | None) -> object:
    """A value of openpyxl as a cell; numbers in the 15 digits that a spreadsheet shows."""
    if isinstance(cell, bool) or not isinstance(cell, int | float | timedelta):
        return cell
    if isinstance(cell, timedelta):
        return _duration(cell, field)
    number = float(cell)
    if number.is_integer() and abs(number) <= MAX_EXACT:
        return JsonNumber(str(int(number)))
    return JsonNumber(repr(number) if _is_float(field) else f"{Decimal(f'{number:.15g}'):f}")


def _duration(value: timedelta, field: Field | None) -> object:
    if field is not None and field.type is FieldType.TIME and timedelta() <= value < _DAY:
        return (_EPOCH + value).time()
    seconds, micros = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    fraction = f".{micros:06}".rstrip("0") if micros else ""
    sign = "-" if value < timedelta() else ""
    return Written(
        f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"
    )
