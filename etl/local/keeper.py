"""Keeps one server running: starts it on a free port and restarts it when it ends."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from etl.local.ports import choose_port, is_free, last_port, remember_port
from etl.local.processes import RestartingProcess, start, stop_leftover
from etl.local.server import EmbeddedServer, Readiness
from etl.runtime.backoff import Backoff
from etl.runtime.files import last_lines, open_log, write_private

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

READY_LIMIT_SECONDS = 30.0
_START_ATTEMPTS = 5
_FIRST_RESTART_SECONDS = 0.2
_LAST_RESTART_SECONDS = 10.0
_STEADY_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Keeper:
    """One server and its current process."""

    def __init__(self, server: EmbeddedServer, local_dir: Path) -> None:
        """Does not start the server."""
        self.server = server
        self.notes: list[str] = []
        self.port = 0
        self.ready = False
        self._local_dir = local_dir
        self._log_path = local_dir / "logs" / f"{server.service}.log"
        self._pid_path = local_dir / f"{server.service}.pid"
        backoff = Backoff(_FIRST_RESTART_SECONDS, _LAST_RESTART_SECONDS)
        self._restarting = RestartingProcess(self._spawn, backoff, _STEADY_SECONDS)
        self._deadline = 0.0

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The server's process; None if it was not started or its end was noticed."""
        return self._restarting.process

    @property
    def pid(self) -> int:
        """The process id of the server, or 0."""
        return self.process.pid if self.process else 0

    def begin(self) -> None:
        """Stop the process of a killed supervisor, prepare the data and start the server.

        Raises:  ConfigurationError when this machine or the data do not allow it.
        """
        self._stop_leftover()
        self.notes += self.server.prepare()
        self._choose_port()
        self._restarting.start()
        self._deadline = time.monotonic() + READY_LIMIT_SECONDS

    def check_ready(self) -> bool:
        """Return whether the server is ready; restart it if it ended.

        Raises:  the server's TransientError after several crashes or a timeout.
        """
        if self.ready:
            return True
        state = self.server.readiness(self.port)
        self.ready = state is Readiness.READY
        if state is Readiness.RECOVERING:
            # Replaying a long log after a power cut is progress, not a hang.
            self._deadline = time.monotonic() + READY_LIMIT_SECONDS
        if not self.ready:
            self._restart_while_starting()
        return self.ready

    def restart_if_ended(self) -> bool:
        """Restart the server if it ended and its back-off is over; return whether it was."""
        self._note_exit()
        return self._restarting.restart_if_due()

    def clear_stopped(self) -> None:
        """Remove the pid file after the server was stopped."""
        self._restarting.process = None
        self._pid_path.unlink(missing_ok=True)

    def _restart_while_starting(self) -> None:
        if self._restarting.exits >= _START_ATTEMPTS or time.monotonic() > self._deadline:
            raise self._unavailable()
        if self._note_exit() and not is_free(self.port):
            # Another process took the port after it was checked.
            self._choose_port()
        self._restarting.restart_if_due()

    def _note_exit(self) -> bool:
        code = self._restarting.take_exit_code()
        if code is None:
            return False
        _log.warning("%s ended (exit %s); restarting it", self.server.title, code)
        return True

    def _spawn(self) -> subprocess.Popen[bytes]:
        with open_log(self._log_path) as log:
            process = start(self.server.launch(self.port), log)
        write_private(self._pid_path, f"{process.pid}\n", durable=False)
        _log.info("%s started on port %s (process %s)", self.server.title, self.port, process.pid)
        return process

    def _stop_leftover(self) -> None:
        try:
            pid = int(self._pid_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return
        stop_leftover(pid, self.server.process_argument, self.server.stop_signal)

    def _choose_port(self) -> None:
        service, usual = self.server.service, self.server.usual_port
        last = last_port(self._local_dir, service)
        self.port = choose_port(usual, last)
        remember_port(self._local_dir, service, self.port)
        if self.port != usual:
            why = "as last time" if self.port == last else f"because port {usual} is taken"
            self._add_note(f"{self.server.title} listens on port {self.port}, {why}.")

    def _add_note(self, note: str) -> None:
        _log.info(note)
        self.notes.append(note)

    def _unavailable(self) -> Exception:
        return self.server.unavailable(
            f"{self.server.title} did not become ready on 127.0.0.1:{self.port}. "
            f"The end of its log:\n{last_lines(self._log_path)}",
            hint=f"Read {self._log_path}, fix the cause, and start again.",
        )
