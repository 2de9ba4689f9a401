"""One installation on hosts of its own: store, database, and each of its processes, each on one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg2

from etl.cli.prepare import prepare
from etl.local.credentials import DATABASE, ROLE, Credentials, load_credentials
from etl.local.object_store import EmbeddedObjectStore
from etl.local.ports import LOOPBACK
from etl.local.postgres import Postgres
from etl.local.processes import Launch
from etl.local.processes import start as start_process
from etl.settings import Settings
from tests.conftest import wait_until
from tests.network import NETWORK, Lan, lan
from tests.processes import ROOT, environment

OPERATOR, STORE, DATABASE_HOST, API = "operator", "store", "database", "api"
SCHEDULER, STANDBY = "scheduler", "standby"
DASK, WORKERS = "dask", ("worker1", "worker2")
# A further host, such as one for a worker, needs its name here and its command in one of these.
HOSTS = (OPERATOR, STORE, DATABASE_HOST, API, SCHEDULER, STANDBY, DASK, *WORKERS)
COMMANDS: Mapping[str, tuple[str, ...]] = {
    API: ("-m", "etl", "serve"),
    SCHEDULER: ("-m", "etl", "schedule"),
    STANDBY: ("-m", "etl", "schedule"),
}
_DASK_WORKER = (
    *(
        "-m",
        "distributed.cli.dask_worker",
        "tcp://{dask}:8786",
        "--host",
        "{own}",
        "--nthreads",
        "1",
    ),
    *("--no-nanny", "--no-dashboard", "--local-directory", "{folder}", "--death-timeout", "60"),
)
DASK_COMMANDS: Mapping[str, tuple[str, ...]] = {
    DASK: (
        *("-m", "distributed.cli.dask_scheduler", "--host", "{own}", "--port", "8786"),
        *("--no-dashboard", "--dashboard-address", "{own}:0"),
    ),
    **dict.fromkeys(WORKERS, _DASK_WORKER),
    SCHEDULER: COMMANDS[SCHEDULER],
}
STORE_PORT, DATABASE_PORT, API_PORT = 9000, 5432, 5000
# A connection to PostgreSQL whose other end is silent ends after 4 s instead of 25 s.
IMPATIENT = "?keepalives_idle=2&keepalives_interval=1&keepalives_count=2&tcp_user_timeout=4000"


@dataclass
class Installation:
    """The hosts, the settings that all of them use, and the process of each.

    `commands` are arguments of Python by host, `variables` are of their environment.
    """

    lan: Lan
    folder: Path
    settings: Settings
    commands: Mapping[str, Sequence[str]]
    variables: Mapping[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start the command of a host, with a LOCAL_DIR of its own. Dask needs no settings."""
        places = {
            "own": self.lan.address(name),
            "dask": self.lan.address(DASK),
            "folder": self.folder / name,
        }
        given = environment(self.settings) | {"LOCAL_DIR": str(self.folder / name)}
        if name in (DASK, *WORKERS):
            given = {"PATH": os.environ["PATH"]}
        command = [sys.executable, *(word.format(**places) for word in self.commands[name])]
        self._start(name, Launch(command, {**given, **self.variables}, directory=ROOT))

    @contextmanager
    def restarting(self, *names: str) -> Iterator[None]:
        """Start these again whenever they end, as a supervisor does, while the block runs."""
        ending = threading.Event()

        def supervise() -> None:
            while not ending.wait(0.2):
                for name in names:
                    if self.processes[name].poll() is not None:
                        self.start(name)

        thread = threading.Thread(target=supervise)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()

    def serve(self, name: str, launch: Launch) -> None:
        """Start a server that would listen on loopback on the address of its host instead."""
        address = self.lan.address(name)
        command = [part.replace(LOOPBACK, address) for part in launch.command]
        self._start(name, replace(launch, command=command))

    def _start(self, name: str, launch: Launch) -> None:
        with self.lan.inside(name), (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = start_process(launch, log)

    def stop(self) -> None:
        """End all processes, the servers last."""
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")

    def complaints(self, name: str) -> list[str]:
        """The lines of a log that are more than information, each with its beginning."""
        return [line[:300] for line in self.log(name).splitlines() if "[info " not in line]


@contextmanager
def installed(
    folder: Path,
    database_options: str = "",
    commands: Mapping[str, Sequence[str]] = COMMANDS,
    variables: Mapping[str, str] | None = None,
    **values: object,
) -> Iterator[Installation]:
    """An installation while the block runs, which is on the operator's host.

    `database_options` are those of DATABASE_URL, `values` are settings.
    """
    with ExitStack() as stack:
        hosts = stack.enter_context(lan(HOSTS))
        credentials = load_credentials(folder)
        if DASK in commands:
            values["dask_scheduler"] = f"tcp://{hosts.address(DASK)}:8786"
        settings = _settings(hosts, credentials, database_options, values)
        made = Installation(hosts, folder, settings, commands, variables or {})
        stack.callback(made.stop)
        stack.enter_context(hosts.inside(OPERATOR))
        _start_servers(made, credentials)
        prepare(settings, make_tables=True, make_buckets=True)
        for name in commands:
            made.start(name)
        yield made


def _settings(
    hosts: Lan, credentials: Credentials, database_options: str, values: Mapping[str, object]
) -> Settings:
    database = f"{hosts.address(DATABASE_HOST)}:{DATABASE_PORT}/{DATABASE}{database_options}"
    given: dict[str, object] = {
        "s3_endpoint": f"http://{hosts.address(STORE)}:{STORE_PORT}",
        "s3_access_key": credentials.s3_access_key,
        "s3_secret_key": credentials.s3_secret_key,
        "database_url": f"postgresql://{ROLE}:{credentials.database_password}@{database}",
        "api_host": hosts.address(API),
        "api_port": API_PORT,
        "api_open": True,
        "event_listen": True,
    }
    return Settings(_env_file=None, **given | values)


def _start_servers(made: Installation, credentials: Credentials) -> None:
    (made.folder / "logs").mkdir()
    store = EmbeddedObjectStore(made.folder, credentials)
    store.prepare()
    made.serve(STORE, store.launch(STORE_PORT))
    postgres = Postgres(made.folder, credentials)
    postgres.prepare()
    admitted = Path(postgres.process_argument) / "pg_hba.conf"
    admitted.write_text(f"host all all {NETWORK} scram-sha-256\n", "ascii")
    made.serve(DATABASE_HOST, postgres.launch(DATABASE_PORT))
    address = made.lan.address(DATABASE_HOST)
    wait_until(lambda: _has_database(address, credentials.database_password), pause=0.1)


def _has_database(address: str, password: str) -> bool:
    """Create the database; whether that was possible."""
    try:
        connection = psycopg2.connect(
            host=address, user=ROLE, password=password, dbname="postgres", connect_timeout=2
        )
    except psycopg2.OperationalError:
        return False
    with closing(connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE}")
    return True


def measure(what: str, condition: Callable[[], object], most: float = 120) -> None:
    """Print how long it takes until the condition holds."""
    began = time.monotonic()
    wait_until(condition, seconds=most, pause=0.05)
    seconds = time.monotonic() - began
    print(f"{what}: {seconds:.1f} s", flush=True)  # noqa: T201 - shown if it fails, and with -s
