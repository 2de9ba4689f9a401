"""A proxy in front of PostgreSQL that counts how often clients wait for a response."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from etl.settings import Settings


@dataclass
class CountingProxy:
    """The settings that lead to the proxy, and the number of round trips of all connections."""

    settings: Settings
    round_trips: int = 0
    _threads: list[threading.Thread] = field(default_factory=list)
    _clients: list[socket.socket] = field(default_factory=list)

    def serve(self, listening: socket.socket, backend: tuple[str, int]) -> None:
        """Accept connections until `listening` is shut down."""
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                self._clients.append(client)
                self.start(self._forward, client, socket.create_connection(backend))

    def start(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        """Do this in a thread of the proxy."""
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()
        return thread

    def end(self) -> None:
        """Cut all connections."""
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Forward what the client sends; a round trip begins with what follows a response."""
        answered = threading.Event()
        answered.set()
        with client, server:
            answering = self.start(self._answer, client, server, answered)
            for received in _received(client):
                if answered.is_set():
                    answered.clear()
                    self.round_trips += 1
                server.sendall(received)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            answering.join()

    @staticmethod
    def _answer(client: socket.socket, server: socket.socket, answered: threading.Event) -> None:
        with suppress(OSError):
            for received in _received(server):
                answered.set()
                client.sendall(received)
            client.shutdown(socket.SHUT_RDWR)


def _received(end: socket.socket) -> Iterator[bytes]:
    with suppress(OSError):
        while received := end.recv(1 << 16):
            yield received


@contextmanager
def counting_round_trips(settings: Settings) -> Iterator[CountingProxy]:
    """Count while the block runs."""
    assert settings.database_url is not None
    parts = urlsplit(settings.database_url.get_secret_value())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        login, port = parts.netloc.rpartition("@")[0], listening.getsockname()[1]
        url = parts._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
        proxy = CountingProxy(settings.model_copy(update={"database_url": SecretStr(url)}))
        proxy.start(proxy.serve, listening, (str(parts.hostname), parts.port or 5432))
        try:
            yield proxy
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            proxy.end()
