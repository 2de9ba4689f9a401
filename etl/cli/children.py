"""The processes of `up`: started, watched, and restarted when they end."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etl import local
from etl.cli.common import EXIT_CONFIGURATION, EXIT_TRY_AGAIN
from etl.local.processes import Launch, start, stop
from etl.model.errors import ConfigurationError, ServiceNotStarted
from etl.runtime import spawn
from etl.runtime.files import last_lines, open_log

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

FIRST_RESTART_SECONDS = 1.0
LAST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0


@dataclass
class _Child:
    """One process, the start of its output in its log, and the time of its next restart."""

    command: tuple[str, ...]
    process: subprocess.Popen[bytes]
    started: float
    log_start: int
    restart_at: float | None = None
    pause: float = FIRST_RESTART_SECONDS
    reported: int | None = None  # the exit code last reported since it was last steady

    def is_steady(self, now: float) -> bool:
        return now - self.started > STEADY_SECONDS

    def note_end(self, now: float) -> None:
        if self.is_steady(now):
            self.pause, self.reported = FIRST_RESTART_SECONDS, None
        else:
            self.pause = min(self.pause * 2, LAST_RESTART_SECONDS)
        self.restart_at = now + self.pause


class Children:
    """The processes of the scheduler and the API."""

    def __init__(self, local_dir: Path) -> None:
        self._local_dir = local_dir
        self._running: dict[str, _Child] = {}

    def start(self, name: str, *command: str) -> None:
        """Start `python -m etl COMMAND …`, with its output in a log of that name.

        Raises:  as `local.unusable` when the log cannot be written in LOCAL_DIR.
        """
        self._running[name] = self._spawned(name, command)

    def _spawned(self, name: str, command: tuple[str, ...]) -> _Child:
        # In this folder, where .env is.
        launch = Launch(spawn.command("etl", *command), spawn.environment(), directory=Path.cwd())
        try:
            log = open_log(self.log(name))
        except OSError as error:
            raise local.unusable(self._local_dir, error) from error
        with log:
            log_start = log.tell()  # before the child writes, which moves the same position
            return _Child(command, start(launch, log), time.monotonic(), log_start)

    def log(self, name: str) -> Path:
        """The log file with the output of that child."""
        return self._local_dir / "logs" / f"{name}.log"

    def is_overdue(self, name: str, seconds: float) -> bool:
        """Whether the child has been running for longer than that."""
        child = self._running[name]
        return child.process.poll() is None and time.monotonic() > child.started + seconds

    def tend(self, report: Callable[[str], object], *, starting: bool = False) -> None:
        """Restart ended processes, after a pause that doubles while they keep ending.

        Each exit code of a child is reported once, until the child has been steady for a while.

        Raises:  ConfigurationError with the message of a child whose settings are wrong, because
                 restarting would not help; ServiceNotStarted when one crashes while `starting`.
        """
        now = time.monotonic()
        for name, child in self._running.items():
            code = child.process.poll()
            if code is None:
                continue
            if child.restart_at is None:
                child.note_end(now)
                self._refuse(name, child, code, starting=starting)
                self._report(name, child, code, report)
            elif now >= child.restart_at:
                self._start_again(name, child)

    def _start_again(self, name: str, child: _Child) -> None:
        new = self._spawned(name, child.command)
        new.pause, new.reported = child.pause, child.reported
        self._running[name] = new

    def _refuse(self, name: str, child: _Child, code: int, *, starting: bool) -> None:
        hint = f"See the whole log: {self.log(name)}."
        if code == EXIT_CONFIGURATION:
            raise ConfigurationError(f"The {name} ended:\n{self._words(name, child)}", hint=hint)
        if starting and code != EXIT_TRY_AGAIN:
            raise ServiceNotStarted(
                f"The {name} did not start ({_how(code)}):\n{self._words(name, child)}", hint=hint
            )

    def _report(self, name: str, child: _Child, code: int, report: Callable[[str], object]) -> None:
        if code == child.reported:
            return
        child.reported = code
        if code == EXIT_TRY_AGAIN:
            report(
                f"The {name} cannot reach a service that it needs; it is restarted until it can:\n"
                f"{self._words(name, child)}"
            )
        else:
            report(f"The {name} ended ({_how(code)}); restarting it. See {self.log(name)}.")

    def _words(self, name: str, child: _Child) -> str:
        """The last lines of the child's own output."""
        return last_lines(self.log(name), start=child.log_start)

    def stop(self) -> None:
        """Stop all children."""
        stop({child.process: signal.SIGTERM for child in self._running.values()})


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
