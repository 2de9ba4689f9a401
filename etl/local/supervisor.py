"""The process behind the embedded servers: starts them, restarts them, stops them in the end.

`python -m etl.local.supervisor` is started by the first user of a LOCAL_DIR and handed the
supervisor lock, so that there is one. It leaves that user's process group, writes stack.json
once every server is ready, and ends when no process shares the users' lock any more.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from etl.local.credentials import Credentials, kept_credentials
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
from etl.local.server import Server, Service
from etl.model.errors import ConfigurationError, EtlError
from etl.runtime.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_STARTING_POLL_SECONDS = 0.02
_POLL_SECONDS = 0.1

_log = logging.getLogger(__name__)


class Supervisor:
    """Watches the servers of one LOCAL_DIR for as long as somebody uses them."""

    def __init__(self, local_dir: Path, services: Sequence[Service], region: str) -> None:
        """Nothing is started yet."""
        self._local_dir = local_dir
        self._services = services
        self._region = region
        self._users = FileLock(users_lock_path(local_dir))
        self._keepers: list[Keeper] = []
        self._told_to_stop = False

    def run(self) -> None:
        """Supervise until the last user is gone or a signal asks to stop."""
        for which in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(which, self._on_signal)
        try:
            self._supervise()
        except EtlError as error:
            _log.exception("the stack could not be started")
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
            if any(keeper.revive() for keeper in self._keepers):
                self._publish(credentials)
            time.sleep(_POLL_SECONDS)
        record_path(self._local_dir).unlink(missing_ok=True)

    def _begin(self) -> Credentials:
        try:
            credentials = kept_credentials(self._local_dir)
            for service in self._services:
                keeper = Keeper(self._server(service, credentials), self._local_dir)
                self._keepers.append(keeper)
                keeper.begin()
        except OSError as error:
            raise ConfigurationError(
                f"The embedded servers cannot be set up in {self._local_dir}: {error}.",
                hint="Give that folder to the user who runs Bucketline, or set another LOCAL_DIR.",
            ) from error
        return credentials

    def _server(self, service: Service, credentials: Credentials) -> Server:
        if service is Service.POSTGRES:
            return Postgres(self._local_dir, credentials)
        return EmbeddedObjectStore(self._local_dir, credentials, self._region)

    def _await_ready(self) -> bool:
        """Wait for every server; False when nobody waits with us any more."""
        while not all(keeper.check_ready() for keeper in self._keepers):
            if self._finished():
                return False
            time.sleep(_STARTING_POLL_SECONDS)
        return True

    def _finished(self) -> bool:
        # Once taken, the users' lock is kept to the end: a newcomer waits until all is stopped.
        return self._told_to_stop or self._users.try_exclusive()

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
            keeper.settle_stopped()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_stop = True


def detach() -> None:
    """Go on in a child that no terminal signals; the process that was started ends at once."""
    if os.fork():
        os._exit(0)
    os.setsid()


def main() -> None:
    """Run one supervisor; the caller has locked `--lock` for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local-dir", type=Path, required=True)
    # The lock's descriptor stays open to the end; servers do not inherit it (see processes).
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
