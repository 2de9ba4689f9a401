"""The sizes of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.cost_model import Load
from bench.stack import EMBEDDED, STORES


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
    few_objects: int
    many_objects: int
    few_rows: int
    many_rows: int
    stores: tuple[str, ...]
    pictures: int
    event_puts: int
    burst_puts: int
    transfer_megabytes: int
    listed_objects: int
    far_csvs: int
    far_rows: int
    costs: Load
    kept_runs: int
    open_problems: int
    worker_csvs: int
    worker_rows: int
    worker_readings: int

    def at_most(self, repeats: int) -> Scale:
        """The same size with at most this number of repetitions."""
        return replace(
            self,
            repeats=min(self.repeats, repeats),
            slow_repeats=min(self.slow_repeats, repeats),
        )


QUICK = Scale(
    "quick",
    tiny_csvs=2_000,
    tiny_images=1_600,
    big_rows=100_000,
    glob_csvs=2_000,
    repeats=3,
    slow_repeats=1,
    idle_seconds=3.0,
    few_objects=2_000,
    many_objects=8_000,
    few_rows=100_000,
    many_rows=400_000,
    stores=(EMBEDDED,),
    pictures=300,
    event_puts=50,
    burst_puts=500,
    transfer_megabytes=200,
    listed_objects=5_000,
    far_csvs=1_000,
    far_rows=300_000,
    costs=Load(files=1_000, images=2_000, rows=100_000),
    kept_runs=1_000,
    open_problems=10_000,
    worker_csvs=12_000,
    worker_rows=400_000,
    worker_readings=500_000,
)
FULL = Scale(
    "full",
    tiny_csvs=100_000,
    tiny_images=80_000,
    big_rows=1_000_000,
    glob_csvs=20_000,
    repeats=5,
    slow_repeats=3,
    idle_seconds=10.0,
    few_objects=100_000,
    many_objects=400_000,
    few_rows=1_500_000,  # 50 MB
    many_rows=30_000_000,  # 1 GB
    stores=STORES,
    pictures=1_000,
    event_puts=200,
    burst_puts=2_000,
    transfer_megabytes=2_000,
    listed_objects=200_000,
    far_csvs=5_000,
    far_rows=15_000_000,
    costs=Load(files=5_000, images=10_000, rows=500_000),
    kept_runs=10_000,
    open_problems=100_000,
    worker_csvs=50_000,
    worker_rows=15_000_000,  # 500 MB
    worker_readings=5_000_000,
)
