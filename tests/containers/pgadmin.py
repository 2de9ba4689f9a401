"""pgAdmin as its own pages use it, over the published port."""

from __future__ import annotations

import re
from typing import Any

from urllib3 import BaseHTTPResponse, PoolManager

from tests.conftest import wait_until
from tests.containers.engine import Engine

URL = "http://127.0.0.1:5050"
LOGIN = "admin@example.com"
_TRANSACTION = 1  # of the query tool; pages choose a random number


class PgAdmin:
    """A visitor with a session."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connections = PoolManager(timeout=60, retries=False)
        self._headers: dict[str, str] = {}

    def sign_in(self, password: str) -> bool:
        """Send the form of the login page, and return whether it was accepted."""
        page = self._send("GET", "/login").data.decode()
        found = re.search(r'csrfToken": "([^"]+)', page)
        assert found, page
        token = self._headers["X-pgA-CSRFToken"] = found[1]
        fields = {"csrf_token": token, "email": LOGIN, "password": password}
        form = {**fields, "internal_button": "Login"}
        answer = self._send("POST", "/authenticate/login", fields=form)
        assert answer.status == 302, answer.data
        return answer.headers["Location"] == "/browser/"

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """The JSON of a response, which must be successful."""
        given = {} if method == "GET" else {"json": body or {}}
        answer = self._send(method, path, **given)
        assert answer.status == 200, answer.data
        return answer.json()

    def servers(self) -> list[dict[str, Any]]:
        """The servers of the tree on the left."""
        groups = self.ask("GET", "/browser/server_group/nodes/")["data"]
        return [
            server
            for group in groups
            for server in self.ask("GET", f"/browser/server/nodes/{group['_id']}/")["result"]
        ]

    def connect(self, server: dict[str, Any]) -> dict[str, Any]:
        """Connect to a server without entering a password, as its node does when it is opened."""
        path = f"/browser/server/connect/{server['_pid']}/{server['_id']}"
        connected: dict[str, Any] = self.ask("POST", path)["data"]
        return connected

    def query(self, server: dict[str, Any], statement: str) -> list[list[str]]:
        """The rows of a statement in the query tool on a connected server's database."""
        number = self.connect(server)["did"]
        place = f"{_TRANSACTION}/{server['_pid']}/{server['_id']}/{number}"
        self.ask("POST", f"/sqleditor/initialize/sqleditor/{place}", {"dbname": server["db"]})
        self.ask("POST", f"/sqleditor/query_tool/start/{_TRANSACTION}", {"sql": statement})
        answers: list[dict[str, Any]] = []

        def has_ended() -> bool:
            answers.append(self.ask("GET", f"/sqleditor/poll/{_TRANSACTION}")["data"])
            return answers[-1]["status"] == "Success"

        wait_until(has_ended, pause=0.2)
        rows: list[list[str]] = answers[-1]["result"]
        return rows

    def _send(self, method: str, path: str, **given: object) -> BaseHTTPResponse:
        answer = self._engine.inside(self._request, method, path, given)
        if "Set-Cookie" in answer.headers:
            self._headers["Cookie"] = answer.headers["Set-Cookie"].partition(";")[0]
        return answer

    def _request(self, method: str, path: str, given: dict[str, Any]) -> BaseHTTPResponse:
        send = self._connections.request
        return send(method, URL + path, headers=self._headers, redirect=False, **given)
