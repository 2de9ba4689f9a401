"""Group commit for webhook events: store the events of many requests in one transaction.

Stores send one request per event, and a commit per request would be slow. Requests that arrive
during a commit share the next one. The response to a request is sent only after its own events are
committed, and events of other requests cannot make it fail.
"""

from __future__ import annotations

from concurrent.futures import Future
from copy import copy
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from etl.model.errors import DatabaseUnavailable, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from etl.db.event_messages import BucketEvent

    _Pending = tuple[Sequence[BucketEvent], Future[None]]

MAX_WAITING = 16  # requests; if the database hangs, the other server threads stay available
QUEUE_TIMEOUT_SECONDS = 1


class GroupCommit:
    """Commits the events of concurrent callers together. `store` commits one batch of events."""

    def __init__(
        self,
        store: Callable[[Sequence[BucketEvent]], object],
        queue_timeout_seconds: float = QUEUE_TIMEOUT_SECONDS,
    ) -> None:
        self._store = store
        self._queue_timeout_seconds = queue_timeout_seconds
        self._pending: list[_Pending] = []
        self._pending_lock = Lock()
        self._commit_lock = Lock()
        self._slots = BoundedSemaphore(MAX_WAITING)

    def add(self, events: Sequence[BucketEvent]) -> None:
        """Return when the events are committed.

        Raises:  DatabaseUnavailable when too many callers are waiting; any error of `store`.
        """
        if not self._slots.acquire(timeout=self._queue_timeout_seconds):
            raise DatabaseUnavailable(
                "Too many events are waiting to be stored.", hint="Send the event again."
            )
        try:
            stored: Future[None] = Future()
            with self._pending_lock:
                self._pending.append((events, stored))
            with self._commit_lock:
                self._commit_pending()
            stored.result()
        finally:
            self._slots.release()

    def count_waiting(self) -> int:
        """The number of callers whose events go into the next commit."""
        return len(self._pending)

    def _commit_pending(self) -> None:
        """Commit all pending events; none are left if the previous caller committed ours too."""
        pending = self._take_pending()
        if pending:
            self._commit(pending)

    def _take_pending(self) -> list[_Pending]:
        with self._pending_lock:
            pending, self._pending = self._pending, []
        return pending

    def _commit(self, pending: Sequence[_Pending]) -> None:
        """Commit in one transaction; if an entry cannot be stored, use one transaction for each.

        In an outage, callers that came meanwhile fail as well. Another attempt would only make them
        wait longer.
        """
        try:
            self._store([event for events, _ in pending for event in events])
        except TransientError as error:
            for _, stored in [*pending, *self._take_pending()]:
                stored.set_exception(_copied(error))
        except Exception as error:  # noqa: BLE001 - each caller has to receive it
            if len(pending) == 1:
                pending[0][1].set_exception(error)
            else:
                for entry in pending:
                    self._commit([entry])
        else:
            for _, stored in pending:
                stored.set_result(None)


def _copied(error: TransientError) -> TransientError:
    """A copy to raise in another thread, because raising changes an exception."""
    another = copy(error)
    another.__cause__ = error
    return another
