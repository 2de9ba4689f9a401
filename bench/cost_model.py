"""What a bucket costs to sync, as a sum over its files, images and rows. No I/O.

Each step of a run takes a time of its own, and a further time for each file, image and row. Both
come from runs at two sizes of each kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.figures import Figure

STEPS = ("list", "read", "write", "publish")
_UNCHANGED, _DATABASE = "unchanged", "database"
_WHAT = re.compile(
    r"(?P<files>[\d,]+) files, (?P<images>[\d,]+) images, (?P<rows>[\d,]+) rows: (?P<of>\w+)"
)

PAGE_OBJECTS = 1_000  # of a listing
RANGES = 8  # listed at once if the store is far away
MOST_AT_ONCE = 256  # objects fetched
PART_BYTES = 2 * 1024 * 1024
FAR_MS = 10.0
DAYS_PER_MONTH = 30


class Load(NamedTuple):
    """What a bucket has: files of one row each, images, and rows in large files."""

    files: int = 0
    images: int = 0
    rows: int = 0

    def __str__(self) -> str:
        """As in the names of figures."""
        return f"{self.files:,} files, {self.images:,} images, {self.rows:,} rows"

    @property
    def objects(self) -> int:
        """The number of objects; large files are few."""
        return self.files + self.images


class Measurement(NamedTuple):
    """A measured value of one load: seconds of a step, or megabytes of the database."""

    load: Load
    of: str
    value: float

    @classmethod
    def of_figure(cls, item: Figure) -> Measurement | None:
        """The measurement that a figure is; None if it is another figure."""
        found = _WHAT.fullmatch(item.what)
        if found is None or item.value is None:
            return None
        load = Load(*(int(found[kind].replace(",", "")) for kind in Load._fields))
        return cls(load, found["of"], item.value)


class Prices(NamedTuple):
    """List prices in dollars: of Amazon S3 Standard in us-east-1, and of a virtual processor."""

    per_1000_lists_or_puts: float = 0.005
    per_1000_gets: float = 0.0004
    per_gb_month: float = 0.023
    per_processor_hour: float = 0.05


@dataclass(frozen=True)
class Prediction:
    """Seconds of each step, and what a run asks of the store."""

    steps: Mapping[str, float]
    lists: int
    gets: int

    @property
    def seconds(self) -> float:
        """The time of the run."""
        return sum(self.steps.values())

    @property
    def bottleneck(self) -> str:
        """The step that takes longest."""
        return max(self.steps, key=lambda name: self.steps[name])

    def price(self, prices: Prices) -> float:
        """The price of the requests, in dollars."""
        return (
            self.lists * prices.per_1000_lists_or_puts + self.gets * prices.per_1000_gets
        ) / 1000


@dataclass(frozen=True)
class _Line:
    """A value that grows with the load."""

    base: float
    each: Mapping[str, float]  # by kind

    @classmethod
    def through(cls, points: Iterable[tuple[Load, float]]) -> _Line:
        """The line through two sizes of each kind; the base is the median of those of the kinds."""
        known = sorted(points)
        each: dict[str, float] = {}
        bases: list[float] = []
        for place, kind in enumerate(Load._fields):
            own = [(load[place], value) for load, value in known if load[place] == sum(load)]
            own = [one for one in own if one[0]]
            for (few, less), (many, more) in pairwise(own):
                each[kind] = max(more - less, 0.0) / (many - few)
                bases.append(max(less - each[kind] * few, 0.0))
        return cls(median(bases), each)

    def at(self, load: Load) -> float:
        """The value of this load."""
        counts: dict[str, int] = load._asdict()
        return self.base + sum(one * counts[kind] for kind, one in self.each.items())


@dataclass(frozen=True)
class CostModel:
    """The costs on the machine of the measurements, with a store next door."""

    lines: Mapping[str, _Line]

    @classmethod
    def fitted(cls, measurements: Iterable[Measurement]) -> CostModel:
        """The model of these measurements, which have two sizes of each kind.

        Raises:  ValueError when some are missing.
        """
        by_name: dict[str, list[tuple[Load, float]]] = {}
        for one in measurements:
            by_name.setdefault(one.of, []).append((one.load, one.value))
        missing = {*STEPS, _UNCHANGED, _DATABASE} - by_name.keys()
        if missing:
            raise ValueError(f"no measurements of {', '.join(sorted(missing))}")
        return cls({name: _Line.through(points) for name, points in by_name.items()})

    def first_run(self, load: Load, *, workers: int = 1, distance_ms: float = 0) -> Prediction:
        """A run that reads everything, on so many workers as large as this machine."""
        steps = {name: self.lines[name].at(load) for name in STEPS}
        steps["list"] += _seconds_in_transit(load, distance_ms)
        in_transit = load.files * distance_ms / 1000 / MOST_AT_ONCE
        steps["read"] = max(steps["read"], in_transit) / workers
        return Prediction(steps, _lists(load), load.files + _parts(load))

    def unchanged_run(self, load: Load, *, distance_ms: float = 0) -> Prediction:
        """A run that finds nothing changed: it lists the bucket."""
        seconds = self.lines[_UNCHANGED].at(load) + _seconds_in_transit(load, distance_ms)
        return Prediction({"list": seconds}, _lists(load), 0)

    def database_mb(self, load: Load) -> float:
        """The size of the database after a first run, in megabytes."""
        return self.lines[_DATABASE].at(load)


def _lists(load: Load) -> int:
    return -(-load.objects // PAGE_OBJECTS) + 1


def _seconds_in_transit(load: Load, distance_ms: float) -> float:
    """How long the pages of a listing are in transit, in as many ranges as a run lists at once.

    A very first listing has no ranges yet.
    """
    at_once = RANGES if distance_ms > FAR_MS else 1
    return _lists(load) * distance_ms / 1000 / at_once


def _parts(load: Load, row_bytes: int = 40) -> int:
    """The requests for large files."""
    return -(-load.rows * row_bytes // PART_BYTES)
