"""Child processes that end with their parent, and leftovers of parents that were killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from etl.local.accounts import Account, identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.02
# Long enough for PostgreSQL's last checkpoint on a slow disk.
_STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one process: its command, its whole environment and its account."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    account: Account | None = None
    directory: Path = Path("/")
    stop_signal: signal.Signals = signal.SIGTERM


def start(launch: Launch, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process that gets its stop signal when this one dies; output goes to `log`.

    It inherits no other open file, so that no lock of ours outlives us in it.

    On systems without such a signal the next start stops what is left (`stop_leftover`).
    Call it from the main thread: the kernel watches the thread that forked.
    """
    return subprocess.Popen(  # noqa: S603  (our own commands, never a shell)
        list(launch.command),
        env=dict(launch.environment),
        cwd=launch.directory,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=_die_with_parent(launch.stop_signal),  # noqa: PLW1509  (we have no threads)
        **identity(launch.account),
    )


def run(launch: Launch, log: IO[bytes]) -> int:
    """Run a process to its end, as `start` does, and return its exit code."""
    return start(launch, log).wait()


def stop(processes: Mapping[subprocess.Popen[bytes], signal.Signals]) -> None:
    """Stop processes together, each by its own signal, by force when that takes too long."""
    for process, stop_signal in processes.items():
        process.send_signal(stop_signal)
    deadline = time.monotonic() + _STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def stop_leftover(pid: int, argument: str, stop_signal: signal.Signals) -> None:
    """Stop the process `pid` if it was started with `argument`, and wait for its end."""
    for next_signal in (stop_signal, signal.SIGKILL):
        if not was_started_with(argument, pid):
            return
        _send(pid, next_signal)
        _await_end(pid, argument)


def was_started_with(argument: str, pid: int) -> bool:
    """Whether `pid` is alive and `argument` is in its command: a pid alone may be reused."""
    return f" {argument} " in f" {_command_line(pid)} "


def is_alive(pid: int) -> bool:
    """Whether there is a process `pid`, ours or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _die_with_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:
            # It died before we could ask.
            os._exit(1)

    return ask


def _send(pid: int, which: signal.Signals) -> None:
    try:
        os.kill(pid, which)
    except ProcessLookupError:
        return


def _await_end(pid: int, argument: str) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while was_started_with(argument, pid) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _command_line(pid: int) -> str:
    if Path("/proc/self/cmdline").exists():
        try:
            return (
                Path(f"/proc/{pid}/cmdline")
                .read_bytes()
                .decode(errors="replace")
                .replace("\0", " ")
            )
        except (FileNotFoundError, ProcessLookupError):
            return ""
    listed = subprocess.run(  # noqa: S603  (a fixed command and a number)
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout
