"""Work in separate processes: a crash, hang or growth fails only that work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from etl.model.errors import ConfigurationError
from etl.runtime.sandbox import Crashed, Killed, OutOfMemory, OutOfTime, Sandbox, WorkFailed
from tests.conftest import wait_until
from tests.worker_behavior import MEGABYTE, Unstartable, behave

ROOT = Path(__file__).parents[2]


@contextmanager
def sandbox(processes: int = 1, seconds: float = 60) -> Iterator[Sandbox[tuple[bytes, int]]]:
    made = Sandbox(behave, processes=processes, seconds=seconds, memory_bytes=512 * MEGABYTE)
    with closing(made):
        yield made


def test_a_process_is_used_again():
    with sandbox() as box:
        assert box.call(b"a")[0] == b"a"
        assert box.call(b"b")[1] == box.call(b"c")[1]


@pytest.mark.parametrize(
    ("content", "failure", "reason"),
    [
        (b"crash", Crashed, "SIGSEGV"),
        (b"be killed", Killed, "SIGKILL"),
        (b"leave", Crashed, "exit code 3"),
        (b"fail", Crashed, "exit code 1"),
        (b"grow", OutOfMemory, "^$"),
    ],
)
@pytest.mark.parametrize("is_used", [False, True])
def test_work_that_kills_its_process_fails_alone(
    content: bytes, failure: type[WorkFailed], reason: str, *, is_used: bool
):
    with sandbox() as box:
        if is_used:
            box.call(b"before")
        with pytest.raises(failure, match=reason):
            box.call(content)
        assert box.call(b"after")[0] == b"after"


@pytest.mark.parametrize("content", [b"hang", b"sleep"])
def test_work_over_its_time_limit_is_killed(content: bytes):
    with sandbox(seconds=0.5) as box:
        with pytest.raises(OutOfTime, match=r"0\.5 s"):
            box.call(content)
        assert box.call(b"after")[0] == b"after"


def test_among_concurrent_calls_only_faulty_work_fails():
    expected = [b"crash" if n % 10 == 3 else b"%d" % n for n in range(60)]

    with sandbox(processes=2) as box, ThreadPoolExecutor(6) as pool:

        def outcome(content: bytes) -> bytes:
            try:
                return box.call(content)[0]
            except Crashed:
                return b"crash"

        assert list(pool.map(outcome, expected)) == expected


def test_process_that_cannot_start_is_a_configuration_error():
    box = Sandbox(Unstartable(), processes=1, seconds=60, memory_bytes=512 * MEGABYTE)
    with closing(box), pytest.raises(ConfigurationError, match=r"did not start.*exit code 7"):
        box.call(b"a")


def test_a_process_killed_from_outside_is_nobodys_fault():
    with sandbox() as box:
        _, process = box.call(b"a")
        os.kill(process, signal.SIGKILL)
        assert box.call(b"b")[0] == b"b"


@pytest.mark.parametrize("is_used", [False, True])
def test_a_process_killed_in_mid_work_is_nobodys_fault(tmp_path: Path, *, is_used: bool):
    content = f"be killed once {tmp_path / 'mark'}".encode()
    with sandbox() as box:
        if is_used:
            box.call(b"before")
        assert box.call(content)[0] == content


def test_a_process_whose_starter_thread_ended_is_nobodys_fault():
    with sandbox() as box:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(box.call, b"a").result()
        assert box.call(b"b")[0] == b"b"


def is_alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_closing_ends_the_processes():
    with sandbox() as box:
        _, process = box.call(b"a")
        assert is_alive(process)
    assert not is_alive(process)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills them at once")
def test_no_process_outlives_its_parent_even_in_mid_work(end: signal.Signals):
    script = (
        "from etl.runtime.sandbox import Sandbox; from tests.worker_behavior import behave\n"
        "box = Sandbox(behave, processes=1, seconds=60, memory_bytes=1 << 29)\n"
        "print(box.call(b'a')[1], flush=True)\n"
        "box.call(b'hang')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        assert is_alive(process)
        parent.send_signal(end)
    wait_until(lambda: not is_alive(process), seconds=10)
