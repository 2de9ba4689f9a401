"""First loads of a declared dataset, each next to its baselines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bench.bare import sorted_copy_of
from bench.figures import Figure, Target, figure
from bench.memory import memory
from bench.objects import upload
from bench.runs import Measured, run
from bench.stack import Stack, bulk_store, execute
from bench.tiny import steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from bench.scale import Scale
    from bench.tools import Tool
    from etl.settings import Settings

COPY = "sorted COPY, same table and indexes"


class Source(NamedTuple):
    """A declared dataset: its name, its file, the statement that creates its table, and a zone.

    Local times are in the zone.
    """

    dataset: str
    declaration: Path
    table: str
    zone: str = "UTC"


@dataclass(frozen=True)
class Rival:
    """A tool at the same job, and the share of its time that a run may take, if there is one."""

    name: str
    tool: Tool
    key: str
    factor: float | None = None
    is_slow: bool = False

    def figure(self, scenario: str, what: str, runs: Sequence[Measured]) -> Figure:
        """The runs compared with the tool."""
        short = self.name.partition(" ")[0]
        return figure(
            scenario,
            what,
            "s",
            [item.seconds for item in runs],
            baseline=self.name,
            baseline_samples=self.tool.seconds,
            target=Target(self.factor, of=short) if self.factor else None,
            note=self.tool.why_not or f"peak memory {self.tool.peak_mb:.0f} MB",
        )


@dataclass
class Loads:
    """The first runs of one bucket. `copy_factor` is the share of the COPY, if there is a target.

    Without `copied`, the runs are not compared with a COPY.
    """

    what: str
    source: Source
    bucket: str
    rivals: Sequence[Rival] = ()
    copied: pa.Table | None = None
    copy_factor: float | None = None
    runs: list[Measured] = field(default_factory=list)
    copies: list[float] = field(default_factory=list)

    def take(self, stack: Stack, *, with_slow: bool) -> None:
        """Make one first run, after one measurement of the baselines."""
        settings = stack.fresh(self.bucket)
        if self.copied is not None:
            self.copies.append(
                sorted_copy_of(settings, self.source.table, self.copied, self.source.zone)
            )
        for rival in self.rivals:
            if with_slow or not rival.is_slow:
                rival.tool.time(settings, rival.key)
        stack.settle()
        self.runs.append(run(settings, self.source.declaration))
        if self.copied is not None:
            check_alike(settings, self.source.dataset)
        stack.drop(settings)

    def figures(self) -> Iterator[Figure]:
        """The runs compared with all baselines, and their memory."""
        scenario, what = self.source.dataset, f"{self.what}, first run"
        if self.copied is not None:
            yield figure(
                scenario,
                what,
                "s",
                self.seconds,
                baseline=COPY,
                baseline_samples=self.copies,
                target=Target(self.copy_factor, of="COPY") if self.copy_factor else None,
                note=steps(self.runs[-1]),
            )
        for rival in self.rivals:
            yield rival.figure(scenario, what, self.runs)
        yield memory(what, self.runs)

    @property
    def seconds(self) -> list[float]:
        """The seconds of each run."""
        return [item.seconds for item in self.runs]


def filled(stack: Stack, name: str, items: Iterable[tuple[str, bytes]]) -> str:
    """Make a bucket with these objects; return its name."""
    bucket = stack.bucket(name)
    upload(bulk_store(stack.settings, bucket), items)
    return bucket


def take_in_turn(stack: Stack, scale: Scale, loads: Sequence[Loads]) -> None:
    """Make the runs of all loads in turn, so that a change of the machine affects them alike."""
    for number in range(scale.repeats):
        for one in loads:
            one.take(stack, with_slow=number < scale.slow_repeats)


_COLUMNS = (
    "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
    " WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname"
)
_INDEXED = (
    "SELECT indkey_names FROM (SELECT indexrelid, (SELECT string_agg(attname, ',' ORDER BY attnum)"
    " FROM pg_attribute WHERE attrelid = indexrelid) AS indkey_names FROM pg_index"
    " WHERE indrelid = '{}'::regclass) AS found ORDER BY 1"
)


def check_alike(settings: Settings, table: str) -> None:
    """Check that the baselines' table has the columns and indexes of Bucketline's.

    Raises:  RuntimeError when it has others.
    """
    for question in (_COLUMNS, _INDEXED):
        ours, theirs = (execute(settings, question.format(name)) for name in (table, "copied"))
        if ours != theirs:
            raise RuntimeError(f"The tables differ: {ours} and {theirs}")
