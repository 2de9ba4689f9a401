"""A disk that takes no more while a request is handled: answered with 507, nothing half stored.

The server's temporary files go either to a file system of 768 KB (ENOSPC), or to one where no file
may grow beyond 256 KB (EFBIG). The second needs no rights, so it always runs.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3

from etl.local.ports import any_free_port
from etl.settings import Settings
from tests.conftest import TestBucket, wait_until
from tests.processes import ROOT, environment

LARGEST_FILE_BYTES = 256 * 1024
BODY = bytes(3 << 20)  # more than is kept in memory
MOUNT = 'mount -t tmpfs -o size=768k none "$TMPDIR" && exec "$@"'
UNSHARED = ("unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh")

# Small kernel buffers for unread responses, as between two machines.
SERVE = """
import runpy, socket, sys
import api.server
listen = api.server.listen
def listen_with_small_buffer(*address, **options):
    listener = listen(*address, **options)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    return listener
api.server.listen = listen_with_small_buffer
sys.argv[0] = "etl"
runpy.run_module("etl", run_name="__main__")
"""

http = urllib3.PoolManager(timeout=60, retries=False)


@dataclass(frozen=True)
class Server:
    """A served API, and the lines of its log."""

    url: str
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """Every JSON line after the one that contains the address."""
        lines = self.log.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines if not line.startswith("API listening")]

    def failures(self) -> list[dict[str, Any]]:
        """The lines that belong neither to a request nor to the start."""
        return [line for line in self.lines() if line["level"] in ("warning", "error")]

    def is_well(self) -> bool:
        return http.request("GET", f"{self.url}/health").status == 200


@contextmanager
def serving(
    settings: Settings,
    folder: Path,
    *before: str,
    start: Callable[[], None] | None = None,
) -> Iterator[Server]:
    """Start `serve` with its temporary files in a separate folder."""
    temporary, url, log = folder / "tmp", folder / "url", folder / "log"
    temporary.mkdir()
    json_logs = settings.model_copy(update={"log_format": "json", "api_port": any_free_port()})
    command = [*before, sys.executable, "-c", SERVE, "serve", "--url-file", str(url)]
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(json_logs) | {"TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=output,
            preexec_fn=start,  # noqa: PLW1509 - no thread of ours holds a lock meanwhile
        )
    try:
        wait_until(lambda: url.exists() or process.poll() is not None, seconds=60)
        yield Server(url.read_text("utf-8").strip(), log)
        assert list(temporary.iterdir()) == []
    finally:
        process.kill()
        process.wait()


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, LARGEST_FILE_BYTES))


def can_mount(folder: Path) -> bool:
    """Whether the tests may mount a file system; in CI they must be able to."""
    if shutil.which("unshare"):
        asked = [*UNSHARED, "true"]
        done = subprocess.run(asked, env=os.environ | {"TMPDIR": str(folder)}, check=False)
        if done.returncode == 0:
            return True
    assert "CI" not in os.environ, "no mount namespace: the test of a full file system cannot run"
    return False


@pytest.fixture(params=["ENOSPC", "EFBIG"])
def server(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Iterator[Server]:
    """An API with little disk space."""
    if request.param == "EFBIG":
        served = serving(settings, tmp_path, start=limit_files)
    elif can_mount(tmp_path):
        served = serving(settings, tmp_path, *UNSHARED)
    else:
        pytest.skip("no mount namespace can be had here")
    with served as server:
        yield server


def expect_refusal(server: Server, answer: urllib3.BaseHTTPResponse) -> None:
    """Expect 507 with a hint, one line in the log, and a server that continues to serve."""
    assert answer.status == 507, answer.data
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(answer.data)
    assert problem["type"].endswith("insufficient-storage")
    assert problem["hint"]
    (line,) = [line for line in server.failures() if line["event"] == "temporary_file_failed"]
    assert "[Errno " in line["error"]
    assert "TMPDIR" in line["hint"]
    assert line["request_id"] == problem["request_id"] == answer.headers["X-Request-Id"]
    assert server.failures() == [line]
    assert server.is_well()


def pieces() -> Iterator[bytes]:
    """The body, sent without its length."""
    yield from (BODY[at : at + 65_536] for at in range(0, len(BODY), 65_536))


@pytest.mark.parametrize("chunked", [False, True])
def test_upload_on_a_full_disk_returns_507(server: Server, bucket: TestBucket, *, chunked: bool):
    bucket.put("a", "old")
    url = f"{server.url}/objects/{bucket.name}/a"
    answer = http.request("PUT", url, body=pieces() if chunked else BODY)
    expect_refusal(server, answer)
    assert (bucket.keys(), bucket.get("a")) == (["a"], b"old")
    assert http.request("PUT", url, body=b"new").status == 200
    assert bucket.get("a") == b"new"


def test_document_on_a_full_disk_returns_507(server: Server):
    headers = {"Content-Type": "application/json", "X-Request-Id": "mine"}
    url = f"{server.url}/documents?name=a"
    answer = http.request("POST", url, body=b'"' + b"x" * len(BODY) + b'"', headers=headers)
    expect_refusal(server, answer)
    assert answer.headers["X-Request-Id"] == "mine"
    assert http.request("GET", f"{server.url}/documents/a").status == 404


def test_form_upload_on_a_full_disk_returns_507(server: Server, bucket: TestBucket):
    """The server stores the body and then its files; the second of the two does not fit."""
    size = 460_000 if "EFBIG" in os.environ.get("PYTEST_CURRENT_TEST", "") else 560_000
    fields = [("file", ("a", bytes(1000))), ("file", ("b", bytes(size)))]
    url = f"{server.url}/objects/{bucket.name}"
    answer = http.request("POST", url, fields=fields)
    expect_refusal(server, answer)
    assert bucket.keys() == []


def test_response_on_a_full_disk_is_cut_off(server: Server, bucket: TestBucket):
    """The server buffers unread parts of a response on disk."""
    size = 1 << 20
    bucket.put("a", bytes(size))
    host, port = server.url.removeprefix("http://").split(":")
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(60)
        reader.connect((host, int(port)))
        reader.sendall(f"GET /objects/{bucket.name}/a HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert reader.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        wait_until(server.failures)
        received = b"".join(iter(partial(reader.recv, 65_536), b""))
    assert len(received) < size
    (line,) = server.failures()
    assert (line["event"], line["response"]) == ("temporary_file_failed", "cut off")
    assert server.is_well()


def test_log_on_a_full_disk_fails_no_request(
    settings: Settings, bucket: TestBucket, tmp_path: Path
):
    """The log file has a few hundred bytes left, which the first lines fill."""
    (tmp_path / "log").write_bytes(bytes(LARGEST_FILE_BYTES - 500))
    with serving(settings, tmp_path, start=limit_files) as server:
        url = f"{server.url}/objects/{bucket.name}/a"
        for _ in range(50):
            assert http.request("PUT", url, body=b"x").status == 200
        assert http.request("PUT", url, body=BODY).status == 507
        assert http.request("PUT", f"{url}%E9", body=b"x").status == 400
        assert server.is_well()
        assert server.log.stat().st_size == LARGEST_FILE_BYTES
    assert bucket.get("a") == b"x"
