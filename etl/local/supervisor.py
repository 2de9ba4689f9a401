"""The supervisor: starts the embedded servers, restarts them, and stops them at the end.

The first process that uses a LOCAL_DIR starts `python -m etl.local.supervisor`, and passes it the
supervisor lock, so that there is only one. The supervisor leaves that process group, writes
stack.json once every server is ready, and ends when no process shares the users' lock.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from etl.local.credentials import Credentials, load_credentials
from etl.local.keeper import Keeper
from etl.local.object_store import EmbeddedObjectStore
from etl.local.postgres import Postgres
from etl.local.processes import stop
from etl.local.record import (
    Failure,
    ServiceRecord,
    StackRecord,
    record_path,
    users_lock_path,
    write_record,
)
from etl.local.server import EmbeddedServer, Service
from etl.model.errors import ConfigurationError, EtlError
from etl.runtime.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_STARTING_POLL_SECONDS = 0.02
_POLL_SECONDS = 0.1

_log = logging.getLogger(__name__)


class Supervisor:
    """Supervises the servers of one LOCAL_DIR while a process uses them."""

    def __init__(self, local_dir: Path, services: Sequence[Service], region: str) -> None:
        """Does not start the servers."""
        self._local_dir = local_dir
        self._services = services
        self._region = region
        self._users = FileLock(users_lock_path(local_dir))
        self._keepers: list[Keeper] = []
        self._is_stopping = False

    def run(self) -> None:
        """Supervise until no process uses the servers, or until a signal."""
        for which in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(which, self._on_signal)
        try:
            self._supervise()
        except EtlError as error:
            _log.exception("starting the embedded servers failed")
            self._stop_servers()
            write_record(self._local_dir, StackRecord(os.getpid(), failure=Failure.of(error)))
        finally:
            self._stop_servers()

    def _supervise(self) -> None:
        credentials = self._begin()
        if not self._await_ready():
            return
        self._publish(credentials)
        while not self._finished():
            if any(keeper.restart_if_ended() for keeper in self._keepers):
                self._publish(credentials)
            time.sleep(_POLL_SECONDS)
        record_path(self._local_dir).unlink(missing_ok=True)

    def _begin(self) -> Credentials:
        try:
            credentials = load_credentials(self._local_dir)
            for service in self._services:
                keeper = Keeper(self._server(service, credentials), self._local_dir)
                self._keepers.append(keeper)
                keeper.begin()
        except OSError as error:
            raise ConfigurationError(
                f"The embedded servers cannot be set up in {self._local_dir}: {error}.",
                hint="Make the user who runs Bucketline its owner, or set another LOCAL_DIR.",
            ) from error
        return credentials

    def _server(self, service: Service, credentials: Credentials) -> EmbeddedServer:
        if service is Service.POSTGRES:
            return Postgres(self._local_dir, credentials)
        return EmbeddedObjectStore(self._local_dir, credentials, self._region)

    def _await_ready(self) -> bool:
        """Wait until every server is ready; return False if no process uses them any more."""
        while not all(keeper.check_ready() for keeper in self._keepers):
            if self._finished():
                return False
            time.sleep(_STARTING_POLL_SECONDS)
        return True

    def _finished(self) -> bool:
        # The users' lock is kept until the end, so new users wait until the servers have stopped.
        return self._is_stopping or self._users.try_exclusive()

    def _publish(self, credentials: Credentials) -> None:
        record = StackRecord(
            supervisor_pid=os.getpid(),
            services={
                keeper.server.service.value: ServiceRecord(keeper.pid, keeper.port)
                for keeper in self._keepers
            },
            credentials=credentials,
            notes=tuple(note for keeper in self._keepers for note in keeper.notes),
        )
        write_record(self._local_dir, record)

    def _stop_servers(self) -> None:
        stop({one.process: one.server.stop_signal for one in self._keepers if one.process})
        for keeper in self._keepers:
            keeper.clear_stopped()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True


def detach() -> None:
    """Continue in a child process without a terminal; the process that was started ends."""
    if os.fork():
        os._exit(0)
    os.setsid()


def main() -> None:
    """Run one supervisor; the caller passes its held lock as `--lock`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local-dir", type=Path, required=True)
    # The descriptor stays open until the end; servers do not inherit it (see processes).
    parser.add_argument("--lock", type=int, required=True, help="descriptor of the held lock")
    parser.add_argument("--region", required=True)
    parser.add_argument("services", type=Service, nargs="+")
    arguments = parser.parse_args()
    detach()
    os.umask(0o077)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(level=logging.INFO, format="%(asctime)sZ %(levelname)s %(message)s")
    Supervisor(arguments.local_dir, arguments.services, arguments.region).run()


if __name__ == "__main__":
    main()
