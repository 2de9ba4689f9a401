"""The child processes of `up`: the scheduler and the API, restarted when they end."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from etl import local
from etl.cli.common import EXIT_CONFIGURATION, EXIT_TRY_AGAIN
from etl.local.processes import Launch, RestartingProcess, start, stop
from etl.model.errors import ConfigurationError, ServiceNotStarted
from etl.runtime import spawn
from etl.runtime.backoff import Backoff
from etl.runtime.files import last_lines, open_log

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

FIRST_RESTART_SECONDS = 1.0
LAST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0


class _Child:
    """One command of ours, its process and its log."""

    def __init__(self, name: str, command: tuple[str, ...], local_dir: Path) -> None:
        self.name = name
        self.log = local_dir / "logs" / f"{name}.log"
        self.reported: int | None = None  # the exit code last reported since it ran steadily
        backoff = Backoff(FIRST_RESTART_SECONDS, LAST_RESTART_SECONDS)
        self.restarting = RestartingProcess(self._spawn, backoff, STEADY_SECONDS)
        self._command = command
        self._log_start = 0

    def output(self) -> str:
        """The end of the current process's output."""
        return last_lines(self.log, start=self._log_start)

    def _spawn(self) -> subprocess.Popen[bytes]:
        # In the current folder, where .env is.
        command = spawn.command("etl", *self._command)
        launch = Launch(command, spawn.environment(), directory=Path.cwd())
        try:
            log = open_log(self.log)
        except OSError as error:
            raise local.unusable(self.log.parents[1], error) from error
        with log:
            self._log_start = log.tell()  # before the child writes, which moves this position
            return start(launch, log)


class Children:
    """The processes of the scheduler and the API."""

    def __init__(self, local_dir: Path) -> None:
        self._local_dir = local_dir
        self._children: dict[str, _Child] = {}

    def start(self, name: str, *command: str) -> None:
        """Start `python -m etl COMMAND …`; its output goes to the log `name`.

        Raises:  as `local.unusable` when the log cannot be written in LOCAL_DIR.
        """
        child = self._children[name] = _Child(name, command, self._local_dir)
        child.restarting.start()

    def log(self, name: str) -> Path:
        """The path of the child's log."""
        return self._children[name].log

    def output(self, name: str) -> str:
        """The end of what the child's current process has written."""
        return self._children[name].output()

    def is_overdue(self, name: str, seconds: float) -> bool:
        """Whether the child's current process has run for longer than `seconds`."""
        return self._children[name].restarting.has_run_for(seconds)

    def restart_ended(self, report: Callable[[str], object], *, starting: bool = False) -> None:
        """Restart ended processes, with a back-off while they keep ending.

        Each exit code of a child is reported once until the child has run steadily.

        Raises:  ConfigurationError quoting a child whose settings are wrong, because a restart
                 cannot succeed; ServiceNotStarted when one crashes while `starting`.
        """
        for child in self._children.values():
            code = child.restarting.take_exit_code()
            if code is None:
                child.restarting.restart_if_due()
                continue
            _raise_if_final(child, code, starting=starting)
            if child.restarting.exits == 1:
                child.reported = None
            if code != child.reported:
                child.reported = code
                report(_restart_message(child, code))

    def stop(self) -> None:
        """Stop all of them."""
        processes = (child.restarting.process for child in self._children.values())
        stop({process: signal.SIGTERM for process in processes if process is not None})


def _raise_if_final(child: _Child, code: int, *, starting: bool) -> None:
    hint = f"See the complete log: {child.log}."
    if code == EXIT_CONFIGURATION:
        raise ConfigurationError(f"The {child.name} ended:\n{child.output()}", hint=hint)
    if starting and code != EXIT_TRY_AGAIN:
        raise ServiceNotStarted(
            f"The {child.name} did not start ({_exit_text(code)}):\n{child.output()}", hint=hint
        )


def _restart_message(child: _Child, code: int) -> str:
    if code == EXIT_TRY_AGAIN:
        return (
            f"The {child.name} cannot reach a service that it needs; it is restarted until it can:"
            f"\n{child.output()}"
        )
    return f"The {child.name} ended ({_exit_text(code)}); restarting it. See {child.log}."


def _exit_text(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
