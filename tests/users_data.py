"""Files of the dataset `users` with planted faults."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import cycle

from tests.planted import LF, Fault, FileWriter, PlantedFile, Writing, fault

COLUMNS = ("user_id", "first_name", "last_name", "birthts")
MAX_CHARACTERS = 10_000
MAX_ID_BYTES = 1_024
DAY_MS = 86_400_000

# The values of a valid row by column, and the UTC date of its birthts.
User = tuple[str, str, str, int, date]

_FORM = "milliseconds"
_RANGE = "The birthdate must be between 1900-01-01 and "
_QUOTE = "A quoted cell that begins on this line is not closed properly."
_UNDECODABLE = "neither UTF-8 nor cp1252"


def _missing(raw: str, column: str) -> Fault:
    return fault(raw, "missing-cell", column, f"Fill in {column}")


def _birthts(raw: str, code: str = "not-an-integer", note: str = _FORM) -> Fault:
    return fault(f"p{{n}},Ann,Lee,{raw}", code, "birthts", note)


def _date(raw: str, note: str = _RANGE) -> Fault:
    return _birthts(raw, "birthdate-out-of-range", note)


FAULTS = (
    _missing(",Ann,Lee,0", "user_id"),
    _missing("  ,Ann,Lee,0", "user_id"),
    _missing("p{n},,Lee,0", "first_name"),
    _missing("p{n},Ann,\t,0", "last_name"),
    _missing("p{n},Ann,Lee,", "birthts"),
    _missing('p{n},"",Lee,0', "first_name"),
    _birthts("03.05.1980"),
    _birthts("05/03/1980"),
    _birthts("1980-02-30"),
    _birthts("1981-02-29"),
    _birthts("1980-05-03T24:01"),
    _birthts("1980-05-03T10:00:00.1234"),
    _birthts("1980-05-03T10:00+25:00"),
    _birthts("6.12302E+11"),
    _birthts("326160000000.5"),
    _birthts('"326,160"'),
    _birthts("326 160"),
    _birthts("0x7f"),
    _birthts("\uff11\uff12\uff13"),
    _birthts("twelve"),
    _birthts("NULL"),
    _date("-2208988800001", f"{_RANGE}"),
    _date("1899-12-31"),
    _date("4102444800000"),
    _date("2100-01-01"),
    _date("1900-01-01T00:00+00:01"),
    _date("612302400000000", "microseconds"),
    _date("612302400000000000", "nanoseconds"),
    _date("9" * 30, "outside the calendar"),
    fault("p{n},Ann,Lee", "short-row", None, "Add the missing cells"),
    fault("p{n}", "short-row", None, "Add the missing cells"),
    fault("p{n},Ann,Lee,MD,0", "long-row", None, "Remove the extra cells"),
    fault('"p{n},Ann,Lee,0', "unclosed-quote", None, _QUOTE),
    fault('p{n},"Ann"e,Lee,0', "unclosed-quote", None, _QUOTE),
    fault("p{n},A\0n,Lee,0", "nul-byte", "first_name", "Remove the NUL character"),
    fault(f"p{{n}},Ann,{'L' * (MAX_CHARACTERS + 1)},0", "cell-too-long", "last_name", "10,000"),
    fault(f"{'p' * (MAX_ID_BYTES - 5)}{{n}},Ann,Lee,0", "cell-too-long", "user_id", "1,024 bytes"),
    fault("p{n},Ann\udc81,Lee,0", "undecodable", None, _UNDECODABLE),
    fault("p{n},Ann,\udced\udca0\udcbd\udced\udcb8\udc80,0", "undecodable", None, _UNDECODABLE),
    Fault(
        "{n},,,1980",
        (
            ("missing-cell", "first_name", "Fill in first_name"),
            ("missing-cell", "last_name", "Fill in last_name"),
        ),
    ),
)

_EDGE = 21  # of fifty rows, the one in a form of `_EDGES`

# Valid cells that resemble faults, by column, with their values.
_EDGES: tuple[tuple[str, str, object], ...] = (
    ("birthts", "-2208988800000", -2_208_988_800_000),
    ("birthts", "+7", 7),
    ("birthts", "-0", 0),
    ("birthts", "007.000", 7),
    ("birthts", " 326160000000.0 ", 326_160_000_000),
    ("birthts", "0" * 30 + "7", 7),
    ("birthts", "1980-02-29", 320_630_400_000),
    ("birthts", "1969-12-31T23:59:59.999Z", -1),
    ("birthts", "1970-01-01 05:30:00.250000+05:30", 250),
    ("birthts", "1900-01-01", -2_208_988_800_000),
    ("first_name", "NULL", "NULL"),
    ("first_name", "\u202eeoZ\U0001f600", "\u202eeoZ\U0001f600"),
    ("last_name", 'O"Brien', 'O"Brien'),
    ("last_name", "L" * MAX_CHARACTERS, "L" * MAX_CHARACTERS),
)


def users_file(
    count: int,
    *,
    fault_every: int = 0,
    start: int = 0,
    how: Writing = LF,
    faults: tuple[Fault, ...] = FAULTS,
) -> PlantedFile:
    """A file of `count` users, after each `fault_every` of whom one faulty row follows.

    `start` is the number of the first user. If all faults are plain, nothing in the file is quoted.
    """
    writer = FileWriter(COLUMNS, COLUMNS, ",", how)
    kinds = cycle(faults)
    is_plain = all(kind.is_plain for kind in faults)
    for number in range(start, start + count):
        writer.add(*_user(number, is_plain=is_plain))
        if fault_every and (number + 1) % fault_every == 0:
            writer.plant(next(kinds), number)
    return writer.end()


def _user(number: int, *, is_plain: bool) -> tuple[list[str], User]:
    """The cells of a user, and the values."""
    birthts = number * 86_399_999 % 3_900_000_000_000 - 2_208_900_000_000
    values: dict[str, object] = {
        "user_id": f"{number:06d}",
        "first_name": f"Zoë {number}",
        "last_name": f"L-{number % 97}",
        "birthts": birthts,
    }
    cells = {name: str(value) for name, value in values.items()}
    if number % 11 == 0 and not is_plain:
        cells["last_name"] = values["last_name"] = f'Lee, "{number}"\nx'  # over two lines
    if number % 50 == _EDGE and not is_plain:
        column, text, value = _EDGES[number // 50 % len(_EDGES)]
        cells[column], values[column] = text, value
    born = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=values["birthts"])  # type: ignore[arg-type]
    return list(cells.values()), (*values.values(), born.date())  # type: ignore[return-value]
