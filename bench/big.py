"""One CSV object of many users: loaded first, and again with one percent changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import bare, objects
from bench.figures import Figure, Target, figure
from bench.memory import memory
from bench.runs import Measured, run
from bench.stack import Stack, bulk_store
from bench.tiny import steps
from bench.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.scale import Scale
    from etl.settings import Settings

KEY = "big.csv"
COPY_FACTOR = 1.5
DUCKDB_FACTOR = 1.0
SLING_FACTOR = 0.5
INCREMENTAL_FACTOR = 0.4
WHOLE_FACTOR = 1.0
WHOLE_INCREMENTAL_FACTOR = 0.4

# Name, job, and the target: the share of its time that a run may take, if there is one.
_TOOLS = (
    ("DuckDB into the same table and indexes", "duckdb_alike", DUCKDB_FACTOR),
    ("DuckDB into four columns with a primary key", "duckdb_postgres", DUCKDB_FACTOR),
    ("DuckDB into its own file, four columns with a primary key", "duckdb_own", None),
    ("sling full-refresh, four columns with a primary key", "sling_full", SLING_FACTOR),
    ("dlt with Arrow, four columns with a unique key", "dlt_arrow", None),
    ("pandas to_sql, four columns with a primary key", "pandas_to_sql", None),
)
_OFTEN = {"duckdb_alike", "duckdb_postgres"}


class Big:
    """One bucket of one object."""

    def __init__(self, stack: Stack, scale: Scale) -> None:
        self._stack = stack
        self._scale = scale
        self._bucket = stack.bucket("big")
        self._store = bulk_store(stack.settings, self._bucket)
        self._size = f"one CSV of {scale.big_rows:,} users"

    def figures(self) -> Iterator[Figure]:
        """First run and one percent changed."""
        self._put(version=0)
        first, settings = self._first()
        yield from first
        yield from self._changed(settings)

    def _put(self, version: int) -> None:
        content = objects.big_csv(self._scale.big_rows, version)
        objects.upload(self._store, [(KEY, content)])

    def _first(self) -> tuple[list[Figure], Settings]:
        tools = {job: Tool(job, self._scale.big_rows) for _, job, _ in _TOOLS}
        copies, runs = [], []
        settings = self._stack.fresh(self._bucket)
        for number in range(self._scale.repeats):
            if number:
                self._stack.drop(settings)
                settings = self._stack.fresh(self._bucket)
            copies.append(bare.sorted_copy(settings, self._scale.big_rows))
            for tool in tools.values():
                if tool.job in _OFTEN or number < self._scale.slow_repeats:
                    tool.time(settings, KEY)
            self._stack.settle()
            runs.append(run(settings))
        what = f"{self._size}, first run"
        return [
            self._compared_with_copy(what, runs, copies),
            *(
                _compared_with_tool(what, runs, name, tools[job], factor)
                for name, job, factor in _TOOLS
            ),
            _whole_process(what, runs, tools["sling_full"], WHOLE_FACTOR),
            memory(what, runs),
        ], settings

    def _compared_with_copy(
        self, what: str, runs: Sequence[Measured], copies: list[float]
    ) -> Figure:
        return figure(
            "big",
            what,
            "s",
            [item.seconds for item in runs],
            baseline="sorted COPY, same table and indexes",
            baseline_samples=copies,
            target=Target(COPY_FACTOR, of="COPY"),
            note=steps(runs[-1]),
        )

    def _changed(self, settings: Settings) -> list[Figure]:
        sling, runs = Tool("sling_incremental", self._scale.big_rows), []
        Tool("sling_full", self._scale.big_rows).time(settings, KEY)
        for version in range(1, self._scale.repeats + 1):
            self._put(version)
            if version <= self._scale.slow_repeats:
                sling.time(settings, KEY, version)
            self._stack.settle()
            runs.append(run(settings))
        what = f"{self._size}, 1 % changed"
        shown = _compared_with_tool(
            what, runs, "sling incremental, by the same primary key", sling, INCREMENTAL_FACTOR
        )
        whole = _whole_process(what, runs, sling, WHOLE_INCREMENTAL_FACTOR)
        return [shown, whole, memory(what, runs)]


def _compared_with_tool(
    what: str, runs: Sequence[Measured], name: str, tool: Tool, factor: float | None
) -> Figure:
    return figure(
        "big",
        what,
        "s",
        [item.seconds for item in runs],
        baseline=name,
        baseline_samples=tool.seconds,
        target=Target(factor) if factor else None,
        says=f"≤ {factor} × {name.partition(' ')[0]}" if factor else "",
        note=tool.why_not or f"peak memory {tool.peak_mb:.0f} MB",
    )


def _whole_process(what: str, runs: Sequence[Measured], sling: Tool, factor: float) -> Figure:
    """From the command to the prompt, as a user waits for it, published output included."""
    return figure(
        "big",
        f"{what}, whole process",
        "s",
        [item.whole_seconds for item in runs],
        baseline="sling, whole process",
        baseline_samples=sling.seconds,
        target=Target(factor, of="sling"),
        note=sling.why_not,
    )


def big(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure both kinds of run over one object."""
    return Big(stack, scale).figures()
