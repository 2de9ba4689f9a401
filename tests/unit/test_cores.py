"""The cores of a container with a limit are those of its limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from etl.runtime.cores import usable_cores

MANY = 64


@pytest.fixture
def cpu_max(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as of the container's cgroup, on a machine with many cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: range(MANY), raising=False)
    return tmp_path / "cpu.max"


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("9000000 100000\n", MANY),
        ("max 100000\n", MANY),
        ("", MANY),
        ("100000\n", MANY),
    ],
)
def test_quota_limits_the_cores_of_the_machine(cpu_max: Path, text: str, cores: int):
    cpu_max.write_text(text)
    assert usable_cores(cpu_max) == cores


def test_all_cores_are_usable_without_a_quota(cpu_max: Path):
    assert usable_cores(cpu_max) == MANY
