"""The CPU cores that this process may use, also in a container with a limit."""

from __future__ import annotations

import math
import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # of the container's own cgroup; only of version 2


def usable_cores(cpu_max: Path = CPU_MAX) -> int:
    """The number of cores: those that the process may run on, or fewer if its quota is less.

    A limit of a container, such as `limits.cpu` of Kubernetes, is a quota of CPU time. The process
    still sees all cores of its machine.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, _quota(cpu_max) or cores)


def _quota(cpu_max: Path) -> int | None:
    """The quota in cores, rounded up; None if there is no limit, or no such file."""
    try:
        quota, period = cpu_max.read_text("ascii").split()
        return max(math.ceil(int(quota) / int(period)), 1)
    except (OSError, ValueError):  # "max 100000" is no limit
        return None
