"""`python -m bench`: measure, print and save; or write the page from what was saved."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from bench import figures as results
from bench import stack
from bench.big import big
from bench.growth import growth
from bench.report import write_report
from bench.scale import FULL, QUICK
from bench.serving import reading
from bench.show import line, table
from bench.thumbnails import thumbnails
from bench.tiny import glob, tiny
from etl.logs import set_up_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.figures import Figure
    from bench.scale import Scale

SCENARIOS: dict[str, Callable[[stack.Stack, Scale], Iterator[Figure]]] = {
    "tiny": tiny,
    "glob": glob,
    "big": big,
    "serving": reading,
    "growth": growth,
    "thumbnails": thumbnails,
}


WIDTH = 160


@click.command()
@click.option("--quick", "scale", flag_value="quick", default="quick", help="About three minutes.")
@click.option(
    "--full", "scale", flag_value="full", help="The sizes that docs/performance.md tells."
)
@click.option("--only", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only these.")
@click.option("--repeats", type=click.IntRange(min=1), help="Repeat no more often than this.")
@click.option("--report", is_flag=True, help="Write docs/performance.md from the RESULTS.")
@click.argument("files", metavar="[RESULTS]…", nargs=-1, type=click.Path(path_type=Path))
def main(
    *, scale: str, only: tuple[str, ...], repeats: int | None, report: bool, files: tuple[Path, ...]
) -> None:
    """Measure Bucketline beside its limits and rivals, on servers of its own."""
    if report != bool(files):
        raise click.UsageError("--report and the files to report go together.")
    if report:
        write_report(files)
    else:
        wanted = FULL if scale == FULL.name else QUICK
        measure(wanted.at_most(repeats) if repeats else wanted, only or tuple(SCENARIOS))


def measure(scale: Scale, names: tuple[str, ...]) -> None:
    """Measure the named scenarios; what is measured is saved even if a later one fails."""
    set_up_logs("console", quiet=True)
    signal.signal(signal.SIGTERM, _exit)  # as Ctrl-C does: servers stopped, folder removed
    progress = Console(stderr=True, highlight=False)
    console = Console(highlight=False)
    if not console.is_terminal:  # a file has room
        console.width = WIDTH
    facts, path, found = results.machine(), results.new_path(), list[results.Figure]()
    with stack.running() as servers:
        for name in names:
            progress.print(f"measuring {name} …")
            for item in SCENARIOS[name](servers, scale):
                found.append(item)
                results.save(found, scale.name, facts, path)
                progress.print(line(item), markup=False, soft_wrap=True)
    console.print(table(found))
    console.print(f"saved in {path.relative_to(path.parents[2])}")


def _exit(_signal: int, _frame: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
