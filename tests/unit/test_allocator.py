"""Commands use the system allocator, with few arenas."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "ARROW_DEFAULT_MEMORY_POOL"
COMMAND = """
import sys
from etl.cli import main as cli
sys.argv = ["run.sh", "run", "--help"]
try:
    cli.main()
except SystemExit:
    import pyarrow
    print(pyarrow.default_memory_pool().backend_name)
"""

ARENAS = """
import ctypes, sys, threading
from etl.runtime.allocator import choose_allocator
choose_allocator()
all_there = threading.Barrier(8)
def work():
    kept = ctypes.CDLL(None).malloc(1000)
    all_there.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def output(program: str, name: str, chosen: dict[str, str]) -> str:
    """The program's output, with the variable set as chosen or unset."""
    others = {each: value for each, value in os.environ.items() if each != name}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=others | chosen,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(("chosen", "used"), [({}, "system"), ({NAME: "mimalloc"}, "mimalloc")])
def test_command_uses_system_allocator_by_default(chosen: dict[str, str], used: str):
    assert output(COMMAND, NAME, chosen).split()[-1] == used


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
@pytest.mark.parametrize(("chosen", "most"), [({}, 2), ({"MALLOC_ARENA_MAX": "5"}, 5)])
def test_many_threads_share_few_arenas(chosen: dict[str, str], most: int):
    assert output(ARENAS, "MALLOC_ARENA_MAX", chosen).count("<heap nr=") == most
