"""Bucketline's containers as an operator sees them: commands, ports and passwords."""

from __future__ import annotations

import io
import json
import shutil
import signal
from pathlib import Path
from typing import Any

from minio import Minio
from urllib3 import PoolManager, Retry
from urllib3.exceptions import HTTPError

from tests.conftest import wait_until
from tests.containers.engine import Engine, run

ROOT = Path(__file__).parents[2]
API = "http://127.0.0.1:5000"
STORE = "127.0.0.1:9000"
SERVICES = ("store", "database", "scheduler", "api")
BUCKET = "src-data"


def copy_checkout(folder: Path) -> Path:
    """Copy what an operator needs of this checkout, without its .env, and write passwords."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("docker-compose.yml", "Dockerfile", ".dockerignore", ".env.example", "run.sh"):
        shutil.copy(ROOT / name, folder)
    for lock in ROOT.glob("requirements*.lock"):
        shutil.copy(lock, folder)
    for name in ("etl", "api", "data", "bin", "deploy"):
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=without, dirs_exist_ok=True)
    run(folder / "run.sh", "secrets")
    return folder


class Deployment:
    """The containers of docker-compose.yml in a folder."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.environment = folder / ".env"

    def deploy(self) -> str:
        """Run bin/deploy.sh in the engine's network and return what it prints."""
        here = f"--target={self.engine.init}"
        script = self.folder / "bin" / "deploy.sh"
        return run("nsenter", here, "--net", script, env=self.engine.environment)

    def remove_volumes(self) -> None:
        """Remove the containers of all profiles, with their data."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "5")

    def compose(self, *words: str | Path) -> str:
        """Run `docker compose` in the folder and return its output."""
        return self.engine.run("compose", *words, cwd=self.folder)

    def up(self, *options: str) -> None:
        """Start what is not running, and wait until everything is healthy."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", "120", *options)

    def bucketline(self, *words: str, service: str = "scheduler") -> str:
        """Run one of Bucketline's commands in a running container."""
        return self.compose("exec", "-T", service, "bucketline", *words)

    def sql(self, statement: str) -> list[list[str]]:
        """The rows of a statement as texts, by psql in the database's container."""
        psql = ("psql", "--username=bucketline", "--no-align", "--tuples-only", "--command")
        printed = self.compose("exec", "-T", "database", *psql, statement)
        return [line.split("|") for line in printed.splitlines()]

    def states(self) -> dict[str, str]:
        """Each service's state, such as `running healthy`."""
        shown = self.compose("ps", "--all", "--format", "json").splitlines()
        found = map(json.loads, shown)
        return {one["Service"]: f"{one['State']} {one['Health']}".strip() for one in found}

    def containers(self, service: str) -> list[str]:
        """The IDs of a service's running containers."""
        return self.compose("ps", "--quiet", service).split()

    def kill(self, container: str) -> None:
        """Kill a container's first process, as the kernel does when memory is short."""
        number = self.inspect(container, "{{.State.Pid}}")
        self.engine.kill(int(number), signal.SIGKILL)

    def inspect(self, thing: str, field: str) -> str:
        """One field of a container or an image, as a template of `docker inspect`."""
        return self.engine.run("inspect", "--format", field, thing).strip()

    def await_health(self) -> None:
        """Wait until the API reports that store, database and runs are well."""
        wait_until(lambda: self.ask("/health")[0] == 200, seconds=120, pause=0.2)

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
        """The status and the JSON of a response of the published port; 0 without a response."""
        return self.engine.inside(_ask, method, API + path, headers)

    def put(self, key: str, content: bytes) -> None:
        """Put an object into the source bucket, with a client of the store's published port."""
        self._on_store("put_object", BUCKET, key, io.BytesIO(content), len(content))

    def put_user(self, user_id: str, first_name: str = "Ann") -> None:
        """Put a CSV with one user."""
        self.put(f"{user_id}.csv", f"first_name,last_name,birthts\n{first_name},Lee,0\n".encode())

    def remove(self, key: str) -> None:
        """Remove an object from the source bucket."""
        self._on_store("remove_object", BUCKET, key)

    def has_user(self, user_id: str) -> bool:
        """Whether the API serves this user."""
        return self.ask(f"/data/{user_id}")[0] == 200

    def await_user(self, user_id: str) -> None:
        """Wait until the API serves this user. The next run of the interval is 25 minutes away.

        After an outage, the attempts to listen and to run have pauses of up to half a minute each.
        """
        wait_until(lambda: self.has_user(user_id), seconds=180, pause=0.1)

    def _on_store(self, method: str, *arguments: object) -> None:
        secret = self.secret("MINIO_ROOT_PASSWORD")
        self.engine.inside(_call_store, secret, method, *arguments)

    def secret(self, name: str) -> str:
        """A password from .env."""
        lines = self.environment.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)[name]


def _ask(method: str, url: str, headers: dict[str, str]) -> tuple[int, Any]:
    with PoolManager(timeout=30, retries=False) as connections:
        try:
            response = connections.request(method, url, headers=headers)
        except HTTPError:
            return 0, None
        return response.status, response.json()


def _call_store(secret: str, method: str, *arguments: object) -> None:
    with PoolManager(timeout=30, retries=Retry(5, backoff_factor=0.2)) as connections:
        client = Minio(
            STORE, "bucketline", secret, secure=False, region="us-east-1", http_client=connections
        )
        getattr(client, method)(*arguments)
