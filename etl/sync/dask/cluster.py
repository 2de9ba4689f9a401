"""The connection to a Dask scheduler, or to workers of our own on this machine."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed import Client, LocalCluster

from etl.model.errors import DaskUnavailable
from etl.runtime.cores import usable_cores
from etl.runtime.logs import get_logger
from etl.sync.dask import LOCAL
from etl.sync.dask.versions import check_versions, not_installed, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

log = get_logger("etl.dask")

CONNECT_SECONDS = 10
ANSWER_SECONDS = 5.0
AWAY_SECONDS = 60.0  # how long a run waits for a scheduler, or for the first worker
_RETRY_SECONDS = 1.0
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 2.0  # between two looks at the workers


class DaskCluster:
    """A Dask scheduler with its workers. Not safe to share between threads."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._token = secrets.token_hex(4)  # other installations may use the same scheduler
        self._number = 0
        self._local: Any = None
        self._client: Any = None
        self._threads: Mapping[str, int] = {}
        self._looked_at = self._seen_at = 0.0

    def connect(self) -> None:
        """Connect again if the scheduler is gone; wait for it for a minute.

        Raises:  DaskUnavailable; ConfigurationError when its versions differ.
        """
        self._seen_at = time.monotonic()
        if self._client is not None and self._client.status == "running":
            return
        deadline = time.monotonic() + AWAY_SECONDS
        while not self._has_reconnected():
            self._close_client()
            try:
                self._client = self._open()
                break
            except (OSError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise self._silent() from error
                time.sleep(_RETRY_SECONDS)
        self._looked_at, self._seen_at = 0.0, time.monotonic()
        self._check_versions()

    def _has_reconnected(self) -> bool:
        """Wait while the client connects again by itself; return whether it has."""
        while self._client is not None and self._client.status == "connecting":
            time.sleep(_POLL_SECONDS)
        return self._client is not None and self._client.status == "running"

    def _open(self) -> Any:  # noqa: ANN401 - Dask has no types
        if self._address == LOCAL:
            if self._local is None:
                self._local = LocalCluster(
                    n_workers=usable_cores(),
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address=None,
                )
            return Client(self._local, timeout=CONNECT_SECONDS)
        return Client(self._address, timeout=CONNECT_SECONDS, name="bucketline")

    def _check_versions(self) -> None:
        """Compare the versions of the scheduler; each task compares those of its worker."""
        if self._address == LOCAL:
            return
        try:
            found = self._client.run_on_scheduler(versions, callback_timeout=CONNECT_SECONDS)
        except ImportError as error:
            raise not_installed("The Dask scheduler") from error
        except TimeoutError as error:
            raise self._silent() from error
        check_versions(versions(), found, "The Dask scheduler", self._address)

    def submit(
        self,
        function: Callable[[Any], object],
        task: object,
        done: Callable[[Any], None],
        avoided: Collection[str],
    ) -> Any:  # noqa: ANN401 - Dask has no types
        """Call the function with the task on a worker; `done` gets the future once it has ended."""
        self._number += 1
        workers = [one for one in self._threads if one not in avoided] if avoided else None
        future = self._client.submit(
            function,
            task,
            key=f"bucketline-{self._token}-{self._number}",
            pure=False,
            workers=workers or None,
            allow_other_workers=bool(workers),
        )
        future.add_done_callback(done)
        return future

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler answers."""
        return self._client is not None and self._client.status == "running"

    def threads(self) -> int:
        """The number of batches that the workers can read at once.

        Raises:  DaskUnavailable when there has been no worker, or no answer, for a minute.
        """
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._look()
            self._looked_at = time.monotonic()
        return sum(self._threads.values())

    def _look(self) -> None:
        now = time.monotonic()
        is_late = now - self._seen_at > AWAY_SECONDS
        try:
            self._threads = dict(self._client.nthreads(callback_timeout=ANSWER_SECONDS))
        except (OSError, TimeoutError) as error:
            if is_late:
                raise self._silent() from error
            return
        if self._threads:
            self._seen_at = now
        elif is_late:
            raise DaskUnavailable("The Dask scheduler has no workers.")

    def _silent(self) -> DaskUnavailable:
        return DaskUnavailable(
            f"The Dask scheduler {self._address} does not answer.",
            public_message="The Dask scheduler does not answer.",
        )

    @property
    def workers(self) -> frozenset[str]:
        """The addresses of the workers, as last seen."""
        return frozenset(self._threads)

    def close(self) -> None:
        """End the connection, and the workers of our own."""
        self._close_client()
        if self._local is not None:
            self._local.close()
            self._local = None

    def _close_client(self) -> None:
        if self._client is not None:
            with suppress(OSError, TimeoutError):
                self._client.close(timeout=2)
            self._client = None
