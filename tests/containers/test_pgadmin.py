"""The profile pgadmin: pgAdmin of PyPI signs in and reads the database without a question."""

from __future__ import annotations

import re

import pytest
import requests

from tests.containers.deployment import Deployment
from tests.containers.images import make_pgadmin

PGADMIN = "http://127.0.0.1:5050"


@pytest.mark.long  # installs pgAdmin, which takes minutes
@pytest.mark.timeout(900)
def test_pgadmin_connects_with_the_password_of_the_environment(deployment: Deployment):
    make_pgadmin(deployment.engine, deployment.folder, deployment.folder.parent / "stand-ins")
    deployment.compose(
        *("--profile", "pgadmin", "up", "--detach", "--wait", "--wait-timeout", "120", "pgadmin")
    )
    databases = deployment.engine.inside(_databases, deployment.secret("POSTGRES_PASSWORD"))
    assert "bucketline" in databases
    deployment.compose("rm", "--stop", "--force", "pgadmin")


def _databases(password: str) -> set[str]:
    """Sign in as a browser does, connect to the only server, and list its databases."""
    with requests.Session() as session:
        page = session.get(f"{PGADMIN}/login", timeout=60)
        token = re.search(r'csrfToken[\'"]: *[\'"]([^\'"]+)', page.text)
        assert token, page.text
        form = {"email": "admin@example.com", "password": password, "csrf_token": token[1]}
        session.post(f"{PGADMIN}/authenticate/login", data=form, timeout=60).raise_for_status()
        script = session.get(f"{PGADMIN}/browser/js/utils.js", timeout=60).text
        token = re.search(r"csrf_token'] *= *'([^']+)", script) or token
        session.headers["X-pgA-CSRFToken"] = token[1]
        connected = session.post(f"{PGADMIN}/browser/server/connect/1/1", timeout=60)
        assert connected.json()["data"]["connected"], connected.text
        nodes = session.get(f"{PGADMIN}/browser/database/nodes/1/1/", timeout=60).json()["data"]
        return {node["label"] for node in nodes}
