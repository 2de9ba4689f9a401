"""Keep what hooks bring, many requests' events in one transaction.

A store sends one request for every event, and would have each wait for a commit of its own.
Here whoever comes while a commit is under way is stored by the next one, together with all
others that came; nobody is answered before their own events are committed, and nobody's fail
because of another's.
"""

from __future__ import annotations

from concurrent.futures import Future
from copy import copy
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from etl.model.errors import DatabaseUnavailable, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from etl.db.events import BucketEvent

    _Came = tuple[Sequence[BucketEvent], Future[None]]

MOST_AT_ONCE = 16  # of the server's threads: a database that hangs must not take them all
PATIENCE_SECONDS = 1


class Intake:
    """Many callers, one transaction at a time. `keep` commits the events it is given."""

    def __init__(self, keep: Callable[[Sequence[BucketEvent]], object]) -> None:
        self._keep = keep
        self._came: list[_Came] = []
        self._coming = Lock()
        self._turn = Lock()
        self._places = BoundedSemaphore(MOST_AT_ONCE)

    def add(self, events: Sequence[BucketEvent]) -> None:
        """Return when the events are committed.

        Raises:  DatabaseUnavailable when too many wait already; what `keep` raises.
        """
        if not self._places.acquire(timeout=PATIENCE_SECONDS):
            raise DatabaseUnavailable(
                "Too many events wait to be stored.", hint="Send the event again."
            )
        try:
            stored: Future[None] = Future()
            with self._coming:
                self._came.append((events, stored))
            with self._turn:
                self._keep_all()
            stored.result()
        finally:
            self._places.release()

    def _keep_all(self) -> None:
        """Keep what has come, which may be nothing: whoever was here before took ours as well."""
        with self._coming:
            came, self._came = self._came, []
        if came:
            self._keep_together(came)

    def _keep_together(self, came: Sequence[_Came]) -> None:
        """One transaction for all of them; when what one brought cannot be kept, one for each."""
        try:
            self._keep([event for events, _ in came for event in events])
        except Exception as error:  # noqa: BLE001 - whatever it is, each of them has to be told
            if len(came) == 1:
                came[0][1].set_exception(error)
            elif isinstance(error, TransientError):
                for _, stored in came:
                    stored.set_exception(_again(error))
            else:
                for one in came:
                    self._keep_together([one])
        else:
            for _, stored in came:
                stored.set_result(None)


def _again(error: TransientError) -> TransientError:
    """The same error for one more thread: raising it changes it."""
    another = copy(error)
    another.__cause__ = error
    return another
