"""The data of the `orders` scenario: rows of twelve typed columns, their CSVs and table.

The CSVs are those of a German export: semicolons, decimal commas, groups of thousands, and times in
the format and zone of the declaration. Every row is valid. The same seed gives the same bytes.
"""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.objects import CHANGED_EVERY, SEED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

PREFIX = "orders/"
PREFIX_ROWS = 1_000_000  # as many orders as six digits number
STATUSES = ("new", "paid", "sent", "returned")
COUNTRIES = ("AT", "CH", "CZ", "DE", "DK", "FR", "NL", "PL")
NOTES = ("", "", "Bitte klingeln", "Grüße aus Köln", "leave it")
NOTES_TO_QUOTE = ("links; hinten", 'Etage "2"')
DATE_FORMAT = "%d.%m.%Y"
TIME_FORMAT = f"{DATE_FORMAT} %H:%M:%S"
ZONE = "Europe/Berlin"
DAY_S = 86_400
EPOCH = date(1970, 1, 1).toordinal()
FIRST_DAY = date(2020, 1, 1).toordinal() - EPOCH
DAYS = 2_000
OPEN_FROM_S, OPEN_TO_S = 6 * 3600, 22 * 3600  # by day, when no clock is changed
NULL_SHARE = 10  # one in so many rows
GZIP_LEVEL = 6
MONEY = pa.decimal128(12, 2)

DECLARATION = Path(__file__).with_name("orders.toml")

# The columns, types and indexes of the table that Bucketline makes of the declaration.
TABLE = """CREATE TABLE {0} (
    order_id text COLLATE "C" PRIMARY KEY, user_id text NOT NULL, amount numeric(12,2), status text,
    updated_at timestamptz, quantity bigint NOT NULL, article bigint, is_gift boolean,
    ordered_on date, weight double precision, country text, note text, _extra jsonb,
    _source_key text COLLATE "C" NOT NULL, _source_line integer NOT NULL, _run_id bigint NOT NULL,
    _updated_at timestamptz NOT NULL);
CREATE INDEX ON {0} (_source_key);
CREATE INDEX ON {0} (user_id);
CREATE INDEX ON {0} (updated_at)"""


class OneCsv(NamedTuple):
    """The key of an object and its content."""

    key: str
    content: bytes


def rows(count: int, version: int = 0, *, quotes: bool = False) -> pa.Table:
    """`count` orders by id, in PostgreSQL's types; other versions change one percent of amounts.

    `updated_at` has no zone: it is local time in Berlin. With `quotes`, some notes need them.
    """
    choose = np.random.default_rng(SEED)
    cents = choose.integers(0, 500_000, count)
    if version:
        cents[::CHANGED_EVERY] = 500_000 + version
    return pa.table(
        {
            "order_id": _order_ids(count),
            "user_id": _padded(choose.integers(0, 100_000, count), 7),
            "amount": pa.array(cents / 100).cast(MONEY),
            "status": _one_of(choose, STATUSES, count),
            "updated_at": _with_nulls(choose, _local_times(choose, count)),
            "quantity": pa.array(choose.integers(1, 100, count)),
            "article": pa.array(choose.integers(4_000_000_000_000, 4_100_000_000_000, count)),
            "is_gift": pa.array(choose.integers(0, 2, count).astype(bool)),
            "ordered_on": pa.array(_days(choose, count).astype("datetime64[D]")),
            "weight": _with_nulls(choose, pa.array(choose.integers(1, 10**6, count) / 1000)),
            "country": _one_of(choose, COUNTRIES, count),
            "note": _one_of(choose, NOTES + NOTES_TO_QUOTE if quotes else NOTES, count),
        }
    )


def one_csv(count: int, *, quotes: bool = False, is_grouped: bool = True) -> bytes:
    """All orders as one CSV, 100 bytes a row; with `quotes`, 29 % of the rows have a quoted cell.

    Without `is_grouped`, thousands are not separated, as readers require that know no groups.
    """
    return as_csv(rows(count, quotes=quotes), is_grouped=is_grouped)


def csvs(
    count: int, files: int, version: int = 0, *, is_compressed: bool = False
) -> Iterator[OneCsv]:
    """The orders in consecutive CSVs, all under PREFIX; compressed ones as gzip does by default."""
    whole = rows(count, version)
    step = -(-count // files)
    for number, start in enumerate(range(0, count, step)):
        one = OneCsv(f"{PREFIX}part-{number:03}.csv", as_csv(whole.slice(start, step)))
        yield OneCsv(f"{one.key}.gz", _zipped(one.content)) if is_compressed else one


def _zipped(content: bytes) -> bytes:
    return gzip.compress(content, GZIP_LEVEL, mtime=0)


def as_csv(orders: pa.Table, *, is_grouped: bool = True) -> bytes:
    """Orders from `rows` in the notation of the declaration; quotes are where they are needed."""
    amount = pc.replace_substring(orders["amount"].cast(pa.string()), ".", ",")
    if is_grouped:
        amount = pc.replace_substring_regex(amount, r"^(\d+)(\d{3},)", r"\1.\2")
    texts = {
        "amount": amount,
        "weight": pc.replace_substring(orders["weight"].cast(pa.string()), ".", ","),
        "updated_at": _in_time_format(orders["updated_at"].combine_chunks()),
        "note": _quoted(orders["note"]),
    }
    cells = [texts.get(name, orders[name]).cast(pa.string()) for name in orders.column_names]
    lines = pc.binary_join_element_wise(
        *cells, ";", null_handling="replace", null_replacement=""
    ).combine_chunks()
    body = pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "\n")[0].as_py()
    return f"{';'.join(orders.column_names)}\n{body}\n".encode()


def _in_time_format(times: pa.Array) -> pa.Array:
    """The times as TIME_FORMAT has them: each day and each second of a day is formatted once."""
    seconds = times.cast(pa.int64())
    days = pc.divide(seconds, DAY_S)
    of_day = pc.subtract(seconds, pc.multiply(days, DAY_S))
    dates = [format(date.fromordinal(EPOCH + FIRST_DAY + day), DATE_FORMAT) for day in range(DAYS)]
    clock = [f"{one // 3600:02}:{one // 60 % 60:02}:{one % 60:02}" for one in range(DAY_S)]
    return pc.binary_join_element_wise(
        pa.array(dates).take(pc.subtract(days, FIRST_DAY)), pa.array(clock).take(of_day), " "
    )


def _quoted(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    doubled = pc.replace_substring(texts, '"', '""')
    quoted = pc.binary_join_element_wise('"', doubled, '"', "")
    return pc.if_else(pc.match_substring_regex(texts, '[;"]'), quoted, texts)


def _order_ids(count: int) -> pa.Array:
    numbers = np.arange(count)
    letters = numbers // PREFIX_ROWS
    prefixes = pa.array([f"A{chr(ord('A') + one)}-" for one in range(int(letters[-1]) + 1)])
    digits = _padded(numbers % PREFIX_ROWS, 6)
    return pc.binary_join_element_wise(prefixes.take(pa.array(letters)), digits, "")


def _padded(numbers: np.ndarray, width: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width=width, padding="0")


def _one_of(choose: Generator, values: tuple[str, ...], count: int) -> pa.Array:
    """Any of the values; '' is null."""
    texts = pa.array([value or None for value in values])
    return texts.take(pa.array(choose.integers(0, len(values), count)))


def _days(choose: Generator, count: int) -> np.ndarray:
    return FIRST_DAY + choose.integers(0, DAYS, count)


def _local_times(choose: Generator, count: int) -> pa.Array:
    seconds = _days(choose, count) * DAY_S + choose.integers(OPEN_FROM_S, OPEN_TO_S, count)
    return pa.array(seconds.astype("datetime64[s]"))


def _with_nulls(choose: Generator, values: pa.Array) -> pa.Array:
    is_null = pa.array(choose.integers(0, NULL_SHARE, len(values)) == 0)
    return pc.if_else(is_null, pa.scalar(None, values.type), values)
