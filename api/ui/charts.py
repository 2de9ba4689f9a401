"""Geometry of small charts, which templates write as SVG. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SPARK_WIDTH, SPARK_HEIGHT = 120, 20
BAR_WIDTH = 1000  # of a bar of steps, whose SVG is stretched
STRIP_STEPS = 9


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A bar of a chart, in the units of its SVG."""

    x: float
    y: float
    width: float
    height: float
    is_last: bool = False


def spark(values: Sequence[int]) -> list[Rectangle]:
    """The bars of a sparkline, oldest first; none for a value of 0, at least 1 high otherwise."""
    peak = max(values, default=0)
    step = SPARK_WIDTH / max(len(values), 1)
    room = SPARK_HEIGHT - 2
    bars = []
    for index, value in enumerate(values):
        if value > 0:
            height = round(max(1.0, room * value / peak), 1)
            y = round(SPARK_HEIGHT - 1 - height, 1)
            width = round(step * 0.8, 2)
            bars.append(Rectangle(index * step, y, width, height, index == len(values) - 1))
    return bars


def span(start: float, length: float, whole: float) -> Rectangle:
    """A bar from `start`, `length` long, of a whole; at least 2 wide, so that it is visible."""
    if whole <= 0:
        return Rectangle(0, 0, 0, 0)
    x = min(max(BAR_WIDTH * start / whole, 0), BAR_WIDTH - 2)
    width = min(max(BAR_WIDTH * length / whole, 2), BAR_WIDTH - x)
    return Rectangle(round(x, 1), 0, round(width, 1), 0)


def strip_step(value: float | None, greatest: float) -> int:
    """The height class of a bar in the strip, 0 to 9."""
    if not value or greatest <= 0:
        return 0
    return max(1, min(STRIP_STEPS, round(STRIP_STEPS * value / greatest)))


def ticks(greatest: float, count: int = 5) -> list[float]:
    """Round numbers from 0 that divide an axis into equal parts; the last is `greatest` or more."""
    if greatest <= 0:
        return [0.0] * (count + 1)
    step = greatest / count
    power = 10.0 ** (len(str(int(step))) - 1) if step >= 1 else 10.0 ** -_zeros(step)
    factor = next(one for one in (1, 2, 2.5, 5, 10) if one * power >= step * 0.999999)
    return [round(index * factor * power, 6) for index in range(count + 1)]


def _zeros(value: float) -> int:
    """How many places after the point the first digit of a value below 1 is."""
    places = 0
    while value < 1:
        value, places = value * 10, places + 1
    return places


CHART_WIDTH, CHART_HEIGHT = 600, 190
_LEFT, _TOP, _BOTTOM = 64, 20, 170  # of the area of the line
_GRID_LINES = 4


@dataclass(frozen=True, slots=True)
class StepChart:
    """A line of steps: its path, and the grid lines with their values, in units of its SVG."""

    path: str
    grid: tuple[tuple[float, float], ...]
    left: int = _LEFT
    width: int = CHART_WIDTH
    height: int = CHART_HEIGHT


def steps(points: Sequence[tuple[float, int]], length: float) -> StepChart | None:
    """The line of a value that stays until the next point; None without any point.

    A point is the seconds from the beginning of the chart, which may be negative, and the value.
    `length` is that of the chart, in seconds. The axis begins at 0.
    """
    if not points:
        return None
    axis = ticks(max(value for _, value in points) or 1, _GRID_LINES)
    axis = [one for one in axis if one == int(one)]
    greatest = axis[-1] or 1
    height, width = _BOTTOM - _TOP, CHART_WIDTH - _LEFT

    def y(value: float) -> float:
        return round(_BOTTOM - height * value / greatest, 1)

    first, *rest = [
        (round(_LEFT + width * min(max(at, 0), length) / length, 1), y(value))
        for at, value in points
    ]
    path = f"M{first[0]} {first[1]}" + "".join(f"H{x}V{top}" for x, top in rest)
    return StepChart(f"{path}H{CHART_WIDTH}", tuple((one, y(one)) for one in axis))
