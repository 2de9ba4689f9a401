"""One run by `python -m etl run`, and its report."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.bare import stopwatch
from bench.progress import say
from bench.stack import environment

if TYPE_CHECKING:
    from etl.settings import Settings

ROOT = Path(__file__).parents[1]
WAIT_SECONDS = "60"


@dataclass(frozen=True)
class Measured:
    """One run: seconds from its start to its commit, of each step, and its peak memory.

    `whole_seconds` are those of its process, with the interpreter's start and publication.
    """

    seconds: float
    steps: dict[str, float]
    counts: dict[str, int]
    peak_mb: float | None
    whole_seconds: float


def command(*arguments: str) -> list[str]:
    """The command line that runs a command and measures its memory, without its target file."""
    return [sys.executable, "-m", "bench.measured", *arguments]


@dataclass(frozen=True)
class Checked:
    """A check of local files: seconds of its process, of all its processors, and bad lines."""

    whole_seconds: float
    cpu_seconds: float
    lines: frozenset[int]


def check(settings: Settings, file: Path, dataset: str, datasets_file: Path) -> Checked:
    """Check one local file in a separate process.

    Raises:  RuntimeError with the command's last words when it neither passes nor finds problems.
    """
    before = _cpu_of_children()
    with tempfile.NamedTemporaryFile() as peak, stopwatch() as watch:
        done = subprocess.run(  # noqa: S603  (our own command)
            command(peak.name, "check", str(file), "--dataset", dataset, "--json"),
            cwd=ROOT,
            env=environment(settings) | {"DATASETS_FILE": str(datasets_file)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode > 1:
        raise RuntimeError(f"The check failed: {done.stderr.strip()[-500:]}")
    problems = json.loads(done.stdout)["problems"]
    lines = frozenset(item["line"] for item in problems if item["line"] is not None)
    return Checked(watch.seconds, _cpu_of_children() - before, lines)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(settings: Settings, datasets_file: Path | None = None) -> Measured:
    """Make one run in a separate process; the start of the interpreter is not counted.

    Raises:  RuntimeError with the command's last words when it does not succeed.
    """
    declared = {"DATASETS_FILE": str(datasets_file)} if datasets_file else {}
    with tempfile.TemporaryDirectory(prefix="bucketline-bench-") as folder:
        peak = Path(folder) / "peak"
        with stopwatch() as watch:
            done = subprocess.run(  # noqa: S603  (our own command)
                command(str(peak), "run", "--json", "--wait", WAIT_SECONDS),
                cwd=ROOT,
                env=environment(settings) | declared,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"The run failed: {done.stderr.strip()[-500:]}")
        measured = _measured(json.loads(done.stdout), peak.read_text(), watch.seconds)
    say(f"  a run: {measured.seconds:.2f} s")
    return measured


def _measured(report: dict[str, Any], peak: str, whole_seconds: float) -> Measured:
    started, finished = (
        datetime.fromisoformat(report[name]) for name in ("started_at", "finished_at")
    )
    steps = {
        name: float(step["seconds"] if isinstance(step, dict) else step)
        for name, step in report["step_seconds"].items()
    }
    return Measured(
        (finished - started).total_seconds(),
        steps,
        report["counts"],
        float(peak) if peak else None,
        whole_seconds,
    )
