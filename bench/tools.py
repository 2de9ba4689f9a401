"""Run the other tools in their own environment; a missing one is reported as not installed."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.progress import say
from bench.stack import secret_of, url_of

if TYPE_CHECKING:
    from etl.settings import Settings

FOLDER = Path(__file__).parent
PYTHON = FOLDER / ".venv" / "bin" / "python"
PATHS = {"PYTHONPATH": str(FOLDER.parent)}  # of a process of that environment
TIMEOUT_SECONDS = 900


@dataclass
class Tool:
    """Another tool at one job: the seconds of each repetition, or why it failed.

    `table` creates the table that the tool fills, if the job needs it, with `{}` for its name.
    """

    job: str
    rows: int
    table: str = ""
    seconds: list[float] = field(default_factory=list)
    why_not: str = ""
    peak_mb: float = 0.0

    def time(self, settings: Settings, key: str = "", version: int = 0) -> None:
        """Run the job once more on that version of the data, unless it has failed."""
        if self.why_not:
            return
        if not PYTHON.exists():
            self.why_not = "not installed: bench/requirements.txt"
            return
        try:
            self._time(_job(settings, key, self.rows, version) | {"table": self.table})
        except subprocess.TimeoutExpired:
            self.why_not = f"stopped after {TIMEOUT_SECONDS} s"

    def _time(self, job: dict[str, str | None]) -> None:
        done = subprocess.run(  # noqa: S603  (our own script)
            baseline_command(self.job),
            env=os.environ | PATHS,
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode:
            self.why_not = f"failed: {last_line(done.stderr)}"
            return
        answer = json.loads(done.stdout.splitlines()[-1])
        self.seconds.append(answer["seconds"])
        self.peak_mb = max(self.peak_mb, answer["peak_mb"])
        say(f"  {self.job}: {self.seconds[-1]:.2f} s")


def baseline_command(*arguments: str) -> list[str]:
    """The command line that does a job of `bench.baselines`; its environment has `PATHS`."""
    return [str(PYTHON), "-P", "-m", "bench.baselines", *arguments]


def _job(settings: Settings, key: str, rows: int, version: int) -> dict[str, str | None]:
    return {
        "endpoint": settings.s3_endpoint,
        "access_key": settings.s3_access_key,
        "secret_key": secret_of(settings),
        "region": settings.s3_region,
        "bucket": settings.source_bucket,
        "key": key,
        "rows": str(rows),
        "version": str(version),
        "database_url": url_of(settings),
    }


def last_line(text: str) -> str:
    """The last line of an error message."""
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "no word"
