"""The dataset `orders` of the documentation, and files of it with planted faults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from zoneinfo import ZoneInfo

from etl.settings import Settings
from etl.settings.datasets_file import read_datasets
from tests.planted import CRLF, Fault, FileWriter, PlantedFile, Writing, fault

DECLARATION = Path(__file__).with_name("datasets.toml")  # users and orders
ORDERS = next(
    one for one in read_datasets(DECLARATION, Settings(_env_file=None)) if one.name == "orders"
)
BERLIN = ZoneInfo("Europe/Berlin")
COLUMNS = ("order_id", "user_id", "amount", "status", "updated_at")
HEADER = ("Bestellnummer", *COLUMNS[1:])
STATUSES = ("new", "paid", "sent", "returned")
MAX_BYTES = 2_680  # of a column with an index

# The values of a valid row by column; the time is aware, in UTC.
Order = tuple[str, str, Decimal | None, str | None, datetime | None]

_DAY = "28.02.2024 10:00:00"
_PATTERN = "must match the pattern [A-Z]{2}-[0-9]{6}"
_NUMBER = "Write amount as a number, for example 1.234,5."
_TIME = "in the format %d.%m.%Y %H:%M:%S"
_QUOTE = "A quoted cell that begins on this line is not closed properly."


def _order_id(raw: str, note: str = _PATTERN) -> Fault:
    return fault(f"{raw};u1;1,00;new;{_DAY}", "pattern-mismatch", "order_id", note)


def _amount(raw: str, code: str = "not-a-number", note: str = _NUMBER) -> Fault:
    return fault(f"AB-{{n}};u1;{raw};new;{_DAY}", code, "amount", note)


def _time(raw: str, code: str = "not-a-datetime", note: str = _TIME) -> Fault:
    return fault(f"AB-{{n}};u1;1,00;new;{raw}", code, "updated_at", note)


FAULTS = (
    _order_id("AB-0{n}", "as a whole"),
    _order_id("xAB-{n}", "as a whole"),
    _order_id("AB-{n}x", "as a whole"),
    _order_id("AB-0001"),
    _order_id("ab-{n}", "letter case"),
    _order_id("AB_{n}"),
    _order_id('"AB-{n}\n\nx"'),
    _order_id("AB-\uff10\uff11\uff12\uff13\uff14\uff15"),
    fault(f";u1;1,00;new;{_DAY}", "missing-cell", "order_id", "Fill in order_id"),
    fault(f"NULL;u1;1,00;new;{_DAY}", "missing-cell", "order_id", "Fill in order_id"),
    fault(f"AB-{{n}};;1,00;new;{_DAY}", "missing-cell", "user_id", "Fill in user_id"),
    fault(f"AB-{{n}};  ;1,00;new;{_DAY}", "missing-cell", "user_id", "Fill in user_id"),
    _amount("1.00", note="three digits"),
    _amount("1.2345,00", note="three digits"),
    _amount(".123,00"),
    _amount("1,2,3"),
    _amount("12a", note="units and currencies"),
    _amount("5 €", note="units and currencies"),
    _amount("\uff11,00"),
    _amount("NaN"),
    _amount("--1"),
    _amount("1,005", "too-many-decimals", "numeric(12,2)"),
    _amount("0,0000001", "too-many-decimals", "numeric(12,2)"),
    _amount("12345678901,00", "number-out-of-range", "numeric(12,2)"),
    _amount("10.000.000.000", "number-out-of-range", "numeric(12,2)"),
    _amount("-0,01", "below-minimum", "at least 0"),
    fault(f"AB-{{n}};u1;1,00;New;{_DAY}", "not-in-enum", "status", "letter case"),
    fault(f"AB-{{n}};u1;1,00;lost;{_DAY}", "not-in-enum", "status", "returned"),
    _time("30.02.2024 10:00:00", note="no such date and time"),
    _time("29.02.2023 10:00:00", note="no such date and time"),
    _time("28.02.2024 24:00:00"),
    _time("28.02.2024 10:00"),
    _time("28.02.24 10:00:00"),
    _time("02/28/2024 10:00:00"),
    _time("2024-02-28 10:00:00"),
    _time("31.03.2024 02:30:00", "nonexistent-time", "Europe/Berlin"),
    _time("31.03.2024 02:00:00", "nonexistent-time", "Europe/Berlin"),
    fault("AB-{n};u1;1,00;new", "short-row", None, "Add the missing cells"),
    fault("AB-{n}", "short-row", None, "Add the missing cells"),
    fault(f"AB-{{n}};u1;1,00;new;{_DAY};x", "long-row", None, "Remove the extra cells"),
    fault(f'AB-{{n}};"u1;1,00;new;{_DAY}', "unclosed-quote", None, _QUOTE),
    fault(f'AB-{{n}};"u"1;1,00;new;{_DAY}', "unclosed-quote", None, _QUOTE),
    fault(f"AB-{{n}};u\0;1,00;new;{_DAY}", "nul-byte", "user_id", "Remove the NUL character"),
    fault(
        f"AB-{{n}};{'u' * (MAX_BYTES + 1)};1,00;new;{_DAY}",
        "cell-too-long",
        "user_id",
        "2,680 bytes",
    ),
    fault(f"AB-{{n}};u\udc81;1,00;new;{_DAY}", "undecodable", None, "neither UTF-8 nor cp1252"),
    Fault(
        f"ab{{n}};;x;lost;{_DAY}x",
        (
            ("pattern-mismatch", "order_id", _PATTERN),
            ("missing-cell", "user_id", "Fill in user_id"),
            ("not-a-number", "amount", _NUMBER),
            ("not-in-enum", "status", "returned"),
            ("not-a-datetime", "updated_at", _TIME),
        ),
    ),
)

# Of fifty rows, the one with a time that occurs twice, and one in the first form of `_EDGES`.
_AMBIGUOUS = 7
_EDGE = 21

# Valid cells that resemble faults, by column, with their values.
_EDGES: tuple[tuple[str, str, object], ...] = (
    ("amount", "9.999.999.999,99", Decimal("9999999999.99")),
    ("amount", "1,5000", Decimal("1.50")),
    ("amount", "+7", Decimal("7.00")),
    ("amount", " 0 ", Decimal("0.00")),
    ("amount", "-0,00", Decimal("0.00")),
    ("user_id", "Zoë\u00a0\U0001f600", "Zoë\u00a0\U0001f600"),
    ("user_id", "null", "null"),
    ("user_id", "u" * MAX_BYTES, "u" * MAX_BYTES),
    ("updated_at", "31.03.2024 03:00:00", datetime(2024, 3, 31, 1, tzinfo=UTC)),
    ("updated_at", "31.03.2024 01:59:59", datetime(2024, 3, 31, 0, 59, 59, tzinfo=UTC)),
    ("updated_at", "29.02.2024 00:00:00", datetime(2024, 2, 28, 23, tzinfo=UTC)),
)


def orders_file(
    count: int,
    *,
    fault_every: int = 0,
    start: int = 0,
    how: Writing = CRLF,
    faults: tuple[Fault, ...] = FAULTS,
) -> PlantedFile:
    """A file of `count` valid rows, after each `fault_every` of which one faulty row follows.

    `start` is the number of its first row. If all faults are plain, so are the valid rows: nothing
    in the file is quoted.
    """
    writer = FileWriter(HEADER, COLUMNS, ";", how)
    kinds = cycle(faults)
    is_plain = all(kind.is_plain for kind in faults)
    for number in range(start, start + count):
        cells, values = _order(number, is_plain=is_plain)
        line = writer.add(cells, values)
        if number % 50 == _AMBIGUOUS:
            writer.warn(line, "ambiguous-time", "updated_at", cells[-1], "occurs twice")
        if fault_every and (number + 1) % fault_every == 0:
            writer.plant(next(kinds), number)
    return writer.end()


def _order(number: int, *, is_plain: bool) -> tuple[list[str], Order]:
    """The cells of an order as a spreadsheet writes them, and its values."""
    order_id, user_id = f"AB-{number:06d}", f"u{number % 97}"
    if number % 11 == 0 and not is_plain:
        user_id = f'u "{number}";\nx'  # quoted in the file, over two lines
    amount = None if number % 13 == 0 else Decimal(number * 7_919 % 100_000_000).scaleb(-2)
    status = None if number % 17 == 0 else STATUSES[number % 4]
    written, moment = _time_of(number)
    cells = {
        "order_id": f" {order_id} " if number % 5 == 0 else order_id,
        "user_id": user_id,
        "amount": "NULL" if amount is None else _german(amount, is_grouped=number % 2 == 0),
        "status": status or "",
        "updated_at": f"{written:%d.%m.%Y %H:%M:%S}" if written else "",
    }
    values: dict[str, object] = dict(
        zip(COLUMNS, (order_id, user_id, amount, status, moment), strict=True)
    )
    if number % 50 == _EDGE:
        column, text, value = _EDGES[number // 50 % len(_EDGES)]
        cells[column], values[column] = text, value
    return list(cells.values()), tuple(values.values())  # type: ignore[return-value]


def _time_of(number: int) -> tuple[datetime | None, datetime | None]:
    """The local time of an order, and the same in UTC; None if it has none."""
    if number % 50 == _AMBIGUOUS:
        written = datetime(2024, 10, 27, 2, 30, number % 60, tzinfo=BERLIN)
        return written, written.replace(fold=0).astimezone(UTC)
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number * 61)
    written = moment.astimezone(BERLIN)
    if number % 19 == 0 or _is_ambiguous(written):
        return None, None
    return written, moment


def _is_ambiguous(moment: datetime) -> bool:
    return moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()


def _german(amount: Decimal, *, is_grouped: bool) -> str:
    text = f"{amount:,.2f}" if is_grouped else f"{amount:.2f}"
    return text.translate(str.maketrans(",.", ".,"))
