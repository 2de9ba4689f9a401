"""Call the rivals, in the environment that holds them; one that is missing is only named."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.stack import secret_of, url_of

if TYPE_CHECKING:
    from etl.settings import Settings

FOLDER = Path(__file__).parent
PYTHON = FOLDER / ".venv" / "bin" / "python"
LIMIT_SECONDS = 900


@dataclass
class Peer:
    """A rival at one job: the seconds of each time it did it, or why it did not."""

    job: str
    rows: int
    seconds: list[float] = field(default_factory=list)
    why_not: str = ""
    peak_mb: float = 0.0

    def time(self, settings: Settings, key: str = "") -> None:
        """Let it do the job once more; not after it failed."""
        if self.why_not:
            return
        if not PYTHON.exists():
            self.why_not = "not installed: bench/requirements.txt"
            return
        try:
            self._time(settings, key)
        except subprocess.TimeoutExpired:
            self.why_not = f"stopped after {LIMIT_SECONDS} s"

    def _time(self, settings: Settings, key: str) -> None:
        done = subprocess.run(  # noqa: S603  (our own script)
            [str(PYTHON), "-P", str(FOLDER / "rivals.py"), self.job],
            input=json.dumps(_job(settings, key) | {"rows": str(self.rows)}),
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        if done.returncode:
            self.why_not = f"failed: {_last_line(done.stderr)}"
            return
        answer = json.loads(done.stdout.splitlines()[-1])
        self.seconds.append(answer["seconds"])
        self.peak_mb = max(self.peak_mb, answer["peak_mb"])


def _job(settings: Settings, key: str) -> dict[str, str | None]:
    return {
        "endpoint": settings.s3_endpoint,
        "access_key": settings.s3_access_key,
        "secret_key": secret_of(settings),
        "region": settings.s3_region,
        "bucket": settings.source_bucket,
        "key": key,
        "database_url": url_of(settings),
    }


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "no word"
