"""A declared dataset of twelve typed columns: first loads, checks of a file, faults found."""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv

from bench import bare, faults, objects, order_data
from bench.figures import Figure, Target, figure
from bench.memory import memory
from bench.runs import Checked, Measured, check, run
from bench.stack import Stack, bulk_store, execute
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
CHECK_FACTOR = 1.0
ARROW_SHARE = 0.18
K = 1_000


class Orders:
    """One bucket with all orders in a number of files."""

    def __init__(self, stack: Stack, scale: Scale, files: int) -> None:
        self._stack = stack
        self._count = scale.big_rows
        self._repeats = scale.repeats
        self._bucket = stack.bucket(f"orders-{files}")
        store = bulk_store(stack.settings, self._bucket)
        objects.upload(store, order_data.csvs(self._count, files))
        number = f"{files} CSVs" if files > 1 else "one CSV"
        self.what = f"{number} of {self._count:,} orders, 12 columns"
        self.copies: list[float] = []
        self.duckdb = Tool("duckdb_orders", self._count, order_data.TABLE)

    def baselines(self, settings: Settings) -> None:
        """Measure the baselines once more."""
        self.copies.append(bare.sorted_copy_of_orders(settings, self._count))
        self.duckdb.time(settings, f"{order_data.PREFIX}*.csv")

    def first(self) -> list[Measured]:
        """First runs, each after one measurement of the baselines."""
        runs = list[Measured]()
        settings = self._stack.fresh(self._bucket)
        for number in range(self._repeats):
            if number:
                self._stack.drop(settings)
                settings = self._stack.fresh(self._bucket)
            self.baselines(settings)
            self._stack.settle()
            runs.append(run(settings, order_data.DECLARATION))
        check_alike(settings)
        return runs

    def figures(self, runs: list[Measured]) -> Iterator[Figure]:
        """The first runs compared with the baselines."""
        what, seconds = f"{self.what}, first run", [item.seconds for item in runs]
        yield figure(
            DATASET,
            what,
            "s",
            seconds,
            baseline="sorted COPY, same table and indexes",
            baseline_samples=self.copies,
            target=Target(COPY_FACTOR, of="COPY"),
            note=steps(runs[-1]),
        )
        yield figure(
            DATASET,
            what,
            "s",
            seconds,
            baseline="DuckDB into the same table and indexes",
            baseline_samples=self.duckdb.seconds,
            target=Target(DUCKDB_FACTOR, of="DuckDB"),
            note=self.duckdb.why_not or f"peak memory {self.duckdb.peak_mb:.0f} MB",
        )
        yield memory(what, runs)


_COLUMNS = (
    "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
    " WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname"
)
_INDEXED = (
    "SELECT indkey_names FROM (SELECT indexrelid, (SELECT string_agg(attname, ',' ORDER BY attnum)"
    " FROM pg_attribute WHERE attrelid = indexrelid) AS indkey_names FROM pg_index"
    " WHERE indrelid = '{}'::regclass) AS found ORDER BY 1"
)


def check_alike(settings: Settings) -> None:
    """Check that the baselines' table has the columns and indexes of Bucketline's.

    Raises:  RuntimeError when it has others.
    """
    for question in (_COLUMNS, _INDEXED):
        ours, theirs = (execute(settings, question.format(name)) for name in (DATASET, "copied"))
        if ours != theirs:
            raise RuntimeError(f"The tables differ: {ours} and {theirs}")


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
    """Measure first loads of one file and of many."""
    for files in (1, MANY_FILES):
        loads = Orders(stack, scale, files)
        yield from loads.figures(loads.first())


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
