"""The text format of Prometheus, version 0.0.4."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from etl.runtime.measures import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from etl.runtime.measures import Durations, Labels

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_IN_VALUE = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})


class Kind(StrEnum):
    """The type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass
class Family:
    """One metric: its name, type, help and labels, and the numbers by values of the labels."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    numbers: dict[Labels, float] = field(default_factory=dict)
    durations: Mapping[Labels, Durations] = field(default_factory=dict)

    def lines(self) -> Iterable[str]:
        """The lines of the text format; none without numbers."""
        if not self.numbers and not self.durations:
            return
        yield f"# HELP {self.name} {self.help.translate(_IN_HELP)}"
        yield f"# TYPE {self.name} {self.kind}"
        for values, number in self.numbers.items():
            yield f"{self.name}{self._labels(values)} {_number(number)}"
        for values, one in self.durations.items():
            yield from self._histogram(values, one)

    def _histogram(self, values: Labels, one: Durations) -> Iterable[str]:
        counted = 0
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], one.buckets, strict=True):
            counted += count
            yield f"{self.name}_bucket{self._labels(values, le=bound)} {counted}"
        yield f"{self.name}_sum{self._labels(values)} {_number(one.seconds)}"
        yield f"{self.name}_count{self._labels(values)} {counted}"

    def _labels(self, values: Labels, **more: str) -> str:
        pairs = {**dict(zip(self.labels, values, strict=True)), **more}
        if not pairs:
            return ""
        shown = (f'{name}="{value.translate(_IN_VALUE)}"' for name, value in pairs.items())
        return f"{{{','.join(shown)}}}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def exposition(families: Iterable[Family]) -> str:
    """The text of these metrics."""
    return "\n".join([line for one in families for line in one.lines()]) + "\n"
