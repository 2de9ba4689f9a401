"""The API's port: the configured one, or the first free one."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from api.server import listen
from etl.model.errors import ConfigurationError
from etl.settings import Settings, read_settings
from tests.processes import start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which another socket listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_configured_port_in_use_is_an_error(settings: Settings, taken_port: int):
    chosen = settings.model_copy(update={"api_port": taken_port})
    served = start(chosen, "serve", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = " ".join(served.communicate(timeout=120)[0].decode().split())
    assert served.returncode == 2, output
    assert (
        f"API_PORT is {taken_port}, but another process listens on 127.0.0.1:{taken_port}."
        in output
    )
    assert "remove API_PORT" in output


def test_one_port_or_the_next_free_one(taken_port: int):
    with pytest.raises(ConfigurationError, match=f"API_PORT is {taken_port}"):
        listen("127.0.0.1", taken_port, ports=1)
    with listen("127.0.0.1", taken_port) as listener:
        assert listener.getsockname()[1] > taken_port


@pytest.mark.parametrize(
    ("text", "is_set"),
    [("", False), ("#API_PORT=5000", False), ("API_PORT=", False), ("API_PORT=5000", True)],
)
@pytest.mark.parametrize("place", [".env", "environment"])
def test_any_value_sets_the_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, place: str, *, is_set: bool
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("API_PORT", raising=False)
    if place == ".env":
        (tmp_path / ".env").write_text(f"{text}\n")
    elif text.startswith("API_PORT"):
        monkeypatch.setenv("API_PORT", text.partition("=")[2])
    read = read_settings()
    assert read.is_api_port_set == is_set
    assert read.model_copy(update={"local_dir": tmp_path}).is_api_port_set == is_set
