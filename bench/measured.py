"""Run a command in a separate process, which writes its peak memory to a file.

`python -m bench.measured FILE COMMAND …` is `python -m etl COMMAND …`. What the kernel counts
for a child (`ru_maxrss`) begins with the memory of the process it was forked from; VmHWM does not.

A run is timed without the imports that its first changed object needs, as in the scheduler, which
has loaded them before.
"""

from __future__ import annotations

import re
import runpy
import sys
from importlib import import_module
from pathlib import Path

from etl.runtime.allocator import choose_allocator

_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def peak_mb(process: int | str = "self") -> float | None:
    """Peak memory of that process in MB; None without /proc."""
    status = Path(f"/proc/{process}/status")
    found = _PEAK.search(status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 / 1e6 if found else None


if __name__ == "__main__":
    target = Path(sys.argv[1])
    sys.argv = ["etl", *sys.argv[2:]]
    if sys.argv[1] == "run":
        choose_allocator()
        import_module("etl.sync.stream")
    try:
        runpy.run_module("etl", run_name="__main__")
    finally:
        target.write_text(str(peak_mb() or ""))
