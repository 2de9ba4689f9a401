"""A declared dataset of twelve typed columns: first loads, checks of a file, faults found."""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv

from bench import faults, objects, order_data
from bench.figures import Figure, Target, figure
from bench.loads import Loads, Rival, Source, filled, take_in_turn
from bench.runs import Checked, Measured, check, run
from bench.stack import Stack, bulk_store
from bench.tiny import steps
from bench.tools import PYTHON, Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale
    from etl.settings import Settings

DATASET = "orders"
CHECKS = "checks"
MANY_FILES = 50
COPY_FACTOR = 1.3
DUCKDB_FACTOR = 1.0
GZIP_FACTOR = 1.15
CHECK_FACTOR = 1.0
ARROW_SHARE = 0.18
K = 1_000


SOURCE = Source(DATASET, order_data.DECLARATION, order_data.TABLE, order_data.ZONE)


def _loads(stack: Stack, scale: Scale, files: int) -> Loads:
    """First loads of all orders in this number of CSVs, with their baselines."""
    count = scale.big_rows
    number = f"{files} CSVs" if files > 1 else "one CSV"
    loads = Loads(
        f"{number} of {count:,} orders, 12 columns",
        SOURCE,
        filled(stack, f"orders-{files}", order_data.csvs(count, files)),
        [_duckdb(count, "*.csv")],
        order_data.rows(count),
        COPY_FACTOR,
    )
    if files == 1:
        loads.rivals = [*loads.rivals, *_of_one_file(count)]
    return loads


def _duckdb(count: int, pattern: str, factor: float | None = DUCKDB_FACTOR) -> Rival:
    tool = Tool("duckdb_orders", count, order_data.TABLE)
    name = "DuckDB into the same table and indexes"
    return Rival(name, tool, f"{order_data.PREFIX}{pattern}", factor)


def _of_one_file(count: int) -> list[Rival]:
    """The tools that make a table of their own."""
    (one,) = order_data.csvs(1, 1)
    return [
        Rival(
            "sling full-refresh, amounts and times as text, a primary key",
            Tool("sling_orders", count),
            one.key,
            is_slow=True,
        ),
        Rival(
            "dlt with Arrow, its own columns, a unique key",
            Tool("dlt_orders", count),
            one.key,
            is_slow=True,
        ),
    ]


def _compressed(stack: Stack, scale: Scale) -> Loads:
    """First loads of all orders in one compressed CSV."""
    count = scale.big_rows
    return Loads(
        f"one CSV.gz of {count:,} orders, 12 columns",
        SOURCE,
        filled(stack, "orders-gz", order_data.csvs(count, 1, is_compressed=True)),
        [_duckdb(count, "*.csv.gz", None)],
    )


def _compared_with_plain(compressed: Loads, plain: Loads) -> Figure:
    return figure(
        DATASET,
        f"{compressed.what}, first run",
        "s",
        compressed.seconds,
        baseline="the same CSV, not compressed",
        baseline_samples=plain.seconds,
        target=Target(GZIP_FACTOR, of="CSV"),
        note=steps(compressed.runs[-1]),
    )


class Checks:
    """The command `check` with a file of `count` orders.

    The time for a file of one order is subtracted, so that reading and checking remain. After each
    check, pyarrow reads the same orders.
    """

    def __init__(self, folder: Path, count: int, *, quotes: bool) -> None:
        self._count = count
        self._large, self._small, self._ungrouped = (
            folder / f"{name}-{quotes}.csv" for name in ("large", "small", "ungrouped")
        )
        self._large.write_bytes(order_data.one_csv(count, quotes=quotes))
        self._small.write_bytes(order_data.one_csv(1))
        self._ungrouped.write_bytes(order_data.one_csv(count, quotes=quotes, is_grouped=False))
        self._what = f"{count:,} orders{', 29 % with a quoted cell' if quotes else ''}"
        self._taken: list[tuple[Checked, Checked]] = []
        self._arrow: list[float] = []

    def take(self, settings: Settings) -> None:
        """Check both files, and read the orders with pyarrow."""
        large, small = (
            check(settings, one, DATASET, order_data.DECLARATION)
            for one in (self._large, self._small)
        )
        self._taken.append((large, small))
        self._arrow.append(self._count / K / arrow_seconds(self._ungrouped.read_bytes()))

    def compared_with_run(self, runs: list[Measured]) -> Figure:
        """Seconds, compared with the steps of a run that read the same rows.

        A run reads while it stages, so that both steps together are the time that reading takes.
        """
        return figure(
            CHECKS,
            f"check of a file of {self._what}, less that of one order",
            "s",
            [large.whole_seconds - small.whole_seconds for large, small in self._taken],
            baseline="reading and staging in a run",
            baseline_samples=[item.steps["read"] + item.steps["stage"] for item in runs],
            target=Target(CHECK_FACTOR, of="those steps"),
            note=f"whole process {self._taken[-1][0].whole_seconds:.2f} s; {steps(runs[-1])}",
        )

    def compared_with_arrow(self) -> Figure:
        """Rows per second of processor time, compared with Arrow's reader."""
        return figure(
            CHECKS,
            f"read and check of {self._what}, CPU",
            "k rows/s",
            [self._count / K / (one.cpu_seconds - less.cpu_seconds) for one, less in self._taken],
            baseline="pyarrow.csv with the same types, one thread",
            baseline_samples=self._arrow,
            target=Target(ARROW_SHARE, at_least=True, of="pyarrow.csv"),
        )


_ARROW_TYPES = {
    "order_id": pa.string(),
    "user_id": pa.string(),
    "amount": order_data.MONEY,
    "status": pa.string(),
    "updated_at": pa.timestamp("s"),
    "quantity": pa.int64(),
    "article": pa.int64(),
    "is_gift": pa.bool_(),
    "ordered_on": pa.date32(),
    "weight": pa.float64(),
    "country": pa.string(),
    "note": pa.string(),
}


def arrow_seconds(content: bytes) -> float:
    """The CPU seconds in which pyarrow.csv reads orders without groups, in one thread.

    It parses decimal commas and the format of the times. It knows no groups of thousands and no
    time zone, allows February 30, and stops at the first faulty cell.
    """
    started = time.process_time()
    found = csv.read_csv(
        io.BytesIO(content),
        csv.ReadOptions(use_threads=False),
        csv.ParseOptions(delimiter=";"),
        csv.ConvertOptions(
            column_types=_ARROW_TYPES,
            decimal_point=",",
            timestamp_parsers=[order_data.TIME_FORMAT],
            true_values=["true"],
            false_values=["false"],
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    seconds = time.process_time() - started
    if found.schema.types != list(_ARROW_TYPES.values()):
        raise RuntimeError(f"pyarrow.csv read other types: {found.schema}")
    return seconds


def faults_found(settings: Settings) -> Iterator[Figure]:
    """The faulty lines of a file that Bucketline reports, and those that DuckDB reports."""
    planted = faults.faulty_orders()
    with tempfile.TemporaryDirectory(prefix="bucketline-bench-") as folder:
        path = Path(folder) / "faulty.csv"
        path.write_bytes(planted.content)
        theirs = set().union(*faults.ask_duckdb(path).values()) if PYTHON.exists() else set()
        ours = check(settings, path, DATASET, order_data.DECLARATION).lines
    faulty = frozenset().union(*planted.lines.values())
    yield figure(
        CHECKS,
        f"faulty lines found of {len(faulty)}",
        "lines",
        [len(ours & faulty)],
        baseline="DuckDB, store_rejects",
        baseline_samples=[len(theirs & faulty)] if theirs else [],
        target=Target(1.0, at_least=True, of="DuckDB"),
        note=f"{len(ours - faulty)} lines without a fault" if theirs else "not installed",
    )
    yield figure(
        CHECKS,
        "lines that DuckDB rejects, of which the check reports",
        "lines",
        [len(theirs & ours)],
        baseline="DuckDB, store_rejects",
        baseline_samples=[len(theirs)] if theirs else [],
        target=Target(1.0, at_least=True, of="DuckDB"),
        note="" if theirs else "not installed",
    )


def orders(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure first loads of one file, of the same file compressed, and of many files."""
    plain, compressed, many = (
        _loads(stack, scale, 1),
        _compressed(stack, scale),
        _loads(stack, scale, MANY_FILES),
    )
    take_in_turn(stack, scale, [plain, compressed, many])
    yield from plain.figures()
    yield _compared_with_plain(compressed, plain)
    yield from compressed.figures()
    yield from many.figures()


def checks(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure checks of a file, next to runs that read it, and the faults found."""
    bucket = stack.bucket("checks")
    objects.upload(bulk_store(stack.settings, bucket), order_data.csvs(scale.big_rows, 1))
    settings = stack.fresh(bucket)
    runs = list[Measured]()
    with tempfile.TemporaryDirectory(prefix="bucketline-bench-") as folder:
        plain, quoted = (
            Checks(Path(folder), scale.big_rows, quotes=quotes) for quotes in (False, True)
        )
        for _ in range(scale.repeats):
            stack.drop(settings)
            settings = stack.fresh(bucket)
            runs.append(run(settings, order_data.DECLARATION))
            plain.take(settings)
            quoted.take(settings)
    yield plain.compared_with_run(runs)
    yield plain.compared_with_arrow()
    yield quoted.compared_with_arrow()
    yield from faults_found(settings)
