"""Clients that never finish a request lose their connection and block no others."""

from __future__ import annotations

import http.client
import itertools
import json
import resource
import socket
import threading
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from api.server import HEAD_BYTES
from api.server.channel import ClientTimeouts
from api.server.connections import (
    MAX_CONNECTIONS,
    NEEDED_DESCRIPTORS,
    connections_within,
)
from api.server.parser import CHUNK_LINE_BYTES, TRAILER_BYTES
from tests.conftest import wait_until
from tests.processes import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.settings import Settings
    from tests.conftest import TestBucket

    Address = tuple[str, int]

FLOOD = 2050
DRIP_SECONDS = 0.05
CUT_WITHIN_SECONDS = 20  # the time limit of a test
ANSWERED_WITHIN_SECONDS = 20

HEAD = b"GET /stats HTTP/1.1\r\nHost: localhost\r\n"
WHOLE_HEAD = HEAD + b"\r\n"
POST = b"POST /minio-event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Client:
    """One connection for raw bytes."""

    def __init__(self, address: Address, sent: bytes = b"") -> None:
        self.socket = socket.create_connection(address, timeout=ANSWERED_WITHIN_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(sent)

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def status(self) -> int:
        """The status of the next response, which is read completely."""
        self.socket.settimeout(ANSWERED_WITHIN_SECONDS)
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        response.read()
        return response.status

    def is_cut(self) -> bool:
        """Whether the server closed the connection; discards received bytes."""
        self.socket.settimeout(0.01)
        try:
            return self.socket.recv(4096) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True


class Serving:
    """The API in its own process, and its clients."""

    def __init__(self, settings: Settings, held: ExitStack, timeouts: ClientTimeouts) -> None:
        self.host, self.port, self.process = held.enter_context(
            serving(settings, timeouts=timeouts)
        )
        self.address = self.host, self.port
        self._held = held

    def client(self, sent: bytes = b"") -> Client:
        return self._held.enter_context(closing(Client(self.address, sent)))

    def health(self) -> int:
        """The status that a new client gets from /health."""
        with closing(
            Client(self.address, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        ) as new:
            return new.status()


@pytest.fixture
def serve(settings: Settings) -> Iterator[Callable[..., Serving]]:
    """Starts the API with these timeouts."""
    with ExitStack() as held:
        yield lambda **seconds: Serving(settings, held, ClientTimeouts(**seconds))


def expect_all_cut(dripping: dict[str, tuple[Client, bytes]]) -> None:
    """Send the same few bytes on each connection again and again until it is closed."""
    left = dict(dripping)

    def drip() -> bool:
        for name, (client, drip) in dripping.items():
            if name in left:
                with suppress(ConnectionError):
                    client.send(drip)
                if client.is_cut():
                    del left[name]
        return not left

    with suppress(AssertionError):
        wait_until(drip, seconds=CUT_WITHIN_SECONDS)
    assert not left


# -- heads


def test_a_head_that_drips_is_cut(serve: Callable[..., Serving]):
    """Tested as the first head of a connection, and after responses."""
    api = serve(head_seconds=1)
    ways = {
        "first line": (b"", b"G"),
        "blank lines": (b"", b"\r\n"),
        "value": (HEAD + b"X-Drip: ", b"x"),
        "headers": (HEAD, b"X-Drip: x\r\n"),
    }
    dripping = {}
    for answers, (name, (begun, drip)) in itertools.product(range(3), ways.items()):
        client = api.client()
        for _ in range(answers):
            client.send(WHOLE_HEAD)
            assert client.status() == 200
        client.send(begun)
        dripping[f"{name}, after {answers}"] = client, drip
    expect_all_cut(dripping)


def test_a_connection_at_rest_outlives_the_time_for_a_head(serve: Callable[..., Serving]):
    api = serve(head_seconds=1)
    at_rest, dripping = api.client(WHOLE_HEAD), api.client()
    assert at_rest.status() == 200
    expect_all_cut({"dripping": (dripping, b"x")})
    at_rest.send(WHOLE_HEAD)
    assert at_rest.status() == 200


def test_time_for_an_answer_is_not_time_for_the_next_head(serve: Callable[..., Serving]):
    """Half a request follows one whose response takes longer than the limit for a head."""
    wait = b"POST /data?wait=3 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    client = serve(head_seconds=1).client(wait + HEAD)
    assert client.status() == 202
    client.send(b"\r\n")
    assert client.status() == 200


def test_a_head_that_is_too_large_is_a_problem(serve: Callable[..., Serving]):
    client = serve().client(HEAD + b"X-Large: " + b"x" * HEAD_BYTES + b"\r\n\r\n")
    response = http.client.HTTPResponse(client.socket)
    response.begin()
    assert (response.status, json.loads(response.read())["status"]) == (431, 431)


# -- bodies


def test_a_body_that_drips_is_cut(serve: Callable[..., Serving]):
    api = serve(body_seconds=1)
    ways = {
        "length": (POST + b"Content-Length: 1000\r\n\r\n", b"x"),
        "chunk": (CHUNKED + b"3E8\r\n", b"x"),
        "chunks": (CHUNKED, b"1\r\nx\r\n"),
        "blank lines": (CHUNKED, b"\r\n"),
        "extension": (CHUNKED + b"1;a=", b"x"),
        "trailers": (CHUNKED + b"0\r\n", b"X-Drip: x\r\n"),
    }
    expect_all_cut({name: (api.client(begun), drip) for name, (begun, drip) in ways.items()})


def put(bucket: TestBucket) -> bytes:
    """The start of an upload's head."""
    return b"PUT /objects/%b/a HTTP/1.1\r\nHost: localhost\r\n" % bucket.name.encode()


def test_body_that_arrives_fast_enough_is_accepted(
    serve: Callable[..., Serving], bucket: TestBucket
):
    """The upload takes longer than the time limit that cuts a stalled body."""
    piece, count = 4096, 200
    api = serve(body_seconds=0.5)
    steady = api.client(put(bucket) + b"Content-Length: %d\r\n\r\n" % (piece * count))
    stopped = api.client(POST + b"Content-Length: 1000\r\n\r\n")
    sent = 0
    while not stopped.is_cut():
        steady.send(bytes(piece))
        sent += 1
        assert sent < count
    steady.send(bytes(piece * (count - sent)))
    assert steady.status() == 200
    assert bucket.get("a") == bytes(piece * count)


def test_chunk_overhead_is_limited(serve: Callable[..., Serving], bucket: TestBucket):
    """Also on routes that accept large bodies."""
    api = serve()
    for body in (
        b"1;a=" + b"x" * (CHUNK_LINE_BYTES + 1),
        b"1\r\nx\r\n" + b"0" * (CHUNK_LINE_BYTES + 1),
        b"0\r\n" + b"X-Trailer: x\r\n" * (TRAILER_BYTES // 14 + 1),
    ):
        client = api.client(put(bucket) + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        assert client.status() == 400


@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_client_that_still_sends_a_refused_body_gets_the_response(
    serve: Callable[..., Serving], kind: str
):
    """More than the buffers of a connection hold follows the part that is refused."""
    piece, count = bytes(1 << 20), 64
    size = len(piece) * count
    chunk = b"%x\r\n%b\r\n" % (len(piece), piece)
    head = POST + b"Content-Length: %d\r\n\r\n" % size if kind == "length" else CHUNKED
    client = serve().client(head)
    for _ in range(count):
        client.send(chunk if kind == "chunks" else piece)
    assert client.status() == 413
    assert client.is_cut()


def test_client_that_never_ends_a_refused_body_is_cut(serve: Callable[..., Serving]):
    client = serve(refused_seconds=1).client(POST + b"Content-Length: 1000000000\r\n\r\n")
    assert client.status() == 413

    def is_reset() -> bool:
        try:
            client.send(bytes(1000))
        except ConnectionError:
            return True
        return False

    assert not is_reset()
    wait_until(is_reset, seconds=CUT_WITHIN_SECONDS)


def test_short_chunks_and_trailers_are_accepted(serve: Callable[..., Serving], bucket: TestBucket):
    chunks = b"".join(b"1;a=b\r\n%c\r\n" % (48 + number % 10) for number in range(20_000))
    client = serve().client(put(bucket) + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    client.send(b"0\r\nX-T: x\r\n\r\n")
    assert client.status() == 200
    assert bucket.get("a") == b"0123456789" * 2000


# -- floods


@pytest.fixture
def many_sockets() -> Iterator[None]:
    """Let this process open enough sockets for a flood."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    expected = FLOOD + 512
    if hard != resource.RLIM_INFINITY and hard < expected:
        pytest.skip(f"{expected} descriptors are more than this process may have")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, expected), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Flood:
    """Many connections that drip bytes, and reconnect when they are cut."""

    def __init__(self, address: Address, begun: bytes, *, again: bool) -> None:
        self._address = address
        self._begun = begun
        self._again = again
        self._sockets: list[socket.socket] = []
        self.rounds = 0

    def begin(self) -> None:
        self._sockets = [self._connect() for _ in range(FLOOD)]

    def _connect(self) -> socket.socket:
        made = socket.create_connection(self._address, timeout=ANSWERED_WITHIN_SECONDS)
        made.sendall(self._begun)
        return made

    def drip(self) -> None:
        for place, each in enumerate(self._sockets):
            try:
                each.sendall(b"x")
            except OSError:
                if self._again:
                    each.close()
                    self._sockets[place] = self._connect()
        self.rounds += 1

    def end(self) -> None:
        for each in self._sockets:
            each.close()


@contextmanager
def flooding(address: Address, begun: bytes, *, again: bool = False) -> Iterator[Flood]:
    """A flood that drips in a thread for the duration of the block."""
    flood, over = Flood(address, begun, again=again), threading.Event()

    def drip() -> None:
        while not over.wait(DRIP_SECONDS):
            with suppress(OSError):
                flood.drip()

    flood.begin()
    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield flood
    finally:
        over.set()
        thread.join()
        flood.end()


@pytest.mark.usefixtures("many_sockets")
@pytest.mark.parametrize(
    "begun", [HEAD + b"X-Drip: ", POST + b"Content-Length: 60000\r\n\r\n"], ids=["heads", "bodies"]
)
def test_health_answers_during_a_flood(serve: Callable[..., Serving], begun: bytes):
    """With default limits, the server closes the connections that have waited longest."""
    api = serve()
    with flooding(api.address, begun) as flood:
        wait_until(lambda: flood.rounds)
        for _ in range(3):
            assert api.health() == 200


@pytest.mark.long
@pytest.mark.usefixtures("many_sockets")
def test_health_answers_during_a_repeated_flood(serve: Callable[..., Serving]):
    api = serve()
    with flooding(api.address, HEAD + b"X-Drip: ", again=True) as flood:
        while flood.rounds < 60:
            assert api.health() == 200
    assert api.health() == 200


@pytest.mark.usefixtures("many_sockets")
def test_an_upload_survives_a_flood(serve: Callable[..., Serving], bucket: TestBucket):
    """The server closes dripping bodies before one that arrives faster."""
    api = serve()
    upload = api.client(put(bucket) + b"Content-Length: 100000\r\n\r\n" + bytes(50_000))
    with flooding(api.address, POST + b"Content-Length: 60000\r\n\r\n") as flood:
        wait_until(lambda: flood.rounds)
        assert api.health() == 200
        upload.send(bytes(50_000))
        assert upload.status() == 200


# -- descriptors


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="another process's limits: Linux")
def test_health_answers_when_descriptors_run_out(serve: Callable[..., Serving]):
    api = serve()
    assert api.health() == 200  # its database connections are open
    _, hard = resource.prlimit(api.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(api.process.pid, resource.RLIMIT_NOFILE, (150, hard))
    for _ in range(300):
        api.client(HEAD)
    assert api.health() == 200


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="another process's limits: Linux")
def test_a_new_upload_survives_newer_drips(serve: Callable[..., Serving], bucket: TestBucket):
    """All connections are new when the server closes some of them, and the upload is the oldest."""
    api = serve()
    assert api.client(put(bucket) + b"Content-Length: 1\r\n\r\nx").status() == 200
    assert api.health() == 200
    _, hard = resource.prlimit(api.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(api.process.pid, resource.RLIMIT_NOFILE, (150, hard))
    upload = api.client(put(bucket) + b"Content-Length: 100000\r\n\r\n" + bytes(50_000))
    for _ in range(300):
        api.client(POST + b"Content-Length: 60000\r\n\r\nx")
    assert api.health() == 200
    upload.send(bytes(50_000))
    assert upload.status() == 200


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="another process's limits: Linux")
def test_the_server_raises_its_limit_of_descriptors(serve: Callable[..., Serving]):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        raised, _ = resource.prlimit(serve().process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raised == (NEEDED_DESCRIPTORS if hard == -1 else min(hard, NEEDED_DESCRIPTORS))


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(1 << 20, MAX_CONNECTIONS), (NEEDED_DESCRIPTORS, MAX_CONNECTIONS), (1024, 384), (64, 64)],
)
def test_connections_leave_descriptors_for_the_rest(descriptors: int, connections: int):
    assert connections_within(descriptors) == connections
