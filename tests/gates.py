"""A port in front of PostgreSQL, which a test closes or stalls."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from threading import Event, Lock, Thread

from pydantic import SecretStr
from sqlalchemy import make_url

from etl.settings import Settings

STALLED_SECONDS = 20  # at most: a test must fail, not wait forever


class Gate:
    """A port in front of a server.

    While it is closed, it cuts and refuses all connections. While it is `stalled`, it keeps them
    and accepts others, but passes nothing on.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._passes = Event()
        self._passes.set()
        self.port = 0
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        self._passes.clear()
        try:
            yield
        finally:
            self._passes.set()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), closing(client), socket.create_connection(self._address) as server:
            with self._lock:
                if self._listener is None:
                    return
                self._open |= {client, server}
            back = Thread(target=self._copy, args=[server, client], daemon=True)
            back.start()
            self._copy(client, server)
            back.join()
            with self._lock:
                self._open -= {client, server}

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(65536):
                self._passes.wait(STALLED_SECONDS)
                target.sendall(block)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def gated(settings: Settings, **options: str) -> Iterator[tuple[Gate, Settings]]:
    """A gate in front of the database of these settings, and settings that lead through it.

    `options` are further ones of DATABASE_URL.
    """
    url = make_url(settings.sqlalchemy_url)
    gate = Gate((url.host or "", url.port or 5432))
    through = url.set(drivername="postgresql", host="127.0.0.1", port=gate.port)
    shown = through.update_query_dict(options).render_as_string(hide_password=False)
    try:
        yield gate, settings.model_copy(update={"database_url": SecretStr(shown)})
    finally:
        gate.close()
