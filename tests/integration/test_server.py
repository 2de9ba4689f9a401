"""The API as a process of its own, and the address it listens on."""

from __future__ import annotations

import http.client
import json
import signal
from typing import TYPE_CHECKING

import pytest

from api.server import listen
from etl.model.errors import ConfigurationError
from tests.api_client import terminate_others
from tests.processes import serving
from tests.user_rows import generate_users

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from etl.settings import Settings


def test_server_answers_and_ends_cleanly_on_sigterm(settings: Settings):
    with serving(settings) as (host, port, process):
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.request("GET", "/data")
        assert connection.getresponse().read() == b"{}\n"
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_server_rejects_oversized_requests_with_problem_details(settings: Settings):
    with serving(settings) as (host, port, _):
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.putrequest("POST", "/data")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == 413
        assert response.headers["Content-Type"] == "application/problem+json"
        assert json.loads(response.read())["status"] == 413
        connection.close()


def test_a_failure_in_mid_stream_breaks_the_connection(settings: Settings, engine: Engine):
    generate_users(engine, 150_000)
    with serving(settings) as (host, port, _):
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("GET", "/data")
        response = connection.getresponse()
        assert response.status == 200
        assert response.read(1) == b"{"
        assert terminate_others(engine) > 0
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        connection.close()


def test_next_free_port_is_used():
    with listen("127.0.0.1", 20_000) as first, listen("127.0.0.1", 20_000) as second:
        assert second.getsockname()[1] > first.getsockname()[1]


def test_foreign_address_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 20_000)
