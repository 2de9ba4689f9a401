"""Parse the cells of one field: from text to a value of its type, or to faults."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from etl.model.dataset import FieldType, Moment
from etl.model.values import ProblemCode
from etl.verify.birthts import NotABirthTime, SecondsDetector, milliseconds, utc_date
from etl.verify.documents import JsonNumber, JsonText, read_document
from etl.verify.faults import FaultyCell
from etl.verify.limits import Limits
from etl.verify.moments import MomentReader
from etl.verify.numbers import NumberReader
from etl.verify.typed import text_of, text_with_options, without_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from etl.model.dataset import Dataset, Field

    Parse = Callable[[str, list[ProblemCode]], object]

_YEAR = re.compile("(?!0000)[0-9]{4}")
_UUID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LIMITED = re.compile(r"(varchar|character varying|char|character) ?\( ?([0-9]+) ?\)")
_NO_CODES: list[ProblemCode] = []


class CellReader:
    """Parses the cells of one field of a dataset."""

    def __init__(
        self, field: Field, dataset: Dataset, today: date, *, has_types: bool = False
    ) -> None:
        """With `has_types`, only texts of the file, and nested values as JSON, may be missing."""
        self.name = field.name
        self._field = field
        self._has_types = has_types
        self.is_required = field.constraints.required or field.name in dataset.primary_key
        self.is_trimmed = field.trim
        is_birth_time = field.type is FieldType.EPOCH_MS and dataset.is_preset
        self.seconds = SecondsDetector(today) if is_birth_time else None
        missing = field.missing_values
        self._missing = frozenset(dataset.missing_values if missing is None else missing)
        self._missing_texts = self._missing - {""}
        self._type = field.type
        self._parse = _parser(field, today)
        self._parse_typed = _parser(without_options(field), today)
        self._is_text = field.type is FieldType.STRING  # limited as written, whatever its column
        is_limited = field.type is not FieldType.EPOCH_MS  # its limits are dates
        limits = Limits(field.constraints) if is_limited else None
        self._limits = limits if limits is not None and limits.are_any else None

    def read(self, cell: object, warnings: list[ProblemCode]) -> tuple[object, list[ProblemCode]]:
        """Return the value of a cell and its faults; it is None if there is no cell.

        A cell is a text or, in files with types, a value. Adds the warnings about it to `warnings`.
        """
        if cell is None or self._is_missing(cell):
            return None, [ProblemCode.MISSING_CELL] if self.is_required else _NO_CODES
        parse = self._parse if self._is_as_written(cell) else self._parse_typed
        try:
            written = cell if isinstance(cell, str) else text_of(cell, self._type)
            value = written if parse is None else parse(written, warnings)
        except FaultyCell as fault:
            return None, fault.codes
        if self._limits is None:
            return value, _NO_CODES
        return value, self._limits.broken(written if self._is_text else value, written)

    def _is_missing(self, cell: object) -> bool:
        if isinstance(cell, str):
            return cell in self._missing
        has_text = not self._has_types or isinstance(cell, dict | list)
        if not self._missing_texts or not has_text or isinstance(cell, JsonText):
            return False
        return text_with_options(cell, self._field) in self._missing_texts

    def _is_as_written(self, cell: object) -> bool:
        """Whether the options of the field say how to parse the cell.

        They do for a number of JSON, too, if another type than that of numbers is read from it.
        """
        if isinstance(cell, JsonNumber):
            return self._type not in {FieldType.INTEGER, FieldType.NUMBER}
        return isinstance(cell, str)


def _parser(field: Field, today: date) -> Parse | None:
    """The parser of a type; None if the text is the value."""
    kind = field.type
    if kind is FieldType.STRING:
        return _text_parser(field)
    if kind is FieldType.EPOCH_MS:
        return _epoch_parser(field, today)
    if kind in {FieldType.DATE, FieldType.TIME, FieldType.DATETIME}:
        return MomentReader(field).read
    read: dict[FieldType, Callable[[str], object]] = {
        FieldType.BOOLEAN: partial(_boolean, field),
        FieldType.YEAR: _year,
    }
    if kind in {FieldType.INTEGER, FieldType.NUMBER}:
        read[kind] = NumberReader(field).read
    parse = read.get(kind) or partial(read_document, kind=kind)
    return lambda written, _: parse(written)


def _text_parser(field: Field) -> Parse | None:
    """Texts are limited only by the type of the column, such as varchar(20) or uuid."""
    if is_uuid(field):
        return lambda written, _: _uuid(written)
    limited = _LIMITED.fullmatch(" ".join((field.sql or "").lower().split()))
    if limited is None:
        return None
    longest = int(limited[2])

    def parse(written: str, _: list[ProblemCode]) -> str:
        if len(written) > longest:
            raise FaultyCell(ProblemCode.TOO_LONG)
        return unpadded(written) if is_padded(field) else written

    return parse


def is_uuid(field: Field) -> bool:
    """Whether the column of a field has the type uuid, which ignores letter case."""
    return (field.sql or "").strip().lower() == "uuid"


def _uuid(written: str) -> str:
    if _UUID.fullmatch(written) is None:
        raise FaultyCell(ProblemCode.PATTERN_MISMATCH)
    return written.lower()


def is_padded(field: Field) -> bool:
    """Whether the column of a field has the type char(n), which ignores spaces at the end."""
    sql = (field.sql or "").lower()
    return sql.startswith("char") and "varying" not in sql


def unpadded(text: str) -> str:
    """A value of char(n) without the spaces that the column adds to it."""
    return text.rstrip(" ")


def _boolean(field: Field, written: str) -> bool:
    if written in field.true_values:
        return True
    if written in field.false_values:
        return False
    raise FaultyCell(ProblemCode.NOT_A_BOOLEAN)


def _year(written: str) -> int:
    if _YEAR.fullmatch(written) is None:
        raise FaultyCell(ProblemCode.NOT_A_YEAR)
    return int(written)


def _epoch_parser(field: Field, today: date) -> Parse:
    """Parse milliseconds since the epoch; the limits of the field are UTC dates."""
    least: Any
    most: Any
    least, most = (
        today if bound is Moment.TODAY else bound
        for bound in (field.constraints.minimum, field.constraints.maximum)
    )

    def parse(written: str, _: list[ProblemCode]) -> int:
        try:
            value = milliseconds(written)
        except NotABirthTime as error:
            raise FaultyCell(ProblemCode.NOT_AN_INTEGER) from error
        day = utc_date(value)
        if day is None and least is None and most is None:
            raise FaultyCell(ProblemCode.NUMBER_OUT_OF_RANGE)
        if day is None or (least is not None and day < least) or (most is not None and day > most):
            raise FaultyCell(ProblemCode.BIRTHDATE_OUT_OF_RANGE)
        return value

    return parse
