"""The profile pgadmin: its address, its login and the server that it has from the start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.deployment import Deployment
from tests.containers.pgadmin import PgAdmin

pytestmark = pytest.mark.timeout(600)  # the first test makes the images and starts everything


@pytest.fixture(scope="module")
def visitor(deployment: Deployment) -> Iterator[PgAdmin]:
    """A visitor who is not signed in. pgAdmin runs until the end of the module."""
    profile = ("--profile", "pgadmin")
    deployment.compose(*profile, "up", "--detach", "--wait", "--wait-timeout", "120", "pgadmin")
    yield PgAdmin(deployment.engine)
    deployment.compose(*profile, "rm", "--stop", "--force", "pgadmin")


def test_login_requires_the_password_of_the_database(visitor: PgAdmin, deployment: Deployment):
    assert not visitor.sign_in("wrong")
    assert visitor.sign_in(deployment.secret("POSTGRES_PASSWORD"))


def test_only_server_is_the_database_and_its_password_is_known(visitor: PgAdmin):
    (server,) = visitor.servers()
    assert (server["label"], server["host"]) == ("Bucketline", "database")
    assert visitor.connect(server)["connected"]


def test_query_returns_the_rows_of_users(visitor: PgAdmin, deployment: Deployment):
    (server,) = visitor.servers()
    read = "SELECT user_id, first_name FROM users ORDER BY 1 LIMIT 3"
    rows = visitor.query(server, read)
    assert len(rows) == 3
    assert rows == deployment.sql(read)
