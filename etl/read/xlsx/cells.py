"""Values of a workbook as cells: texts that the options of their field read back to the value.

A workbook has texts, numbers, booleans, dates, times and durations. Numbers are what a spreadsheet
shows of them: 15 significant digits, unless the column is of double precision.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from etl.model.dataset import Field, FieldType
from etl.model.types import sql_type
from etl.model.values import ProblemCode
from etl.read.types.numerals import ungrouped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXACT_NUMBERS = 2**53  # from here on, floats do not tell all whole numbers apart

_FLOATS = frozenset({"double precision", "real"})
_MOMENTS = {
    FieldType.DATE: ProblemCode.NOT_A_DATE,
    FieldType.TIME: ProblemCode.NOT_A_TIME,
    FieldType.DATETIME: ProblemCode.NOT_A_DATETIME,
}
_EPOCH = {False: datetime(1899, 12, 30), True: datetime(1904, 1, 1)}  # noqa: DTZ001 - local times
_SERIAL_DAYS = 2_958_466  # up to the year 9999
_FIRST_SERIAL = 367  # 1901; smaller numbers are rather something else
_DAY = timedelta(days=1)
_MIDNIGHT = datetime(1, 1, 1)  # noqa: DTZ001 - a local time
_PLAIN = Field(name="")


class CellFault(NamedTuple):
    """Why a value is no value of its field, and its text."""

    code: ProblemCode
    hint: str
    value: str


class CellTexts:
    """Makes the texts of the values in one column; without a field, those of an undeclared one."""

    def __init__(
        self, field: Field | None, missing_values: tuple[str, ...] = (), *, is_1904: bool = False
    ) -> None:
        self._field = _PLAIN if field is None else field
        self._is_declared = field is not None
        self._missing = missing_values
        self._is_1904 = is_1904
        self._is_float = False
        if self._field.type is FieldType.NUMBER:
            self._is_float = sql_type(self._field.type, self._field.sql).name in _FLOATS
        self._of: dict[type, Callable[[Any], str | CellFault | None]] = {
            str: self._text,
            float: self._number,
            int: lambda value: self._number(float(value)),
            bool: self._boolean,
            date: self._date,
            datetime: self._datetime,
            time: self._time,
            timedelta: self._duration,
        }

    def texts(self, values: Sequence[object]) -> tuple[list[str | None], dict[int, CellFault]]:
        """The texts of some values, null for blank ones, and the faulty ones by their index."""
        made = [self._of[type(value)](value) for value in values]
        faults = {place: one for place, one in enumerate(made) if isinstance(one, CellFault)}
        return [one.value if isinstance(one, CellFault) else one for one in made], faults

    @staticmethod
    def _text(value: str) -> str | None:
        return value or None

    def _boolean(self, value: bool) -> str:  # noqa: FBT001 - a cell
        if self._field.type is FieldType.BOOLEAN:
            values = self._field.true_values if value else self._field.false_values
            if values:
                return values[0]
        return "true" if value else "false"

    def _number(self, value: float) -> str | CellFault:
        is_whole = value.is_integer()
        text = self._digits(value, is_whole=is_whole)
        if not self._is_declared:
            return text
        if self._field.type in _MOMENTS:
            return self._serial(value, text)
        if is_whole and abs(value) > EXACT_NUMBERS and not self._is_float:
            hint = (
                "A workbook keeps 15 digits of a number, so the last digits of this one are lost. "
                "Format the column as text before the numbers are entered, or export them as text."
            )
            return CellFault(ProblemCode.NUMBER_OUT_OF_RANGE, hint, text)
        if self._field.type is FieldType.NUMBER and self._field.decimal_char != ".":
            return text.replace(".", self._field.decimal_char)
        return ungrouped(text, self._field) if self._field.type is FieldType.INTEGER else text

    def _digits(self, value: float, *, is_whole: bool) -> str:
        if is_whole and abs(value) <= EXACT_NUMBERS:
            return str(int(value))
        if self._is_float:
            return repr(value)
        return f"{Decimal(f'{value:.15g}'):f}"

    def _serial(self, value: float, text: str) -> str | CellFault:
        """A number in a column of dates: one whose digits are a date in the field's format."""
        if text in self._missing or (self._field.format is not None and self._reads(text)):
            return text
        hint = f"{self._field.name} must be a {self._field.type}, and the cell has a number."
        if _FIRST_SERIAL <= value < _SERIAL_DAYS:
            meant = _EPOCH[self._is_1904] + timedelta(days=value)
            shown = meant.date() if value.is_integer() else meant.replace(microsecond=0)
            hint += f" If it stands for {shown}, format the cells of the column as dates."
        elif 0 <= value < 1 and self._field.type is FieldType.TIME:
            hint += " Format the cells of the column as times."
        else:
            hint += " Enter a date." if self._field.type is not FieldType.TIME else " Enter a time."
        return CellFault(_MOMENTS[self._field.type], hint, text)

    def _reads(self, text: str) -> bool:
        try:
            datetime.strptime(text, self._field.format or "")  # noqa: DTZ007 - form only
        except ValueError:
            return False
        return True

    def _date(self, value: date) -> str:
        if self._field.type is FieldType.DATETIME and self._field.format is not None:
            return self._datetime(datetime(value.year, value.month, value.day))  # noqa: DTZ001
        return self._written(value, FieldType.DATE)

    def _datetime(self, value: datetime) -> str:
        return self._written(value, FieldType.DATETIME)

    def _time(self, value: time) -> str:
        return self._written(value, FieldType.TIME)

    def _duration(self, value: timedelta) -> str:
        if self._field.type is FieldType.TIME and timedelta(0) <= value < _DAY:
            return self._time((_MIDNIGHT + value).time())
        sign = "-" if value < timedelta(0) else ""
        seconds, micros = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        decimals = f".{micros:06}".rstrip("0") if micros else ""
        return f"{sign}{hour:02}:{minute:02}:{second:02}{decimals}"

    def _written(self, value: date | time, type_: FieldType) -> str:
        """The value in the field's format if that is of its type and keeps it, else in ISO 8601."""
        format_ = self._field.format
        if format_ is None or self._field.type is not type_:
            return value.isoformat()
        written = value.strftime(format_)
        try:
            read = datetime.strptime(written, format_)  # noqa: DTZ007 - local times
        except ValueError:
            return value.isoformat()
        parts = {FieldType.DATE: read.date(), FieldType.TIME: read.time(), FieldType.DATETIME: read}
        return written if parts[type_] == value else value.isoformat()
