"""One user CSV to its rows and faults, one row at a time."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from etl.model import ProblemCode
from etl.verify.records import (
    Line,
    QuoteError,
    Record,
    physical_lines,
    read_line,
    read_records,
)
from etl.verify.text import FileError, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

_DELIMITERS = ",;\t|"
_REQUIRED = ("first_name", "last_name", "birthts")
_KNOWN = ("user_id", *_REQUIRED)
_LONGEST_CELL_CHARACTERS = 10_000
_LONGEST_USER_ID_BYTES = 1_024
_LONGEST_BIRTHTS_DIGITS = 18
_MILLISECONDS_A_DAY = 86_400_000
_EPOCH = date(1970, 1, 1)
_EARLIEST = date(1900, 1, 1)
_INTEGER = re.compile("([+-]?)([0-9]+)")


@dataclass(frozen=True, slots=True)
class Row:
    """A valid row; `birthts` is milliseconds since 1970-01-01T00:00:00Z."""

    line: int
    user_id: str
    first_name: str
    last_name: str
    birthts: int
    extra: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one file gives: faults of the file, valid rows, and (line, code) of refused ones."""

    faults: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    rejected: set[tuple[int, str]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Header:
    """A header: its columns' final names, its delimiter, and the index of the line after it."""

    names: list[str]
    delimiter: str
    next_line: int


def read(content: bytes, key_user_id: str, today: date) -> Reading:
    """Read one file whose key names `key_user_id`; `today` is the last birthdate allowed."""
    try:
        decoded = decode(content)
        lines = physical_lines(decoded.text)
        header = _read_header(decoded.text, lines, key_user_id)
    except FileError as error:
        return Reading(faults={error.code})
    records = read_records(
        decoded.text, lines, header.next_line, header.delimiter, len(header.names)
    )
    reading = _read_rows(records, header.names, key_user_id, today)
    if decoded.is_guessed:
        reading.faults.add(ProblemCode.GUESSED_ENCODING)
    return reading


def _read_header(text: str, lines: list[Line], key_user_id: str) -> _Header:
    """Find the header and check it.

    Raises:  FileError with the first fault it has.
    """
    index = 0
    while text[lines[index].start : lines[index].end].strip() == "":
        index += 1  # ends: an empty file never comes here
    raw = text[lines[index].start : lines[index].end]
    if "\0" in raw:
        raise FileError(ProblemCode.NUL_BYTE)
    delimiter = _delimiter(raw)
    try:
        cells = read_line(text, lines[index], delimiter)
    except QuoteError as error:
        raise FileError(ProblemCode.UNCLOSED_QUOTE) from error
    names = [_final_name(cell, number) for number, cell in enumerate(cells, start=1)]
    _check_names(names, key_user_id)
    return _Header(names, delimiter, index + 1)


def _delimiter(header: str) -> str:
    """Choose the most frequent delimiter; `max` keeps the first of equals."""
    return max(_DELIMITERS, key=header.count)


def _final_name(cell: str, number: int) -> str:
    if cell == "":
        return f"column_{number}"
    return cell.casefold() if cell.casefold() in _KNOWN else cell


def _check_names(names: list[str], key_user_id: str) -> None:
    if max(Counter(names).values()) > 1:
        raise FileError(ProblemCode.DUPLICATE_COLUMN)
    if any(name not in names for name in _REQUIRED):
        raise FileError(ProblemCode.MISSING_COLUMN)
    if "user_id" not in names and key_user_id == "":
        raise FileError(ProblemCode.MISSING_COLUMN)


def _read_rows(
    records: Iterable[Record], names: list[str], key_user_id: str, today: date
) -> Reading:
    reading = Reading()
    for record in records:
        if record.cells is not None and not any(record.cells):
            continue
        codes = _faults(record.cells, names, today)
        if record.cells is None or codes:
            reading.rejected.update((record.line, code.value) for code in codes)
        else:
            reading.rows.append(_row(record.line, record.cells, names, key_user_id))
    if not reading.rows and not reading.rejected:
        reading.faults.add(ProblemCode.NO_ROWS)
    return reading


def _faults(cells: list[str] | None, names: list[str], today: date) -> set[ProblemCode]:
    """Name every code that a record earns, none when it is valid."""
    if cells is None:
        return {ProblemCode.UNCLOSED_QUOTE}
    if len(cells) < len(names):
        return {ProblemCode.SHORT_ROW}
    if len(cells) > len(names):
        return {ProblemCode.LONG_ROW}
    if any("\0" in cell for cell in cells):
        return {ProblemCode.NUL_BYTE}
    by_name = dict(zip(names, cells, strict=True))
    if _is_too_long(by_name):
        return {ProblemCode.CELL_TOO_LONG}
    return _cell_faults(by_name, today)


def _is_too_long(by_name: dict[str, str]) -> bool:
    if len(by_name.get("user_id", "").encode()) > _LONGEST_USER_ID_BYTES:
        return True
    return any(len(cell) > _LONGEST_CELL_CHARACTERS for cell in by_name.values())


def _cell_faults(by_name: dict[str, str], today: date) -> set[ProblemCode]:
    codes = set()
    if any(by_name.get(name) == "" for name in _KNOWN):
        codes.add(ProblemCode.MISSING_CELL)
    birthts = by_name["birthts"]
    if birthts == "":
        return codes
    if _INTEGER.fullmatch(birthts) is None:
        codes.add(ProblemCode.NOT_AN_INTEGER)
    elif not _is_in_range(birthts, today):
        codes.add(ProblemCode.BIRTHDATE_OUT_OF_RANGE)
    return codes


def _is_in_range(birthts: str, today: date) -> bool:
    # Python refuses to convert thousands of digits; so many are out of any range.
    if len(birthts.lstrip("+-").lstrip("0")) > _LONGEST_BIRTHTS_DIGITS:
        return False
    days = _to_integer(birthts) // _MILLISECONDS_A_DAY  # floors, also before 1970
    return (_EARLIEST - _EPOCH).days <= days <= (today - _EPOCH).days


def _to_integer(birthts: str) -> int:
    digits = birthts.lstrip("+-").lstrip("0") or "0"
    return -int(digits) if birthts.startswith("-") else int(digits)


def _row(line: int, cells: list[str], names: list[str], key_user_id: str) -> Row:
    by_name = dict(zip(names, cells, strict=True))
    extra = {name: cell for name, cell in by_name.items() if name not in _KNOWN and cell != ""}
    return Row(
        line=line,
        user_id=by_name.get("user_id", key_user_id),
        first_name=by_name["first_name"],
        last_name=by_name["last_name"],
        birthts=_to_integer(by_name["birthts"]),
        extra=extra or None,
    )
