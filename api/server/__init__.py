"""The HTTP server: waitress, tuned to outlive slow clients, on the first port that is free."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import threading
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import structlog
from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer
from waitress.channel import ClientDisconnected
from waitress.task import ThreadedTaskDispatcher

from api import create_app
from api.http.bodies import SMALL_BYTES
from api.http.spool import log_full_disk
from api.security.auth import keyring_of
from api.security.keyring import LiveKeyring
from api.server.connections import USUAL, Patience, Server, TimedChannel, connection_limit
from api.server.incoming import ProblemTask, Task, request_class
from api.state.services import IDLE_TIMEOUT_SECONDS
from etl.model.errors import ConfigurationError
from etl.storage.objects import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from apiflask import APIFlask

    from etl.settings import Settings

THREADS = 24
PORTS_TO_TRY = 100
BACKLOG = 1024
BUFFER_BYTES = 256 * 1024  # unread, from which on a thread with more to send waits for the reader
IN_MEMORY_BYTES = BUFFER_BYTES + PIECE_BYTES  # unread, from which on it is kept on disk
LARGE_BYTES = 64 * 1024  # to be sent from where it lies
RECEIVED_BYTES = 128 * 1024  # at a time; waitress's own 8 KB slow uploads down
HEAD_BYTES = 64 * 1024  # of a request, which a connection holds in memory

log = structlog.get_logger("api")


def serve(
    settings: Settings,
    announce: Callable[[str], None] = print,
    *,
    patience: Patience = USUAL,
) -> None:
    """Serve the API until SIGTERM or Ctrl-C, then return.

    Listens on API_HOST and API_PORT or, where API_PORT is not set, on the next free port;
    `announce` is called once with the URL as soon as requests are taken.

    Raises:  ConfigurationError when no port can be had, DATABASE_URL is missing, or it would
    serve the network without a key.
    """
    app = create_app(settings)
    require_key_if_exposed(settings)
    ports = 1 if settings.is_api_port_set else PORTS_TO_TRY
    listener = listen(settings.api_host, settings.api_port, ports=ports)
    server = _server(app, listener)
    server.channel_class = _channel_of(settings, keyring_of(app), patience)
    logging.getLogger("waitress").addFilter(_without_stack)
    _end_on_sigterm()
    announce(_url(listener))
    try:
        server.run()
    finally:
        server.close()


def _server(app: APIFlask, listener: socket.socket) -> Server:
    adjustments = Adjustments(
        sockets=[listener],
        threads=THREADS,
        connection_limit=connection_limit(),
        asyncore_use_poll=True,
        channel_timeout=30,
        cleanup_interval=5,
        max_request_header_size=HEAD_BYTES,
        max_request_body_size=SMALL_BYTES,
        outbuf_high_watermark=BUFFER_BYTES,
        outbuf_overflow=IN_MEMORY_BYTES,
        recv_bytes=RECEIVED_BYTES,
        clear_untrusted_proxy_headers=True,
        ident="bucketline",
    )
    threads = ThreadedTaskDispatcher()
    threads.set_thread_count(THREADS)
    address = (listener.family, listener.type, listener.proto, listener.getsockname())
    return Server(
        app,
        _sock=listener,
        dispatcher=threads,
        adj=adjustments,
        sockinfo=address,
        bind_socket=False,
    )


def require_key_if_exposed(settings: Settings) -> None:
    """Check that what is to be served to other machines needs a key.

    Raises:  ConfigurationError when it does not, and nobody said that it is meant.
    """
    if settings.api_open or LiveKeyring(settings).is_locked():
        return
    _, address = _resolve(settings.api_host)
    if ip_address(address.partition("%")[0]).is_loopback:
        return
    raise ConfigurationError(
        f"API_HOST is {settings.api_host}, which other machines can reach, and no key is set:"
        " anybody could read every user and start runs.",
        hint="Make a key: `./run.sh keys new NAME --role admin`. Or serve this machine alone:"
        " API_HOST=127.0.0.1. API_OPEN=1 serves everybody without a key.",
    )


def listen(host: str, first_port: int, *, ports: int = PORTS_TO_TRY) -> socket.socket:
    """A listening socket on the first free one of so many ports from `first_port` on.

    Raises:  ConfigurationError when none is free, or the host is not ours.
    """
    family, address = _resolve(host)
    last_port = min(first_port + ports, 2**16) - 1
    for port in range(first_port, last_port + 1):
        listener = _try_port(family, address, port)
        if listener is not None:
            if port != first_port:
                log.warning("port_taken", wanted=first_port, using=port)
            return listener
    raise _no_port(host, first_port, last_port)


def _no_port(host: str, first_port: int, last_port: int) -> ConfigurationError:
    if first_port == last_port:
        return ConfigurationError(
            f"API_PORT is {first_port}, but another process listens on {host}:{first_port}.",
            hint=f"Stop it (`ss -ltnp` or `lsof -i :{first_port}` shows it), set API_PORT"
            " to a free port, or leave API_PORT out: the API then uses the next free port.",
        )
    return ConfigurationError(
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


def _without_stack(record: logging.LogRecord) -> bool:
    """Let waitress say that an answer broke off, and what did it, but not the stack."""
    if record.exc_info:
        record.msg = f"{record.getMessage()}: {type(record.exc_info[1]).__name__}"
        record.args, record.exc_info = (), None
    return True


def _end_on_sigterm() -> None:
    """Let SIGTERM end the server as Ctrl-C does; only the main thread may say so."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _exit)


def _exit(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


class Channel(TimedChannel):
    """A connection to a client, cut when the client stops reading in the middle of an answer.

    waitress would keep it, and the thread that answers, for as long as the client likes.
    """

    task_class: type[Any] = Task
    error_task_class: type[Any] = ProblemTask
    outbufs: list[Any]
    total_outbufs_len: int
    is_broken = False

    def write_soon(self, data: bytes) -> int:
        """Send it, or keep it until the client reads; only from then on is the client waited for.

        An answer may have been long in the making, and that is not the client's fault.
        """
        with self.outbuf_lock:
            rest: bytes | memoryview = data
            if not self.total_outbufs_len:
                self.last_activity = time.time()
                rest = self._unsent(data)
            if rest:
                self._keep(rest)
        return len(data)

    def _keep(self, rest: bytes | memoryview) -> None:
        """Buffer it until the client reads; cut the connection when the disk is full."""
        try:
            super().write_soon(rest)
        except OSError as error:  # of a buffer: those of the connection do not come here
            path = self.requests[0].path if self.requests else None
            log_full_disk(error, path=path, answer="cut off")
            self._drop_output()
            raise ClientDisconnected from error

    def _drop_output(self) -> None:
        """Leave nothing to send: the buffers' own figures are wrong after a failed write."""
        for buffer in self.outbufs:
            with suppress(OSError):
                buffer.close()
        self.outbufs = [OverflowableBuffer(self.adj.outbuf_overflow)]
        self.current_outbuf_count = self.total_outbufs_len = 0
        self.is_broken = True

    def _unsent(self, data: bytes) -> bytes | memoryview:
        """Send at once what the connection takes of much data, uncopied; what it leaves."""
        if not isinstance(data, bytes) or len(data) < LARGE_BYTES or not self.connected:
            return data  # an open file is waitress's own business
        sent = self.send(data, do_close=False)
        return memoryview(data)[sent:]

    def is_over(self) -> bool:
        """Whether the client is too late, or the disk had no room for its answer."""
        is_idle = time.time() - self.last_activity > IDLE_TIMEOUT_SECONDS
        is_unread = bool(self.total_outbufs_len) and is_idle
        return self.is_broken or is_unread or super().is_over()


def _channel_of(settings: Settings, keyring: LiveKeyring, patience: Patience) -> type[Any]:
    own = {"parser_class": request_class(settings, keyring), "patience": patience}
    return type("_Channel", (Channel,), own)
