"""A store with conditional writes: the embedded one, behind a proxy that checks the conditions.

The proxy replies as S3 does to If-Match and If-None-Match of a PUT or DELETE, and forwards all
other requests unchanged. It checks and writes under a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from etl.settings import Settings
from etl.storage.client import ObjectStore
from tests.forwarding import ForwardingHandler, ForwardingStore

REFUSAL = (
    b"<Error><Code>PreconditionFailed</Code><Message>At least one did not hold</Message></Error>"
)


class ConditionalStore(ForwardingStore):
    """The proxy, and the method and path of each write it received."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, _Handler)
        self.write_lock = threading.Lock()
        self.writes: list[tuple[str, str]] = []
        self._store = ObjectStore(settings)

    def etag_at(self, path: str) -> str | None:
        """The ETag as S3 returns it; None if there is no object."""
        bucket, _, key = unquote(urlsplit(path).path).removeprefix("/").partition("/")
        etag = self._store.etag(bucket, key)
        return None if etag is None else f'"{etag}"'


class _Handler(ForwardingHandler):
    """Checks the conditions of writes, and forwards requests."""

    server: ConditionalStore

    def answer(self) -> None:
        body = self.body()
        if self.command not in ("PUT", "DELETE"):
            self.forward(body)
            return
        self.server.writes.append((self.command, self.path))
        with self.server.write_lock:
            if self.is_as_expected():
                self.forward(body)
            else:
                self.send(412, [("Content-Type", "application/xml")], REFUSAL)

    def is_as_expected(self) -> bool:
        if_match, if_none_match = self.headers.get("If-Match"), self.headers.get("If-None-Match")
        if if_match is None and if_none_match is None:
            return True
        etag = self.server.etag_at(self.path)
        return etag == if_match if if_match is not None else etag is None


@contextmanager
def conditional_store(settings: Settings) -> Iterator[ConditionalStore]:
    """The store of these settings, with conditional writes."""
    with ConditionalStore(settings) as store, store.serving():
        yield store
