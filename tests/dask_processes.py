"""A Dask scheduler and its workers as processes on 127.0.0.1, which tests kill and start again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import wait_until
from tests.processes import ROOT

_ENVIRONMENT = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "1h",  # a busy machine is no news
    "PYTHONWARNINGS": "ignore",
    "PYTHONPATH": str(ROOT),
}


class DaskProcesses:
    """The processes. `address` stays the same when the scheduler is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self._port}"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> None:
        self.scheduler = self._start(
            *("dask_scheduler", "--host", "127.0.0.1", "--port", str(self._port)),
            *("--no-dashboard", "--dashboard-address", "127.0.0.1:0"),
        )

    def restart_scheduler(self) -> None:
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait()
        self.start_scheduler()

    def start_worker(self, preload: str = "") -> subprocess.Popen[bytes]:
        """A worker without a nanny, so that its process is the one to kill.

        `preload` is a file in the folder that it runs first.
        """
        folder = self._folder / f"worker-{len(self.workers)}"
        worker = self._start(
            *("dask_worker", self.address, "--host", "127.0.0.1", "--nthreads", "1"),
            *("--no-nanny", "--no-dashboard", "--local-directory", str(folder)),
            *("--death-timeout", "60"),
            *(("--preload", str(self._folder / preload)) if preload else ()),
        )
        self.workers.append(worker)
        return worker

    def _start(self, module: str, *words: str) -> subprocess.Popen[bytes]:
        log = (self._folder / "dask.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *words],
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], **_ENVIRONMENT},
                stdout=log,
                stderr=log,
            )

    def wait_for_workers(self, count: int) -> None:
        wait_until(lambda: self.log.count("Registered to:") >= count)

    @contextmanager
    def replacing_workers(self, preload: str = "", count: int = 2) -> Iterator[None]:
        """Keep that many workers alive while the block runs, as a supervisor does."""
        stopping = threading.Event()

        def supervise() -> None:
            while not stopping.wait(0.1):
                alive = sum(one.poll() is None for one in self.workers)
                for _ in range(count - alive):
                    self.start_worker(preload)

        thread = threading.Thread(target=supervise)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    @property
    def log(self) -> str:
        return (self._folder / "dask.log").read_text("utf-8", "replace")

    def end(self) -> None:
        for process in [*self.workers, self.scheduler]:
            if process is not None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()


@contextmanager
def dask_processes(folder: Path, workers: int = 2) -> Iterator[DaskProcesses]:
    """A scheduler with workers, for as long as the block runs."""
    started = DaskProcesses(folder)
    try:
        started.start_scheduler()
        for _ in range(workers):
            started.start_worker()
        yield started
    finally:
        started.end()
