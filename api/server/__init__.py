"""The HTTP server: waitress, extended to limit slow clients, request bodies and connections.

`listener` opens the port, `connections` accepts clients, `channel` times them out, `parser` reads
requests, and `tasks` writes responses.
"""

from __future__ import annotations

import logging
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING

from api import create_app
from api.http.bodies import SMALL_BYTES
from api.security.auth import keyring_of, sessions_of
from api.server.channel import DEFAULT_TIMEOUTS, Channel, ClientTimeouts
from api.server.connections import ApiServer, connection_limit
from api.server.listener import PORTS_TO_TRY, listen, require_key_if_exposed, url_of
from api.server.parser import RequestParser
from api.state.services import services_of
from etl.storage.objects import CHUNK_BYTES

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from apiflask import APIFlask

    from etl.settings import Settings

THREADS = 24
BUFFER_BYTES = 256 * 1024  # a thread with more unread bytes waits for the client
IN_MEMORY_BYTES = BUFFER_BYTES + CHUNK_BYTES  # more unread bytes are buffered on disk
RECEIVED_BYTES = 128 * 1024  # at once; waitress's default of 8 KB slows uploads down
HEAD_BYTES = 64 * 1024  # of a request, which a connection holds in memory


def serve(
    settings: Settings,
    announce: Callable[[str], None] = print,
    *,
    timeouts: ClientTimeouts = DEFAULT_TIMEOUTS,
) -> None:
    """Serve the API until SIGTERM or Ctrl-C, then return.

    Listens on API_HOST and API_PORT or, if API_PORT is not set, on the next free port. Calls
    `announce` once with the URL when it accepts requests.

    Raises:  ConfigurationError if no port is free, DATABASE_URL is missing, or the API would serve
    other machines without a key.
    """
    app = create_app(settings)
    require_key_if_exposed(settings)
    ports = 1 if settings.is_api_port_set else PORTS_TO_TRY
    listener = listen(settings.api_host, settings.api_port, ports=ports)
    server = _create_server(app, listener)
    sources = services_of(app).sources.last
    sources()  # so that they are known before the first upload
    parser = partial(
        RequestParser,
        settings=settings,
        keyring=keyring_of(app),
        sessions=sessions_of(app),
        sources=sources,
    )
    server.channel_class = partial(Channel, timeouts=timeouts, parser_class=parser)
    logging.getLogger("waitress").addFilter(_without_stack)
    _exit_on_sigterm()
    announce(url_of(listener))
    try:
        server.run()
    finally:
        server.close()


def _create_server(app: APIFlask, listener: socket.socket) -> ApiServer:
    return ApiServer(
        app,
        _sock=listener,
        sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        bind_socket=False,
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


def _without_stack(record: logging.LogRecord) -> bool:
    """Replace the stack trace of a broken response with the type of its exception."""
    if record.exc_info:
        record.msg = f"{record.getMessage()}: {type(record.exc_info[1]).__name__}"
        record.args, record.exc_info = (), None
    return True


def _exit_on_sigterm() -> None:
    """Handle SIGTERM like Ctrl-C; only the main thread may set a handler."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _exit)


def _exit(_signal: int, _frame: object) -> None:
    raise SystemExit(0)
