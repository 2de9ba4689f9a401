"""`python -m bench.model`: time, database size, requests and money for any size of a bucket.

It uses the measurements of the scenario `costs` in `bench/costs.json`, or in a file of results.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from bench.cost_model import DAYS_PER_MONTH, CostModel, Load, Measurement, Prices
from bench.figures import Figure
from etl.cli.common import CallersPath
from etl.runtime.program import program

if TYPE_CHECKING:
    from bench.cost_model import Prediction

MEASURED = Path(__file__).with_name("costs.json")
RUNS_PER_DAY = 24 * 60 / 25  # ETL_INTERVAL
MB_PER_GB = 1_000
HOUR_SECONDS = 3_600
PROCESSORS = 2  # of the machine of the measurements
PRICES = Prices()


class Count(click.ParamType):  # type: ignore[type-arg]  # generic only when checked
    """A number such as 1e8 or 250,000."""

    name = "number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The number; click reports any other text."""
        try:
            return int(float(str(value).replace(",", "")))
        except (ValueError, OverflowError):
            return self.fail(f"{value!r} is no number.", param, ctx)


class Remedy(NamedTuple):
    """What to do from a size on."""

    from_objects: int
    words: str


# By the step that takes longest; the last remedy whose size is reached counts.
REMEDIES = {
    "list": (
        Remedy(0, "nothing: the listing is short"),
        Remedy(
            10_000_000,
            "let events find the changes, and list once a day: EVENT_LISTEN or a webhook,"
            " and ETL_INTERVAL=24h",
        ),
        Remedy(
            100_000_000,
            "divide the bucket: one installation for each prefix, with a database of its own",
        ),
    ),
    "read": (
        Remedy(0, "nothing: one machine reads it"),
        Remedy(1_000_000, "more workers: DASK_SCHEDULER. Or fewer, larger files: they cost less"),
    ),
    "write": (
        Remedy(0, "nothing: PostgreSQL writes it"),
        Remedy(100_000_000, "a larger PostgreSQL: fast disks, and memory for the indexes"),
        Remedy(1_000_000_000, "several writers: datasets in installations of their own, or Citus"),
    ),
    "publish": (
        Remedy(0, "nothing: the output is small"),
        Remedy(100_000_000, "`publish = []` in the datasets file; read the table instead"),
    ),
}


def remedy(prediction: Prediction, load: Load) -> str:
    """What to do about the step that takes longest."""
    size = load.objects + load.rows
    known = [one for one in REMEDIES[prediction.bottleneck] if one.from_objects <= size]
    return known[-1].words


def model_of(path: Path) -> CostModel:
    """The model of the measurements in a file of results.

    Raises:  ValueError when it has none.
    """
    found = json.loads(path.read_text("utf-8"))["figures"]
    figures = (Figure(**one) for one in found)
    return CostModel.fitted(filter(None, map(Measurement.of_figure, figures)))


@click.command()
@click.option("--objects", type=Count(), default=0, help="Small files of one row each.")
@click.option("--images", type=Count(), default=0)
@click.option("--rows", type=Count(), default=0, help="Rows in large files.")
@click.option("--changed", type=click.FloatRange(0, 100), default=1.0, help="Percent a day.")
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Machines that read.")
@click.option("--distance", type=click.FloatRange(min=0), default=0.0, help="Of the store, in ms.")
@click.argument("results", metavar="[RESULTS]", required=False, type=CallersPath())
def main(  # noqa: PLR0913  (one for each option)
    *,
    objects: int,
    images: int,
    rows: int,
    changed: float,
    workers: int,
    distance: float,
    results: Path | None,
) -> None:
    """Predict the cost of a bucket of any size."""
    try:
        model = model_of(results or MEASURED)
    except (ValueError, KeyError, OSError) as error:
        raise click.ClickException(
            f"{results or MEASURED} has no measurements of costs: {error}. Make them with"
            " `python -m bench --only costs`."
        ) from error
    load = Load(objects, images, rows)
    first = model.first_run(load, workers=workers, distance_ms=distance)
    unchanged = model.unchanged_run(load, distance_ms=distance)
    of_a_day = Load(*(round(count * changed / 100) for count in load))
    daily = RUNS_PER_DAY * unchanged.price(PRICES) + model.first_run(of_a_day).price(PRICES)
    hours = first.steps["read"] * workers / HOUR_SECONDS
    steps = ", ".join(f"{name} {_time(seconds)}" for name, seconds in first.steps.items())
    answers = (
        ("first run", _time(first.seconds), steps),
        ("takes longest", first.bottleneck, remedy(first, load)),
        ("run without changes", _time(unchanged.seconds), ""),
        ("database", _size(model.database_mb(load)), ""),
        ("first run, requests", f"{first.lists + first.gets:,}", _dollars(first.price(PRICES))),
        (
            "first run, processors",
            _dollars(PROCESSORS * hours * PRICES.per_processor_hour),
            f"{PROCESSORS} in each machine that reads",
        ),
        (
            "requests of a month",
            _dollars(DAYS_PER_MONTH * daily),
            f"{RUNS_PER_DAY:.0f} runs a day, {changed:g} % changed each day",
        ),
    )
    shown = Table(show_header=False, box=None)
    for answer in answers:
        shown.add_row(*answer)
    Console(highlight=False).print(shown)


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}"


def _time(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", HOUR_SECONDS), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.2f} s"


def _size(megabytes: float) -> str:
    for unit, size in (("TB", MB_PER_GB**2), ("GB", MB_PER_GB)):
        if megabytes >= size:
            return f"{megabytes / size:,.1f} {unit}"
    return f"{megabytes:,.0f} MB"


if __name__ == "__main__":
    main(prog_name=f"{program()} bench.model")
