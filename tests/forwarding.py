"""A proxy in front of a real object store: forwards requests unchanged, and may record them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from etl.settings import Settings

OF_THE_CONNECTION = ("Transfer-Encoding", "Connection", "Date", "Server")


class ForwardingStore(ThreadingHTTPServer):
    """The proxy, and the settings that lead to it."""

    daemon_threads = True

    def __init__(self, settings: Settings, handler: type[ForwardingHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.backend = urlsplit(str(settings.s3_endpoint))
        self.settings = settings.model_copy(
            update={"s3_endpoint": f"http://127.0.0.1:{self.server_port}"}
        )

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve while the block runs."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()


class ForwardingHandler(BaseHTTPRequestHandler):
    """Forwards requests."""

    protocol_version = "HTTP/1.1"
    server: ForwardingStore

    def answer(self) -> None:
        """Answer one request."""
        self.forward(self.body())

    def _answer(self) -> None:
        self.answer()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def forward(self, body: bytes) -> None:
        backend = self.server.backend
        address = urlsplit(self.path)  # with a host if this is used as an HTTP proxy
        path = address._replace(scheme="", netloc="").geturl() or "/"
        with closing(HTTPConnection(str(backend.hostname), backend.port, timeout=60)) as asked:
            asked.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # Host too: it is signed
                asked.putheader(name, value)
            asked.endheaders(body or None)
            answer = asked.getresponse()
            if answer.length is None and self.command != "HEAD":
                self.stream(answer)
            else:
                self.send(answer.status, answer.getheaders(), answer.read())

    def stream(self, answer: HTTPResponse) -> None:
        """Forward content of unknown length as it comes, until a client of events has left."""
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name not in OF_THE_CONNECTION:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        with suppress(ConnectionError, TimeoutError):
            while content := answer.read1():
                self.wfile.write(content)

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


@dataclass(frozen=True)
class Request:
    """A request as the store received it."""

    method: str
    target: str
    headers: Message

    @property
    def host(self) -> str:
        return str(self.headers["Host"]).partition(":")[0]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def creates_object(self) -> bool:
        """Whether it is PutObject or CreateMultipartUpload."""
        has_key = len(self.path.strip("/").split("/")) > 1
        return has_key and (
            (self.method == "PUT" and not self.query)
            or (self.method == "POST" and "uploads" in self.query)
        )


class RecordingStore(ForwardingStore):
    """Records the requests."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, _RecordingHandler)
        self.requests: list[Request] = []


class _RecordingHandler(ForwardingHandler):
    server: RecordingStore

    def answer(self) -> None:
        self.server.requests.append(Request(self.command, self.path, self.headers))
        super().answer()


@contextmanager
def recording(settings: Settings) -> Iterator[RecordingStore]:
    """The store of these settings, with a record of its requests."""
    with RecordingStore(settings) as store, store.serving():
        yield store
