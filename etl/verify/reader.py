"""Parse one user CSV into its rows and faults, one row at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from etl.model.values import ProblemCode
from etl.verify.birthts import NotABirthTime, SecondsDetector, is_in_range, milliseconds
from etl.verify.header import KNOWN, read_header
from etl.verify.records import read_records
from etl.verify.text import FileError, decode

if TYPE_CHECKING:
    from datetime import date

    from etl.verify.header import Header
    from etl.verify.records import CsvRecord

MAX_LISTED = 1_000

_MAX_CELL_CHARACTERS = 10_000
_MAX_USER_ID_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Row:
    """A valid row; `birthts` is milliseconds since 1970-01-01T00:00:00Z."""

    line: int
    user_id: str
    first_name: str
    last_name: str
    birthts: int
    extra: dict[str, str] | None


class _Fault(NamedTuple):
    """A fault of a row; faults sort in the order in which they are listed."""

    column: str
    code: ProblemCode


@dataclass(slots=True)
class Reading:
    """The rows and faults of one file.

    `faults` are the problem codes of the file, including warnings. `rejected` holds (line, code)
    of the first 1,000 row faults; `rows_rejected` counts all rejected rows.
    """

    faults: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    rows_rejected: int = 0


def read(content: bytes, key_user_id: str, today: date) -> Reading:
    """Parse a file whose key contains `key_user_id`; `today` is the last birthdate allowed."""
    try:
        decoded = decode(content)
        header = read_header(decoded, key_user_id)
    except FileError as error:
        return Reading(faults={error.code})
    rows = _Rows(header, key_user_id, today)
    for record in read_records(decoded, header.next_line, header.shape):
        rows.add(record)
    reading = rows.finish()
    if decoded.is_guessed and ProblemCode.ROWS_WITHOUT_ID not in reading.faults:
        reading.faults.add(ProblemCode.GUESSED_ENCODING)
    return reading


class _Rows:
    """Validates the records of a file one by one."""

    def __init__(self, header: Header, key_user_id: str, today: date) -> None:
        self._header = header
        self._key_user_id = key_user_id
        self._today = today
        self._seconds = SecondsDetector(today)
        self._reading = Reading()

    def add(self, record: CsvRecord) -> None:
        if record.cells is None:
            self._reject(record.line, [_Fault("", record.fault or ProblemCode.UNCLOSED_QUOTE)])
        elif any(record.cells):
            self._validate(record.line, self._pad(record.cells))

    def finish(self) -> Reading:
        """Validate the file as a whole."""
        reading = self._reading
        rows_read = len(reading.rows) + reading.rows_rejected
        if "user_id" not in self._header.names and _differ(reading.rows):
            return Reading(faults={ProblemCode.ROWS_WITHOUT_ID}, rows_rejected=rows_read)
        if rows_read == 0:
            reading.faults.add(ProblemCode.NO_ROWS)
        if self._seconds.are_seconds:
            reading.faults.add(ProblemCode.EPOCH_SECONDS)
        return reading

    def _pad(self, cells: list[str]) -> list[str]:
        """Add omitted blank cells at the end, if none of them is in a known column."""
        shape = self._header.shape
        if not shape.min_width <= len(cells) < shape.width:
            return cells
        self._reading.faults.add(ProblemCode.MISSING_TRAILING_CELLS)
        return cells + [""] * (shape.width - len(cells))

    def _validate(self, line: int, cells: list[str]) -> None:
        if self._header.is_repeated_by(cells):
            self._reading.faults.add(ProblemCode.REPEATED_HEADER)
            return
        faults = _faults(cells, self._header.names, self._today)
        if faults:
            self._reject(line, faults)
        else:
            self._accept(line, dict(zip(self._header.names, cells, strict=True)))

    def _reject(self, line: int, faults: list[_Fault]) -> None:
        reading = self._reading
        reading.rows_rejected += 1
        room = MAX_LISTED - len(reading.rejected)
        reading.rejected += [(line, fault.code.value) for fault in sorted(faults)[:room]]
        if len(faults) > room:
            reading.faults.add(ProblemCode.MORE_PROBLEMS)

    def _accept(self, line: int, by_name: dict[str, str]) -> None:
        birthts = milliseconds(by_name["birthts"])
        self._seconds.add(by_name["birthts"], birthts)
        extra = {name: cell for name, cell in by_name.items() if name not in KNOWN and cell != ""}
        row = Row(
            line=line,
            user_id=by_name.get("user_id", self._key_user_id),
            first_name=by_name["first_name"],
            last_name=by_name["last_name"],
            birthts=birthts,
            extra=extra or None,
        )
        self._reading.rows.append(row)


def _differ(rows: list[Row]) -> bool:
    """Whether any row differs from the first in more than its line."""
    return any(replace(row, line=rows[0].line) != rows[0] for row in rows)


def _faults(cells: list[str], names: list[str], today: date) -> list[_Fault]:
    """Return the faults of a row; a NUL hides lengths, and both hide other faults."""
    if len(cells) != len(names):
        is_short = len(cells) < len(names)
        return [_Fault("", ProblemCode.SHORT_ROW if is_short else ProblemCode.LONG_ROW)]
    by_name = dict(zip(names, cells, strict=True))
    with_nul = [name for name, cell in by_name.items() if "\0" in cell]
    if with_nul:
        return [_Fault(name, ProblemCode.NUL_BYTE) for name in with_nul]
    too_long = [name for name, cell in by_name.items() if _is_too_long(name, cell)]
    if too_long:
        return [_Fault(name, ProblemCode.CELL_TOO_LONG) for name in too_long]
    missing = [name for name in KNOWN if by_name.get(name) == ""]
    return [
        *(_Fault(name, ProblemCode.MISSING_CELL) for name in missing),
        *_faults_of_birthts(by_name["birthts"], today),
    ]


def _is_too_long(name: str, cell: str) -> bool:
    if name == "user_id" and len(cell.encode()) > _MAX_USER_ID_BYTES:
        return True
    return len(cell) > _MAX_CELL_CHARACTERS


def _faults_of_birthts(written: str, today: date) -> list[_Fault]:
    if written == "":
        return []
    try:
        birthts = milliseconds(written)
    except NotABirthTime:
        return [_Fault("birthts", ProblemCode.NOT_AN_INTEGER)]
    if not is_in_range(birthts, today):
        return [_Fault("birthts", ProblemCode.BIRTHDATE_OUT_OF_RANGE)]
    return []
