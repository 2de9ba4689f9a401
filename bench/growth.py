"""Whether memory grows with the bucket: the same run over four and over twenty times as much."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import obstore

from bench import objects
from bench.big import KEY
from bench.figures import Figure, Limit, figure
from bench.runs import run
from bench.stack import Stack, bulk_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale

GROWTH_FACTOR = 1.2


def growth(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure peaks over many objects and over one large object, each beside a smaller case."""
    yield _many_objects(stack, scale)
    yield _one_object(stack, scale)


def _many_objects(stack: Stack, scale: Scale) -> Figure:
    bucket = stack.bucket("many")
    store = bulk_store(stack.settings, bucket)
    few, many = scale.few_objects, scale.many_objects
    csvs = objects.tiny_csvs(many)
    objects.upload(store, islice(csvs, few))
    before = _peak(stack, bucket)
    objects.upload(store, csvs)
    return _beside(
        f"run over {many:,} tiny CSVs", _peak(stack, bucket), f"over {few:,} of them", before
    )


def _one_object(stack: Stack, scale: Scale) -> Figure:
    bucket = stack.bucket("large")
    store = bulk_store(stack.settings, bucket)
    peaks = []
    for rows in (scale.few_rows, scale.many_rows):
        obstore.put(store, KEY, objects.big_csv_in_blocks(rows), max_concurrency=2)
        peaks.append(_peak(stack, bucket))
    what = f"run over one CSV of {scale.many_rows:,} users"
    return _beside(what, peaks[1], f"of {scale.few_rows:,} users", peaks[0])


def _peak(stack: Stack, bucket: str) -> list[float]:
    settings = stack.fresh(bucket)
    peak = run(settings).peak_mb
    stack.drop(settings)
    return [] if peak is None else [peak]


def _beside(what: str, ours: list[float], rival: str, before: list[float]) -> Figure:
    return figure(
        "growth",
        what,
        "MB",
        ours,
        rival=rival,
        rival_samples=before,
        limit=Limit(GROWTH_FACTOR),
        says=f"≤ {GROWTH_FACTOR} × that",
        note="" if ours else "not measured: this system has no /proc",
    )
