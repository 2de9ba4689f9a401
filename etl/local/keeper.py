"""Keeps one server running: starts it on a free port, brings it back when it dies."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from etl.local.ports import choose_port, is_free, last_port, remember_port
from etl.local.processes import start, stop_leftover
from etl.local.server import Readiness, Server
from etl.runtime.files import last_lines, open_log, write_private

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

READY_LIMIT_SECONDS = 30.0
_START_ATTEMPTS = 5
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 10.0
_SOUND_AFTER_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Keeper:
    """One server and the process that is it at the moment."""

    def __init__(self, server: Server, local_dir: Path) -> None:
        """Nothing is started yet."""
        self.server = server
        self.notes: list[str] = []
        self.port = 0
        self.ready = False
        self._local_dir = local_dir
        self._log_path = local_dir / "logs" / f"{server.service}.log"
        self._pid_path = local_dir / f"{server.service}.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._crashes = 0
        self._started_at = 0.0
        self._deadline = 0.0

    @property
    def pid(self) -> int:
        """The process id of the server, 0 when there is none."""
        return self._process.pid if self._process else 0

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The server's process, if it was started and not found dead."""
        return self._process

    def begin(self) -> None:
        """Stop what a killed supervisor left, prepare the data and start the server.

        Raises:  ConfigurationError when this machine or the data do not allow it.
        """
        self._stop_leftover()
        self.notes += self.server.prepare()
        self._choose_port()
        self._launch()
        self._deadline = time.monotonic() + READY_LIMIT_SECONDS

    def check_ready(self) -> bool:
        """Look once more whether the server is ready; one that died meanwhile is started again.

        Raises:  the server's TransientError when it dies again and again or takes too long.
        """
        if self.ready:
            return True
        state = self.server.readiness(self.port)
        self.ready = state is Readiness.READY
        if state is Readiness.RECOVERING:
            # Replaying a long log after a power cut is progress, not a hang.
            self._deadline = time.monotonic() + READY_LIMIT_SECONDS
        if not self.ready:
            self._revive_while_starting()
        return self.ready

    def revive(self) -> bool:
        """Start the server again if it died and its back-off is over; whether it was started."""
        if self._process is not None and self._process.poll() is None:
            return False
        self._note_death()
        if time.monotonic() < self._started_at + self._delay_seconds():
            return False
        self._launch()
        return True

    def settle_stopped(self) -> None:
        """Forget the process after it was stopped in good order."""
        self._process = None
        self._pid_path.unlink(missing_ok=True)

    def _revive_while_starting(self) -> None:
        if self._crashes >= _START_ATTEMPTS or time.monotonic() > self._deadline:
            raise self._unavailable()
        if self._process is not None and self._process.poll() is not None:
            self._note_death()
            if not is_free(self.port):
                # Somebody took the port between our look and the server's.
                self._choose_port()
        if self._process is None:
            self.revive()

    def _note_death(self) -> None:
        if self._process is None:
            return
        code = self._process.returncode
        _log.warning("%s ended (exit %s); starting it again", self.server.title, code)
        sound = time.monotonic() - self._started_at > _SOUND_AFTER_SECONDS
        self._crashes = 1 if sound else self._crashes + 1
        self._process = None

    def _delay_seconds(self) -> float:
        growing = _FIRST_DELAY_SECONDS * 2.0 ** (self._crashes - 1)
        return min(growing, _LONGEST_DELAY_SECONDS)

    def _launch(self) -> None:
        with open_log(self._log_path) as log:
            self._process = start(self.server.launch(self.port), log)
        self._started_at = time.monotonic()
        write_private(self._pid_path, f"{self._process.pid}\n", durable=False)
        _log.info(
            "%s started on port %s (process %s)", self.server.title, self.port, self._process.pid
        )

    def _stop_leftover(self) -> None:
        try:
            pid = int(self._pid_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return
        stop_leftover(pid, self.server.mark, self.server.stop_signal)

    def _choose_port(self) -> None:
        service, usual = self.server.service, self.server.usual_port
        last = last_port(self._local_dir, service)
        self.port = choose_port(usual, last)
        remember_port(self._local_dir, service, self.port)
        if self.port != usual:
            why = "as last time" if self.port == last else f"because port {usual} is taken"
            self._say(f"{self.server.title} listens on port {self.port}, {why}.")

    def _say(self, note: str) -> None:
        _log.info(note)
        self.notes.append(note)

    def _unavailable(self) -> Exception:
        return self.server.unavailable(
            f"{self.server.title} did not become ready on 127.0.0.1:{self.port}. "
            f"Its last words:\n{last_lines(self._log_path)}",
            hint=f"Read {self._log_path}, mend what it names, and start again.",
        )
