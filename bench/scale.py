"""How large a benchmark is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Objects, rows and repetitions of one mode."""

    name: str
    tiny_csvs: int
    tiny_images: int
    big_rows: int
    glob_csvs: int
    repeats: int
    slow_repeats: int
    idle_seconds: float


QUICK = Scale("quick", 2_000, 1_600, 100_000, 2_000, 3, 1, 3.0)
FULL = Scale("full", 100_000, 80_000, 1_000_000, 20_000, 5, 3, 10.0)
