"""`python -m bench`: measure, print and save; or write the report from saved results."""

from __future__ import annotations

import signal
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import click
from rich.console import Console

from bench import figures as results
from bench import machine, stack
from bench.progress import say
from bench.report import write_report
from bench.scale import FULL, QUICK
from bench.scenarios import SCENARIOS, plan
from bench.seaweed import SeaweedUnavailable
from bench.show import line, summary, table
from etl.cli.common import CallersPath
from etl.runtime.logs import set_up_logs
from etl.runtime.program import program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.figures import Figure
    from bench.scale import Scale

WIDTH = 160


@click.command()
@click.option("--quick", "scale", flag_value="quick", default="quick", help="About four minutes.")
@click.option("--full", "scale", flag_value="full", help="The published sizes; about 95 minutes.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only these scenarios."
)
@click.option(
    "--store",
    type=click.Choice([*stack.STORES, "both"]),
    help="The object store; by default embedded with --quick, both with --full.",
)
@click.option("--repeats", type=click.IntRange(min=1), help="Limit the repetitions.")
@click.option("--report", is_flag=True, help="Write the performance page from RESULTS.")
@click.argument("files", metavar="[RESULTS]…", nargs=-1, type=CallersPath())
def main(  # noqa: PLR0913  (one for each option)
    *,
    scale: str,
    only: tuple[str, ...],
    store: str | None,
    repeats: int | None,
    report: bool,
    files: tuple[Path, ...],
) -> None:
    """Compare Bucketline with baselines and other tools, on servers of its own."""
    if report != bool(files):
        raise click.UsageError("--report needs RESULTS, and RESULTS need --report.")
    if report:
        write_report(files)
        return
    signal.signal(signal.SIGTERM, _exit)  # as Ctrl-C: stop the servers, remove the folder
    wanted = FULL if scale == FULL.name else QUICK
    stores = wanted.stores if store is None else stack.STORES if store == "both" else (store,)
    measure(wanted.at_most(repeats) if repeats else wanted, only or tuple(SCENARIOS), stores)


def measure(scale: Scale, names: Sequence[str], stores: Sequence[str]) -> None:
    """Measure the named scenarios. Results are saved even if a later scenario fails."""
    set_up_logs("console", quiet=True)
    console = Console(highlight=False)
    if not console.is_terminal:  # a file has no line length
        console.width = WIDTH
    whole = _Measurement(scale, plan(names, stores))
    whole.make()
    console.print(table(whole.found))
    console.print(summary(whole.found), markup=False)
    if whole.found:
        console.print(f"saved in {whole.path.relative_to(whole.path.parents[2])}")


class _Measurement:
    """The measurements of one invocation, saved after each result."""

    def __init__(self, scale: Scale, parts: Sequence[tuple[str, str]]) -> None:
        self.found: list[Figure] = []
        self.path = results.new_path()
        self._facts = machine.machine()
        self._scale = scale
        self._parts = parts
        self._begun = 0

    def make(self) -> None:
        """Measure all parts, with new servers for each store."""
        minutes = sum(SCENARIOS[name].minutes(self._scale) for _, name in self._parts)
        say(f"{len(self._parts)} scenarios, about {minutes:.0f} minutes; less with --repeats")
        for store, parts in groupby(self._parts, itemgetter(0)):
            try:
                self._on(store, [name for _, name in parts])
            except SeaweedUnavailable as error:
                say(f"skipped {store}: {error}")

    def _on(self, store: str, names: Sequence[str]) -> None:
        with stack.running(store) as servers:
            for name in names:
                self._begun += 1
                minutes = SCENARIOS[name].minutes(self._scale)
                place = f"{self._begun} of {len(self._parts)}"
                say(f"{place}: {name} on {store}, about {minutes:g} minutes")
                for item in SCENARIOS[name].figures(servers, self._scale):
                    self.found.append(item)
                    results.save(self.found, self._scale.name, self._facts, self.path)
                    say(line(item))


def _exit(_signal: int, _frame: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main(prog_name=f"{program()} bench")
