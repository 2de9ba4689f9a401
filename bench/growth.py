"""Whether memory grows with the bucket: the same runs with four and twenty times the data."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import obstore

from bench import objects
from bench.big import KEY
from bench.figures import Figure, Target, figure
from bench.memory import NO_PROC, memory
from bench.runs import Measured, run
from bench.stack import Stack, bulk_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obstore.store import S3Store

    from bench.scale import Scale

GROWTH_FACTOR = 1.2
MB = 1_000_000

Peaks = dict[str, Measured]


def growth(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure peaks over many objects and one large object, compared with smaller cases."""
    yield from _many_objects(stack, scale)
    yield from _one_object(stack, scale)


def _many_objects(stack: Stack, scale: Scale) -> Iterator[Figure]:
    bucket = stack.bucket("many")
    store = bulk_store(stack.settings, bucket)
    csvs = objects.tiny_csvs(scale.many_objects)
    peaks, there = list[Peaks](), 0
    for version, count in enumerate((scale.few_objects, scale.many_objects), 1):
        objects.upload(store, islice(csvs, count - there))
        there = count
        change = partial(objects.upload, store, objects.changed_csvs(count, version))
        peaks.append(_three_runs(stack, bucket, change))
    many, few = f"{scale.many_objects:,} tiny CSVs", f"{scale.few_objects:,} of them"
    yield from _figures(many, few, *peaks)


def _one_object(stack: Stack, scale: Scale) -> Iterator[Figure]:
    bucket = stack.bucket("large")
    store = bulk_store(stack.settings, bucket)
    peaks, sizes = list[Peaks](), []
    for rows in (scale.few_rows, scale.many_rows):
        _put(store, rows)
        sizes.append(obstore.head(store, KEY)["size"] / MB)
        peaks.append(_three_runs(stack, bucket, partial(_put, store, rows, version=1)))
    few, many = (f"one CSV of {size:,.0f} MB" for size in sizes)
    yield from _figures(many, few, *peaks)


def _put(store: S3Store, rows: int, version: int = 0) -> None:
    content = objects.big_csv_in_blocks(rows, version)
    obstore.put(store, KEY, content, max_concurrency=2)


def _three_runs(stack: Stack, bucket: str, change: Callable[[], None]) -> Peaks:
    """A first run, one without changes, and one with one percent changed."""
    settings = stack.fresh(bucket)
    runs = {"first run": run(settings), "nothing changed": run(settings)}
    change()
    runs["1 % changed"] = run(settings)
    stack.drop(settings)
    return runs


def _figures(many: str, few: str, before: Peaks, after: Peaks) -> Iterator[Figure]:
    for kind, measured in after.items():
        yield _compared(f"{many}, {kind}", measured, few, before[kind])
        yield memory(f"{many}, {kind}", [measured])


def _compared(what: str, larger: Measured, baseline: str, smaller: Measured) -> Figure:
    known = larger.peak_mb is not None and smaller.peak_mb is not None
    return figure(
        "growth",
        f"peak memory, {what}",
        "MB",
        [] if larger.peak_mb is None else [larger.peak_mb],
        baseline=baseline,
        baseline_samples=[] if smaller.peak_mb is None else [smaller.peak_mb],
        target=Target(GROWTH_FACTOR, of="that"),
        note=f"a run of {larger.seconds:,.1f} s, and one of {smaller.seconds:,.1f} s"
        if known
        else NO_PROC,
    )
