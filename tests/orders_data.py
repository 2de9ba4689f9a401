"""The dataset `orders` of the documentation, and files of it with planted faults.

`orders_file` makes one file: the CSV, the values of every valid row, and every planted fault with
its line. All of it is computed here with the standard library, without the readers under test.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from etl.model.dataset import Constraints, Dataset, Dialect, Field, FieldType

if TYPE_CHECKING:
    from collections.abc import Iterator

BERLIN = ZoneInfo("Europe/Berlin")
HEADER = ("Bestellnummer", "user_id", "amount", "status", "updated_at")
STATUSES = ("new", "paid", "sent", "returned")

ORDERS = Dataset(
    name="orders",
    table="orders",
    include=("orders/**/*.csv",),
    exclude=("orders/tmp/**",),
    primary_key=("order_id",),
    missing_values=("", "NULL"),
    prefer="updated_at",
    refuse_object_above=Fraction(1, 10),
    dialect=Dialect(delimiter=";"),
    indexes=(("user_id",), ("updated_at",)),
    publish=("orders.csv", "orders.parquet"),
    fields=(
        Field(
            name="order_id",
            aliases=("Order No", "Bestellnummer"),
            constraints=Constraints(required=True, pattern="[A-Z]{2}-[0-9]{6}"),
        ),
        Field(name="user_id", constraints=Constraints(required=True)),
        Field(
            name="amount",
            type=FieldType.NUMBER,
            decimal_char=",",
            group_char=".",
            sql="numeric(12,2)",
            constraints=Constraints(minimum=Decimal(0)),
        ),
        Field(name="status", constraints=Constraints(enum=STATUSES)),
        Field(
            name="updated_at",
            type=FieldType.DATETIME,
            format="%d.%m.%Y %H:%M:%S",
            timezone="Europe/Berlin",
        ),
    ),
)

# The raw line of a row with one fault, and the code and column of its problem. {n} is the row's
# number in six digits, {day} a date and time that exists once.
FAULTS: tuple[tuple[str, str, str | None], ...] = (
    ("AB-0{n};u1;1,00;new;{day}", "pattern-mismatch", "order_id"),
    ("xAB-{n};u1;1,00;new;{day}", "pattern-mismatch", "order_id"),
    ("AB-0001;u1;1,00;new;{day}", "pattern-mismatch", "order_id"),
    ("ab-{n};u1;1,00;new;{day}", "pattern-mismatch", "order_id"),
    ('"AB-{n}\n\nx";u1;1,00;new;{day}', "pattern-mismatch", "order_id"),
    ("AB-\uff10\uff11\uff12\uff13\uff14\uff15;u1;1,00;new;{day}", "pattern-mismatch", "order_id"),
    (";u1;1,00;new;{day}", "missing-cell", "order_id"),
    ("NULL;u1;1,00;new;{day}", "missing-cell", "order_id"),
    ("AB-{n};;1,00;new;{day}", "missing-cell", "user_id"),
    ("AB-{n};u1;1.00;new;{day}", "not-a-number", "amount"),
    ("AB-{n};u1;1.2345,00;new;{day}", "not-a-number", "amount"),
    ("AB-{n};u1;12a;new;{day}", "not-a-number", "amount"),
    ("AB-{n};u1;\uff11,00;new;{day}", "not-a-number", "amount"),
    ("AB-{n};u1;1,005;new;{day}", "too-many-decimals", "amount"),
    ("AB-{n};u1;12345678901,00;new;{day}", "number-out-of-range", "amount"),
    ("AB-{n};u1;-0,01;new;{day}", "below-minimum", "amount"),
    ("AB-{n};u1;1,00;New;{day}", "not-in-enum", "status"),
    ("AB-{n};u1;1,00;new;30.02.2024 10:00:00", "not-a-datetime", "updated_at"),
    ("AB-{n};u1;1,00;new;2024-02-28 10:00:00", "not-a-datetime", "updated_at"),
    ("AB-{n};u1;1,00;new;31.03.2024 02:30:00", "nonexistent-time", "updated_at"),
    ("AB-{n};u1;1,00;new", "short-row", None),
    ("AB-{n};u1;1,00;new;{day};x", "long-row", None),
    ('AB-{n};"u1;1,00;new;{day}', "unclosed-quote", None),
    ("AB-{n};u\0;1,00;new;{day}", "nul-byte", "user_id"),
)


@dataclass
class OrdersFile:
    """One file of orders.

    Shapes:  rows: by line, (order_id, user_id, amount, status, updated_at) of each valid row;
             the time is aware, in UTC. problems: (line, column, code) of each planted fault and
             each warning of a row.
    """

    content: bytes
    rows: dict[int, tuple[str, str, Decimal | None, str | None, datetime | None]]
    problems: set[tuple[int, str | None, str]] = field(default_factory=set)

    @property
    def rows_read(self) -> int:
        """The number of valid and of faulty rows."""
        return len(self.rows) + len(self.rejected)

    @property
    def rejected(self) -> set[int]:
        """The lines of the faulty rows."""
        return {line for line, _, _ in self.problems} - set(self.rows)


def orders_file(count: int, *, fault_every: int = 0, start: int = 0) -> OrdersFile:
    """A file of `count` valid rows, after each `fault_every` of which one faulty row follows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=";", lineterminator="\r\n")
    writer.writerow(HEADER)
    made = OrdersFile(b"", {})
    faults = _faults()
    line = 2
    for number in range(start, start + count):
        cells, value = _order(number)
        writer.writerow(cells)
        made.rows[line] = value
        if value[4] is not None and number % 50 == _AMBIGUOUS:
            made.problems.add((line, "updated_at", "ambiguous-time"))
        line += 1 + sum(cell.count("\n") for cell in cells)
        if fault_every and (number + 1) % fault_every == 0:
            raw, code, column = next(faults)
            text = raw.format(n=f"{number:06d}", day="28.02.2024 10:00:00")
            buffer.write(text + "\r\n")
            made.problems.add((line, column, code))
            line += 1 + text.count("\n")
    made.content = buffer.getvalue().encode()
    return made


_AMBIGUOUS = 7  # of fifty rows, the one with a time that occurs twice


def _faults() -> Iterator[tuple[str, str, str | None]]:
    while True:
        yield from FAULTS


def _order(
    number: int,
) -> tuple[list[str], tuple[str, str, Decimal | None, str | None, datetime | None]]:
    """The cells of an order as a spreadsheet writes them, and its values."""
    order_id, user_id = f"AB-{number:06d}", f"u{number % 97}"
    if number % 11 == 0:
        user_id = f'u "{number}";\nx'  # quoted in the file, over two lines
    amount = None if number % 13 == 0 else Decimal(number * 7_919 % 100_000_000) / 100
    status = None if number % 17 == 0 else STATUSES[number % 4]
    moment: datetime | None = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number * 61)
    written = moment.astimezone(BERLIN) if moment else None
    if number % 50 == _AMBIGUOUS:
        written = datetime(2024, 10, 27, 2, 30, number % 60, tzinfo=BERLIN)  # occurs twice
        moment = written.replace(fold=0).astimezone(UTC)
    elif written is None or number % 19 == 0 or _is_ambiguous(written):
        moment, written = None, None
    cells = [
        f" {order_id} " if number % 5 == 0 else order_id,
        user_id,
        "NULL" if amount is None else _german(amount, is_grouped=number % 2 == 0),
        status or "",
        f"{written:%d.%m.%Y %H:%M:%S}" if written else "",
    ]
    return cells, (order_id, user_id, amount, status, moment)


def _is_ambiguous(moment: datetime) -> bool:
    return moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()


def _german(amount: Decimal, *, is_grouped: bool) -> str:
    text = f"{amount:,.2f}" if is_grouped else f"{amount:.2f}"
    return text.translate(str.maketrans(",.", ".,"))
