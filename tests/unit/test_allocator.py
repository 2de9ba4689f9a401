"""Arrow shares one allocator with everything else in a command's process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "ARROW_DEFAULT_MEMORY_POOL"
COMMAND = """
import sys
from etl import cli
sys.argv = ["run.sh", "run", "--help"]
try:
    cli.main()
except SystemExit:
    import pyarrow
    print(pyarrow.default_memory_pool().backend_name)
"""


@pytest.mark.parametrize(("chosen", "used"), [({}, "system"), ({NAME: "mimalloc"}, "mimalloc")])
def test_a_command_uses_the_systems_allocator_unless_told_otherwise(
    chosen: dict[str, str], used: str
):
    kept = {name: value for name, value in os.environ.items() if name != NAME}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        cwd=ROOT,
        env=kept | chosen,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-1] == used
