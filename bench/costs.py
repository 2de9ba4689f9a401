"""What a file, a row and an image cost: runs at two sizes of each, and one to check the model.

`bench.model` takes the difference of two sizes as the cost of each further one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import objects
from bench.big import KEY
from bench.cost_model import STEPS, CostModel, Load, Measurement
from bench.figures import Figure, Target, figure
from bench.runs import run
from bench.stack import Stack, bulk_store, execute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale
    from etl.settings import Settings

SCENARIO = "costs"
MOST_ERROR_PERCENT = 20.0
MB = 1_000_000
_WRITE = "write"  # the step of the model that has both stage and merge


@dataclass(frozen=True)
class _Runs:
    """A first run and one without changes: seconds of the steps of each, and the database."""

    first: dict[str, float]
    unchanged: float
    database_mb: float


def costs(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure each kind at two sizes, then a mixture of all that the model has not seen."""
    taken: list[Measurement] = []
    for kind in Load._fields:
        small = getattr(scale.costs, kind)
        for count in (small, 4 * small):
            load = Load()._replace(**{kind: count})
            for item in _measured(stack, load, scale.slow_repeats):
                taken += filter(None, [Measurement.of_figure(item)])
                yield item
    unseen = Load(*(5 * count // 2 for count in scale.costs))
    runs = _runs(stack, _filled(stack, unseen))
    predicted = CostModel.fitted(taken).first_run(unseen)
    measured = sum(runs.first.values())
    yield figure(
        SCENARIO,
        f"{unseen}: error of the model, which says {predicted.seconds:.1f} s",
        "%",
        [abs(predicted.seconds / measured - 1) * 100],
        target=Target(extra=MOST_ERROR_PERCENT),
        says=f"≤ {MOST_ERROR_PERCENT:.0f} %",
        note=f"measured {measured:.1f} s",
    )


def _measured(stack: Stack, load: Load, repeats: int) -> Iterator[Figure]:
    bucket = _filled(stack, load)
    samples = [_runs(stack, bucket) for _ in range(repeats)]
    for name in STEPS:
        yield figure(SCENARIO, f"{load}: {name}", "s", [one.first[name] for one in samples])
    yield figure(SCENARIO, f"{load}: unchanged", "s", [one.unchanged for one in samples])
    yield figure(SCENARIO, f"{load}: database", "MB", [one.database_mb for one in samples])


def _filled(stack: Stack, load: Load) -> str:
    bucket = stack.bucket(f"costs-{'-'.join(map(str, load))}")
    store = bulk_store(stack.settings, bucket)
    objects.upload(store, objects.tiny_csvs(load.files))
    objects.upload(store, objects.images(load.images))
    if load.rows:
        objects.upload(store, [(KEY, _other_users(load.rows)), ("r0000000.png", objects.png(0))])
    return bucket


def _runs(stack: Stack, bucket: str) -> _Runs:
    settings = stack.fresh(bucket)
    empty = _database_mb(settings)
    stack.settle()
    steps = run(settings).steps
    first = {name: steps.get(name, 0.0) for name in STEPS}
    first[_WRITE] = sum(steps.get(name, 0.0) for name in ("stage", "merge"))
    grown = _database_mb(settings) - empty
    stack.settle()
    unchanged = run(settings).seconds
    stack.drop(settings)
    return _Runs(first, unchanged, grown)


def _other_users(rows: int) -> bytes:
    """A large CSV with other ids than those of the small files; one of its users has an image.

    Without any image, its rows would not be inserted, but become the table.
    """
    return objects.big_csv(rows).removesuffix(b"\n").replace(b"\n", b"\nr") + b"\n"


def _database_mb(settings: Settings) -> float:
    return float(execute(settings, "SELECT pg_database_size(current_database())")[0][0]) / MB
