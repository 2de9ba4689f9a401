"""A store and a database far away: each at several distances, and compared with next door.

A proxy of our own delays every byte, and so takes processor time as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import objects
from bench.bare import stopwatch
from bench.delay import delayed_database, delayed_store
from bench.event_latency import Timing, singles, starting_up
from bench.figures import Figure, Target, figure
from bench.runs import run
from bench.stack import Stack, bulk_store
from etl.runtime.pools import map_in_threads
from etl.storage.client import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.scale import Scale
    from etl.model.values import SourceObject
    from etl.settings import Settings

SCENARIO = "far"
FIXED = (16, 64, 128, 256)
DISTANCES = ((0, 1.2), (30, 1.2), (100, 1.4))  # milliseconds there and back, and the allowed factor
FAR_MS = 30
LARGE_FACTOR = 1.15
LIST_FACTOR = 0.4
DATABASE_MS = 5
EVENT_MS = 180.0


def far(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure the reading of many small files, of a large one, a listing, and events."""
    yield from _small_files(stack, scale)
    yield from _large_file(stack, scale)
    yield from _listing(stack, scale)
    yield from _events(stack, scale)


# -- many small files


def _small_files(stack: Stack, scale: Scale) -> Iterator[Figure]:
    bucket = stack.bucket("far-small")
    objects.upload(bulk_store(stack.settings, bucket), objects.tiny_csvs(scale.far_csvs))
    found = list(ObjectStore(stack.settings).list_objects(bucket))
    for distance, factor in DISTANCES:
        with delayed_store(stack.settings, distance / 2000) as far_away:
            settings = far_away if distance else stack.settings
            own: list[float] = []
            fixed: dict[int, list[float]] = {number: [] for number in FIXED}
            for _ in range(scale.slow_repeats):
                own.append(_fetch(settings, bucket, found))
                for number, taken in fixed.items():
                    taken.append(_fetch(settings, bucket, found, at_once=number))
        best = min(fixed, key=lambda number: min(fixed[number]))
        yield figure(
            SCENARIO,
            f"read {scale.far_csvs:,} tiny CSVs, store {distance} ms away",
            "s",
            own,
            baseline=f"the best of {', '.join(map(str, FIXED))} at once, {best}",
            baseline_samples=fixed[best],
            target=Target(factor, of="that"),
        )


def _fetch(
    settings: Settings, bucket: str, found: Sequence[SourceObject], *, at_once: int | None = None
) -> float:
    """Seconds to fetch the objects: as a run does, or with so many threads."""
    store = ObjectStore(settings)

    def wanted() -> int:
        return at_once or store.pace.at_once

    with stopwatch() as watch:
        map_in_threads(lambda source: store.fetch(bucket, source), found, wanted)
    return watch.seconds


# -- a large file, and a long listing


def _large_file(stack: Stack, scale: Scale) -> Iterator[Figure]:
    bucket = stack.bucket("far-large")
    content = objects.big_csv(scale.far_rows)
    objects.upload(bulk_store(stack.settings, bucket), [("users.csv", content)])
    near: list[float] = []
    there: list[float] = []
    for _ in range(scale.slow_repeats):
        for taken, distance in ((near, 0), (there, FAR_MS)):
            settings = stack.fresh(bucket)
            stack.settle()
            with delayed_store(settings, distance / 2000) as far_away:
                taken.append(run(far_away if distance else settings).seconds)
            stack.drop(settings)
    yield figure(
        SCENARIO,
        f"one CSV of {len(content) / 1e6:.0f} MB, first run, store {FAR_MS} ms away",
        "s",
        there,
        baseline="the same next door",
        baseline_samples=near,
        target=Target(LARGE_FACTOR, of="that"),
    )


def _listing(stack: Stack, scale: Scale) -> Iterator[Figure]:
    bucket = stack.bucket("far-listing")
    pictures = ((f"{number:07}.png", objects.png(0)) for number in range(scale.listed_objects))
    objects.upload(bulk_store(stack.settings, bucket), pictures)
    settings = stack.fresh(bucket)
    run(settings)
    serial, parallel = [], []
    with delayed_store(settings, FAR_MS / 2000) as there:
        one_by_one = there.model_copy(update={"list_concurrency": 1})
        for _ in range(scale.slow_repeats):
            serial.append(run(one_by_one).steps["list"])
            parallel.append(run(there).steps["list"])
    yield figure(
        SCENARIO,
        f"list {scale.listed_objects:,} keys, store {FAR_MS} ms away",
        "s",
        parallel,
        baseline="one page after the other",
        baseline_samples=serial,
        target=Target(LIST_FACTOR, of="that"),
    )


# -- events


def _events(stack: Stack, scale: Scale) -> Iterator[Figure]:
    with (
        delayed_database(stack.fresh("none"), DATABASE_MS / 2000) as there,
        starting_up(there.database_url) as up,
    ):
        timings: list[Timing] = singles(up, scale.event_puts)
    yield figure(
        SCENARIO,
        f"{scale.event_puts} puts, from acknowledgement to GET /data/<id>, database"
        f" {DATABASE_MS} ms away: median",
        "ms",
        [one.ms for one in timings],
        target=Target(extra=EVENT_MS),
        says=f"≤ {EVENT_MS:.0f} ms",
    )
