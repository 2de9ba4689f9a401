"""The embedded PostgreSQL server, on its own cluster and on loopback only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql

from etl.local.cluster import FAST_SHUTDOWN, Cluster
from etl.local.credentials import DATABASE, ROLE
from etl.local.ports import LOOPBACK
from etl.local.server import Readiness, Service
from etl.model.errors import DatabaseUnavailable, TransientError

if TYPE_CHECKING:
    from pathlib import Path

    from etl.local.credentials import Credentials
    from etl.local.processes import Launch

_TIMEOUT_SECONDS = 2
_SERVER_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    # Not "$user" first: ROLE has the name of the schema of the state, where psql would then create
    # and find tables before those of the data. Sessions of ours set a path of their own.
    "search_path": "public",
}


@dataclass(frozen=True)
class Postgres:
    """The server of the cluster that belongs to `local_dir`."""

    local_dir: Path
    credentials: Credentials

    service = Service.POSTGRES
    title = "PostgreSQL"
    usual_port = 5432
    stop_signal = FAST_SHUTDOWN
    unavailable: type[TransientError] = DatabaseUnavailable

    @property
    def process_argument(self) -> str:
        """The data directory, an argument of the server's command."""
        return str(self._cluster.data)

    def prepare(self) -> list[str]:
        """Create the cluster on first use; reject one of another major version."""
        return self._cluster.prepare()

    def launch(self, port: int) -> Launch:
        """Return how to start the server on loopback `port`, without a Unix socket."""
        settings = _SERVER_SETTINGS | {"port": str(port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._cluster.launch(
            [self._cluster.binaries.postgres, "-D", self.process_argument, *options]
        )

    def readiness(self, port: int) -> Readiness:
        """Return READY when our role can log in; create the database if it is missing."""
        try:
            connection = self._connect(port)
        except psycopg2.OperationalError as error:
            # libpq gives no SQLSTATE for a failed connection, only the server's message.
            recovering = "starting up" in str(error) or "recovery" in str(error)
            return Readiness.RECOVERING if recovering else Readiness.DOWN
        try:
            _create_database(connection)
        except psycopg2.Error:
            return Readiness.DOWN
        finally:
            connection.close()
        return Readiness.READY

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self.local_dir, self.credentials.database_password)

    def _connect(self, port: int) -> Any:  # noqa: ANN401  (psycopg2 is untyped)
        return psycopg2.connect(
            host=LOOPBACK,
            port=port,
            user=ROLE,
            password=self.credentials.database_password,
            dbname="postgres",
            connect_timeout=_TIMEOUT_SECONDS,
            sslmode="disable",
        )


def _create_database(connection: Any) -> None:  # noqa: ANN401  (psycopg2 is untyped)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
