"""Scenarios of many tiny CSVs: a first run, one without changes, one with 1 % changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import bare, objects
from bench.figures import Figure, Target, figure
from bench.memory import memory
from bench.runs import Measured, run
from bench.stack import Stack, bulk_store, execute
from bench.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale
    from etl.settings import Settings

FIRST_FACTOR = 1.20
LIST_FACTOR = 1.30
CHANGE_ALLOWANCE_SECONDS = 0.5
WAL_BYTES = 256 * 1024
GLOB_FACTOR = 0.4


class Tiny:
    """One bucket of tiny CSVs and images for repeated runs."""

    def __init__(self, stack: Stack, scale: Scale) -> None:
        self._stack = stack
        self._scale = scale
        self._bucket = stack.bucket("tiny")
        self._store = bulk_store(stack.settings, self._bucket)
        objects.upload(self._store, objects.tiny_csvs(scale.tiny_csvs))
        objects.upload(self._store, objects.images(scale.tiny_images))
        self._keys = [key for key, _ in objects.tiny_csvs(scale.tiny_csvs)]
        self._way, self._get = bare.best_getter(self._store, self._keys)
        self._size = f"{scale.tiny_csvs:,} CSVs + {scale.tiny_images:,} images"

    def figures(self) -> Iterator[Figure]:
        """First run, nothing changed, one percent changed."""
        first, settings = self._first()
        yield from first
        yield from self._unchanged(settings)
        yield from self._changed(settings)

    def _first(self) -> tuple[list[Figure], Settings]:
        baselines, runs = [], []
        settings = self._stack.fresh(self._bucket)
        for number in range(self._scale.slow_repeats):
            baselines.append(bare.list_seconds(self._store) + self._get(self._store, self._keys))
            if number:
                self._stack.drop(settings)
                settings = self._stack.fresh(self._bucket)
            self._stack.settle()
            runs.append(run(settings))
        what = f"{self._size}, first run"
        shown = figure(
            "tiny",
            what,
            "s",
            [item.seconds for item in runs],
            baseline=f"LIST + GET, {self._way}",
            baseline_samples=baselines,
            target=Target(FIRST_FACTOR),
            says=f"≤ {FIRST_FACTOR:.2f} × LIST + GET",
            note=steps(runs[-1]),
        )
        return [shown, memory(what, runs)], settings

    def _unchanged(self, settings: Settings) -> list[Figure]:
        # Otherwise WAL written by autovacuum would be counted.
        execute(settings, "VACUUM ANALYZE")
        baselines, runs, wal = [], [], []
        for _ in range(self._scale.repeats):
            self._stack.settle()
            baselines.append(bare.list_seconds(self._store))
            before = _wal_position(settings)
            runs.append(run(settings))
            wal.append(_wal_position(settings) - before)
        what = f"{self._size}, nothing changed"
        return [
            figure(
                "tiny",
                what,
                "s",
                [item.seconds for item in runs],
                baseline="LIST",
                baseline_samples=baselines,
                target=Target(LIST_FACTOR),
                says=f"≤ {LIST_FACTOR:.2f} × LIST",
                note=steps(runs[-1]),
            ),
            figure(
                "tiny",
                f"{what}: WAL written",
                "KB",
                [size / 1000 for size in wal],
                target=Target(extra=WAL_BYTES / 1000),
                says=f"≤ {WAL_BYTES / 1000:.0f} KB",
            ),
            memory(what, runs),
        ]

    def _changed(self, settings: Settings) -> list[Figure]:
        baselines, runs = [], []
        for version in range(1, self._scale.repeats + 1):
            changed = list(objects.changed_csvs(self._scale.tiny_csvs, version))
            objects.upload(self._store, changed)
            self._stack.settle()
            keys = [key for key, _ in changed]
            baselines.append(bare.list_seconds(self._store) + self._get(self._store, keys))
            runs.append(run(settings))
        what = f"{self._size}, 1 % changed"
        shown = figure(
            "tiny",
            what,
            "s",
            [item.seconds for item in runs],
            baseline="LIST + GET of that 1 %",
            baseline_samples=baselines,
            target=Target(LIST_FACTOR, CHANGE_ALLOWANCE_SECONDS),
            says=f"≤ {LIST_FACTOR:.2f} × that + {CHANGE_ALLOWANCE_SECONDS} s",
            note=steps(runs[-1]),
        )
        return [shown, memory(what, runs)]


def tiny(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure the three kinds of run over one bucket."""
    return Tiny(stack, scale).figures()


def glob(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Only tiny CSVs, compared with a DuckDB glob over the same bucket."""
    bucket = stack.bucket("glob")
    objects.upload(bulk_store(stack.settings, bucket), objects.tiny_csvs(scale.glob_csvs))
    tool, runs = Tool("duckdb_glob", scale.glob_csvs), []
    for _ in range(scale.slow_repeats):
        settings = stack.fresh(bucket)
        tool.time(settings)
        stack.settle()
        runs.append(run(settings))
        stack.drop(settings)
    what = f"{scale.glob_csvs:,} tiny CSVs, first run"
    shown = figure(
        "glob",
        what,
        "s",
        [item.seconds for item in runs],
        baseline="DuckDB, glob into PostgreSQL",
        baseline_samples=tool.seconds,
        target=Target(GLOB_FACTOR, of="DuckDB"),
        note=tool.why_not or steps(runs[-1]),
    )
    yield shown
    yield memory(what, runs)


def steps(measured: Measured) -> str:
    """The step timings of one run."""
    return ", ".join(f"{name} {seconds:.2f}" for name, seconds in measured.steps.items())


def _wal_position(settings: Settings) -> int:
    return int(execute(settings, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")[0][0])
