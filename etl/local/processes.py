"""Child processes: they end with their parent, can be restarted, and leftovers are stopped."""

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

    from etl.runtime.backoff import Backoff

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.02
# Enough for PostgreSQL's shutdown checkpoint on a slow disk.
_STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one process: its command, its complete environment and its account."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    account: Account | None = None
    directory: Path = Path("/")
    stop_signal: signal.Signals = signal.SIGTERM


def start(launch: Launch, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process that gets its stop signal when this one dies; its output goes to `log`.

    It inherits no other open file, so it cannot keep our locks held.

    Only Linux can send that signal; elsewhere `stop_leftover` stops the process at the next start.
    Call it from the main thread, because the kernel watches the thread that forked.
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
    """Start a process, wait for its end and return its exit code."""
    return start(launch, log).wait()


class RestartingProcess:
    """A process that is restarted when it ends, with back-off until it runs steadily again."""

    def __init__(
        self, spawn: Callable[[], subprocess.Popen[bytes]], backoff: Backoff, steady_seconds: float
    ) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.exits = 0  # since it last ran for `steady_seconds`
        self._spawn = spawn
        self._backoff = backoff
        self._steady_seconds = steady_seconds
        self._started = 0.0

    def start(self) -> None:
        """Start the process."""
        self.process = self._spawn()
        self._started = time.monotonic()

    def has_run_for(self, seconds: float) -> bool:
        """Whether the current process still runs and was started more than `seconds` ago."""
        is_running = self.process is not None and self.process.poll() is None
        return is_running and time.monotonic() > self._started + seconds

    def take_exit_code(self) -> int | None:
        """Return the exit code once after each end, and schedule the restart."""
        code = None if self.process is None else self.process.poll()
        if code is not None:
            self.process = None
            if time.monotonic() > self._started + self._steady_seconds:
                self.exits = 0
                self._backoff.reset()
            self.exits += 1
            self._backoff.arm()
        return code

    def restart_if_due(self) -> bool:
        """Restart an ended process after its back-off; return whether it was restarted."""
        if self.process is not None or not self._backoff.is_due():
            return False
        self.start()
        return True


def stop(processes: Mapping[subprocess.Popen[bytes], signal.Signals]) -> None:
    """Stop processes together, each with its own signal; kill those that take too long."""
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
    """Stop the process `pid` if `argument` is in its command, and wait for its end."""
    for next_signal in (stop_signal, signal.SIGKILL):
        if not was_started_with(argument, pid):
            return
        _send(pid, next_signal)
        _await_end(pid, argument)


def was_started_with(argument: str, pid: int) -> bool:
    """Whether `pid` is alive and `argument` is in its command, because pids are reused."""
    return f" {argument} " in f" {_command_line(pid)} "


def is_alive(pid: int) -> bool:
    """Whether a process `pid` exists, of any user."""
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

    def set_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:
            # The parent died before the signal was set.
            os._exit(1)

    return set_signal


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
