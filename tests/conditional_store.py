"""A store with conditional writes: the embedded one, behind a proxy that checks the conditions.

The proxy replies as S3 does to If-Match and If-None-Match of a PUT or DELETE, and forwards all
other requests unchanged. It checks and writes under a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from etl.settings import Settings
from etl.storage.client import ObjectStore

REFUSAL = (
    b"<Error><Code>PreconditionFailed</Code><Message>At least one did not hold</Message></Error>"
)
OF_THE_CONNECTION = ("Transfer-Encoding", "Connection", "Date", "Server")


class ConditionalStore(ThreadingHTTPServer):
    """The proxy, and the method and path of each write it received."""

    daemon_threads = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.backend = urlsplit(str(settings.s3_endpoint))
        self.write_lock = threading.Lock()
        self.writes: list[tuple[str, str]] = []
        self.settings = settings.model_copy(
            update={"s3_endpoint": f"http://127.0.0.1:{self.server_address[1]}"}
        )
        self._store = ObjectStore(settings)

    def etag_at(self, path: str) -> str | None:
        """The ETag as S3 returns it; None if there is no object."""
        bucket, _, key = unquote(urlsplit(path).path).removeprefix("/").partition("/")
        etag = self._store.etag(bucket, key)
        return None if etag is None else f'"{etag}"'


class Handler(BaseHTTPRequestHandler):
    """Checks the conditions of writes, and forwards requests."""

    protocol_version = "HTTP/1.1"
    server: ConditionalStore

    def answer(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.command not in ("PUT", "DELETE"):
            self.forward(body)
            return
        self.server.writes.append((self.command, self.path))
        with self.server.write_lock:
            if self.is_as_expected():
                self.forward(body)
            else:
                self.send(412, [("Content-Type", "application/xml")], REFUSAL)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

    def is_as_expected(self) -> bool:
        if_match, if_none_match = self.headers.get("If-Match"), self.headers.get("If-None-Match")
        if if_match is None and if_none_match is None:
            return True
        etag = self.server.etag_at(self.path)
        return etag == if_match if if_match is not None else etag is None

    def forward(self, body: bytes) -> None:
        backend = self.server.backend
        with closing(HTTPConnection(str(backend.hostname), backend.port, timeout=60)) as asked:
            asked.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # Host too: it is signed
                asked.putheader(name, value)
            asked.endheaders(body or None)
            answer = asked.getresponse()
            self.send(answer.status, answer.getheaders(), answer.read())

    def send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name not in OF_THE_CONNECTION:
                self.send_header(name, value)
        if "Content-Length" not in dict(headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no lines to standard error."""


@contextmanager
def conditional_store(settings: Settings) -> Iterator[ConditionalStore]:
    """The store of these settings, with conditional writes."""
    with ConditionalStore(settings) as store:
        thread = threading.Thread(target=store.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield store
        finally:
            store.shutdown()
            thread.join()
