"""The HTTP server: waitress, tuned to outlive slow clients, on the first port that is free."""

from __future__ import annotations

import errno
import json
import signal
import socket
import threading
from copy import copy
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import MultiSocketServer, create_server
from waitress.task import ErrorTask

from api import create_app
from api.bodies import SMALL_BYTES, largest_body
from api.errors import MIMETYPE, body_hint, document
from api.headers import CONTENT_POLICY
from etl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from etl.settings import Settings

THREADS = 24
PORTS_TO_TRY = 100
BACKLOG = 1024
BUFFER_BYTES = 256 * 1024
TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

log = structlog.get_logger("api")


def serve(
    settings: Settings,
    announce: Callable[[str], None] = print,
    more: Sequence[socket.socket] = (),
) -> None:
    """Serve the API until SIGTERM or Ctrl-C, then return.

    Listens on API_HOST and API_PORT, or the next free port, and on the sockets in `more`;
    `announce` is called once with the URL as soon as requests are taken.

    Raises:  ConfigurationError when no port can be had, or DATABASE_URL is missing.
    """
    app = create_app(settings)
    listener = listen(settings.api_host, settings.api_port)
    server = create_server(
        app,
        sockets=[listener, *more],
        threads=THREADS,
        connection_limit=2000,
        asyncore_use_poll=True,
        channel_timeout=30,
        cleanup_interval=5,
        max_request_body_size=SMALL_BYTES,
        outbuf_high_watermark=BUFFER_BYTES,
        clear_untrusted_proxy_headers=True,
        ident="bucketline",
    )
    channel_class = _channel_of(settings)
    for one in _servers(server):
        one.channel_class = channel_class
    _end_on_sigterm()
    announce(_url(listener))
    try:
        server.run()
    finally:
        server.close()


def _servers(server: Any) -> list[Any]:  # noqa: ANN401 - waitress has no types
    """The server of each socket; several share one front."""
    several = isinstance(server, MultiSocketServer)
    return (
        [one for one in server.map.values() if hasattr(one, "channel_class")]
        if several
        else [server]
    )


def listen(host: str, first_port: int) -> socket.socket:
    """A listening socket on the first free port, `first_port` or one after it.

    Raises:  ConfigurationError when none is free, or the host is not ours.
    """
    family, address = _resolve(host)
    last_port = min(first_port + PORTS_TO_TRY, 2**16) - 1
    for port in range(first_port, last_port + 1):
        listener = _try_port(family, address, port)
        if listener is not None:
            if port != first_port:
                log.warning("port_taken", wanted=first_port, using=port)
            return listener
    raise ConfigurationError(
        f"No port from {first_port} to {last_port} is free on {host}.",
        hint="Set API_PORT to a free one.",
    )


def _resolve(host: str) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise _no_address(host, error) from error
    return found[0], str(found[4][0])


def _try_port(family: socket.AddressFamily, address: str, port: int) -> socket.socket | None:
    """A socket that listens on this very port, or None when somebody else has it."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise _no_address(f"{address}:{port}", error) from error
    return listener


def _no_address(what: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"The API cannot listen on {what}: {error.strerror}.",
        hint="Set API_HOST and API_PORT to an address of this machine and a port we may use.",
    )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _end_on_sigterm() -> None:
    """Let SIGTERM end the server as Ctrl-C does; only the main thread may say so."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _exit)


def _exit(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


class _ProblemTask(ErrorTask):  # type: ignore[misc]
    """What waitress refuses before the app sees it, as a problem document like all others."""

    def execute(self) -> None:
        error = self.request.error
        hint = body_hint(self.request.largest_body) if error.code == TOO_LARGE else ""
        body = json.dumps(document(error.code, str(error.body), hint=hint)).encode() + b"\n"
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", MIMETYPE),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", CONTENT_POLICY),
            ("Cache-Control", "no-store"),
        ]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Request(HTTPRequestParser):  # type: ignore[misc]
    """A request whose body may be as large as its route says, known when its head is read."""

    adj: Any
    settings: Settings
    largest_body = SMALL_BYTES

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        self.largest_body = largest_body(self.settings, self.path)
        self.adj = copy(self.adj)
        self.adj.max_request_body_size = self.largest_body + 1  # what is refused


def _channel_of(settings: Settings) -> type[Any]:
    request = type("_Request", (_Request,), {"settings": settings})
    members = {"parser_class": request, "error_task_class": _ProblemTask}
    return type("_Channel", (HTTPChannel,), members)
