"""SeaweedFS, the second object store: one process, loopback only."""

from __future__ import annotations

import json
import os
import signal
import sysconfig
import time
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from pydantic import SecretStr

from etl.local import processes
from etl.local.ports import LOOPBACK, any_free_port
from etl.model.errors import EtlError
from etl.runtime.files import last_lines
from etl.storage.client import ObjectStore

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from etl.settings import Settings

# In the environment of the benchmark, or of the tests.
PROGRAMS = (
    Path(__file__).parent / ".venv" / "bin" / "weed",
    Path(sysconfig.get_path("scripts")) / "weed",
)
START_SECONDS = 60.0
# Each listens on a port and, for its gRPC, on a second one.
_SERVERS = ("master", "volume", "filer", "s3", "admin")
_LEFT_OUT = ("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0")


class SeaweedUnavailable(RuntimeError):
    """SeaweedFS is not installed or does not start."""


@contextmanager
def running(settings: Settings, folder: Path) -> Iterator[Settings]:
    """Run SeaweedFS in `folder` for one block; return settings with its endpoint and keys.

    Raises:  SeaweedUnavailable when it is not installed or does not become ready.
    """
    program = next(filter(Path.exists, PROGRAMS), None)
    if program is None:
        raise SeaweedUnavailable("not installed: bench/requirements.txt")
    folder.mkdir(parents=True)
    ports = {name: any_free_port() for name in _SERVERS}
    filled = settings.model_copy(
        update={
            "s3_endpoint": f"http://{LOOPBACK}:{ports['s3']}",
            "s3_access_key": token_hex(10),
            "s3_secret_key": SecretStr(token_hex(20)),
        }
    )
    log = folder / "weed.log"
    with log.open("wb") as output:
        process = processes.start(_launch(program, filled, folder, ports), output)
    try:
        _await_ready(process, filled, log)
        yield filled
    finally:
        processes.stop({process: signal.SIGTERM})


def _launch(
    program: Path, settings: Settings, folder: Path, ports: dict[str, int]
) -> processes.Launch:
    keys = folder / "keys.json"
    keys.touch(mode=0o600)
    keys.write_text(json.dumps(_identity(settings)), "utf-8")
    data = folder / "data"
    data.mkdir()
    listening = [f"-{name}.port={port}" for name, port in ports.items()]
    grpc = [f"-{name}.port.grpc={any_free_port()}" for name in ports]
    # Otherwise the S3 server leaves files in the system's temporary folder.
    sockets = [f"-{name}.localSocket={folder / name}.sock" for name in ("filer", "s3")]
    command = [
        *(str(program), f"-logdir={folder}", "mini", f"-dir={data}"),
        *(f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", *listening, *grpc, *_LEFT_OUT),
        *(f"-s3.config={keys}", "-master.telemetry=false", *sockets),
    ]
    environment = {"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder)}
    return processes.Launch(command, environment, directory=folder)


def _identity(settings: Settings) -> dict[str, object]:
    secret = settings.s3_secret_key.get_secret_value() if settings.s3_secret_key else ""
    keys = {"accessKey": settings.s3_access_key, "secretKey": secret}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "bench", "credentials": [keys], "actions": actions}]}


def _await_ready(process: subprocess.Popen[bytes], settings: Settings, log: Path) -> None:
    """Wait until it can create a bucket, some seconds after its port opens."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            ObjectStore(settings).ensure_bucket("ready")
        except EtlError:
            time.sleep(0.1)
        else:
            return
    raise SeaweedUnavailable(f"it did not start; its last words:\n{last_lines(log)}")
