# ruff: noqa: INP001 - a script, not part of a package
"""Make the second sample, data/datasets/shop: the orders of a shop, and readings of its sensors.

    python data/make_shop.py [FOLDER]

writes it into FOLDER (by default datasets/shop, next to this file), always with the same rows.
data/datasets/datasets.toml declares both datasets. A first run on it loads 297 orders and 717
readings, and shows the problems that such exports have:

orders    three months of CSV, compressed, with semicolons, German numbers and local times;
          five orders of February are in the file of March, too, in a later state
readings  of two sites: a day of Ulm in Parquet, whose second file has a column more, and a day of
          Bonn in NDJSON
bad rows  an amount in the wrong notation, a status that is none, a time that the clocks skipped;
          in NDJSON a temperature as a text, NaN, and a line that was cut
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable

BERLIN = ZoneInfo("Europe/Berlin")
HEADER = ("Bestellnummer", "Kunde", "Betrag", "Status", "Stand")
STATUSES = ("new", "paid", "sent", "returned")
ORDERS_OF_MONTH = 100
CHANGED = 5  # orders of February that March has again
READINGS = 240  # of a sensor and day, one in six minutes
FAULTS = {
    1: [("AB-000901", "1000", "12.50", "new", "15.01.2024 09:00:00")],
    2: [("AB-000902", "1001", "99,00", "lost", "15.02.2024 09:00:00")],
    3: [("AB-000903", "1002", "7,10", "paid", "31.03.2024 02:30:00")],
}


def order(number: int, month: int, status: str) -> tuple[str, ...]:
    """One order as a spreadsheet writes it."""
    amount = f"{Decimal(number * 7_919 % 400_000).scaleb(-2):,.2f}"
    day = datetime(2024, month, 1 + number % 28, number % 24, number * 7 % 60, tzinfo=BERLIN)
    return (
        f"AB-{number:06d}",
        str(1000 + number % 45),
        amount.translate(str.maketrans(",.", ".,")) if number % 20 else "NULL",
        status,
        f"{day:%d.%m.%Y %H:%M:%S}",
    )


def orders(month: int) -> bytes:
    """The file of a month."""
    first = (month - 1) * ORDERS_OF_MONTH
    numbers = range(first + 1, first + ORDERS_OF_MONTH)
    rows = [order(number, month, STATUSES[number % 3]) for number in numbers]
    if month == max(FAULTS):
        changed = range(first - CHANGED, first)
        rows += [order(number, month, STATUSES[-1]) for number in changed]
    return semicolons([HEADER, *rows, *FAULTS[month]])


def semicolons(rows: Iterable[Iterable[str]]) -> bytes:
    """The rows as compressed CSV; the time of compression is left out."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";").writerows(rows)
    return gzip.compress(text.getvalue().encode(), mtime=0)


def moments(day: int) -> list[datetime]:
    """The times of a day's readings."""
    start = datetime(2024, 3, day, tzinfo=UTC)
    return [start + timedelta(minutes=6 * number) for number in range(READINGS)]


def celsius(number: int, least: float) -> float:
    """A temperature that rises until the afternoon."""
    return round(least + 10 - abs(number - 140) / 14 + number * 7 % 5 / 10, 1)


def parquet(day: int, *, has_battery: bool) -> bytes:
    """The readings of a sensor in Ulm."""
    columns = {
        "sensor": pa.array([f"U{day}"] * READINGS),
        "measured_at": pa.array(moments(day), pa.timestamp("us", "UTC")),
        "celsius": pa.array([celsius(number, 4.0) for number in range(READINGS)]),
    }
    if has_battery:
        columns["battery"] = pa.array([100 - number // 24 for number in range(READINGS)])
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def ndjson(day: int) -> bytes:
    """The readings of a sensor in Bonn, three of them faulty, and a last one cut short."""
    lines = []
    for number, moment in enumerate(moments(day)):
        reading = {"sensor": "B1", "measured_at": moment.isoformat()}
        lines.append(json.dumps(reading | {"celsius": celsius(number, 2.5)}))
    lines[50] = '{"sensor": "B1", "measured_at": "2024-03-01T05:00:00Z", "celsius": "warm"}'
    lines[100] = '{"sensor": "B1", "measured_at": "2024-03-01T10:00:00Z", "celsius": NaN}'
    lines[150] = '{"sensor": "B1", "measured_at": "2024-03-01T15:00:00Z", "celsius": 85.0}'
    return "\n".join([*lines, '{"sensor": "B1", "measu']).encode()


def sample() -> dict[str, bytes]:
    """The contents of all files by their paths."""
    files = {f"orders/2024/{month:02}.csv.gz": orders(month) for month in FAULTS}
    files["sensors/Ulm/2024-03-01.parquet"] = parquet(1, has_battery=False)
    files["sensors/Ulm/2024-03-02.parquet"] = parquet(2, has_battery=True)
    files["sensors/Bonn/2024/03-01.ndjson"] = ndjson(1)
    return files


def main() -> None:
    """Write the files."""
    default = Path(__file__).parent / "datasets" / "shop"
    folder = Path(sys.argv[1]) if sys.argv[1:] else default
    for path, content in sample().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


if __name__ == "__main__":
    main()
