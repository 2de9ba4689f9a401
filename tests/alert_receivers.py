"""A receiver of alerts: a real HTTP server in a thread, which answers as a test says."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from pydantic import SecretStr

from etl.settings import Settings

OK, HANG, TRICKLE = 200, -1, -2
LOCATION = "http://127.0.0.1:1/elsewhere"


@dataclass(frozen=True)
class Delivery:
    """One POST: the path, the headers in lower case, and the body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def alert(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class AlertReceiver:
    """What arrived, and how to answer: a status, HANG or TRICKLE, by the number of the POST."""

    answer: Callable[[int], int] = lambda _: OK
    on_arrival: Callable[[], None] = lambda: None
    arrived: list[Delivery] = field(default_factory=list)
    accepted: list[Delivery] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    ended: Event = field(default_factory=Event)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/hook"

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The accepted ones."""
        return [one.alert for one in self.accepted]

    @property
    def events(self) -> list[str]:
        return [one["event"] for one in self.alerts]

    def of(self, settings: Settings, **changed: object) -> Settings:
        """The settings, with alerts to this receiver."""
        return settings.model_copy(update={"alert_url": SecretStr(self.url), **changed})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: AlertReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        found = Delivery(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        receiver = self.receiver
        with receiver.lock:
            receiver.arrived.append(found)
            answer = receiver.answer(len(receiver.arrived))
            if answer == OK:
                receiver.accepted.append(found)
        receiver.on_arrival()
        if answer in (HANG, TRICKLE):
            while answer == TRICKLE and not receiver.ended.wait(0.02):
                self.wfile.write(b"H")  # of a status line that never ends
            receiver.ended.wait(30)
            return
        content = b"<ok> &\x1b" if answer == OK else b"no\n luck"
        self.send_response_only(answer)
        self.send_header("Location", LOCATION)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnected."""


@contextmanager
def receiving(
    receiver: AlertReceiver | None = None, certificate: Path | None = None
) -> Iterator[AlertReceiver]:
    """A receiver while the block runs; one that was there before comes back at its port."""
    receiver = receiver or AlertReceiver()
    handler = type("_Bound", (_Handler,), {"receiver": receiver})
    server = _Server(("127.0.0.1", receiver.port), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver.scheme = "https"
    receiver.port = server.server_port
    receiver.ended.clear()
    thread = Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
