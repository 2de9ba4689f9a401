"""The embedded stack: find or start it, hold it while in use, and read its settings.

The process that gets the supervisor lock starts the supervisor and passes it the lock; others wait
for stack.json. So any number of concurrent starts result in one stack.
"""

from __future__ import annotations

import errno
import logging
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from etl.local.credentials import database_url
from etl.local.ports import LOOPBACK
from etl.local.record import (
    StackRecord,
    read_record,
    record_path,
    running_record,
    supervisor_lock_path,
    users_lock_path,
)
from etl.local.server import Service
from etl.model.errors import ConfigurationError, EtlError, TransientError
from etl.runtime import spawn
from etl.runtime.files import check_writable, last_lines, open_log
from etl.runtime.locks import FileLock, is_held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from etl.settings import Settings

_POLL_SECONDS = 0.02
_SPAWN_ATTEMPTS = 3
# The supervisor gives up much earlier, unless PostgreSQL replays a long log after a power cut.
_LIMIT_SECONDS = 600.0

_log = logging.getLogger(__name__)


@contextmanager
def running(settings: Settings) -> Iterator[Settings]:
    """Start the embedded services of `settings` if necessary, and hold them for one block.

    Yields the settings with endpoint, keys and DATABASE_URL filled in; unchanged if no service is
    embedded. The servers stop when their last holder ends, even if it crashes. A process started
    inside the block does not hold them: it calls `running` itself.

    Raises:  ConfigurationError when LOCAL_DIR, its data or this machine do not allow it;
             ObjectStoreUnavailable or DatabaseUnavailable when a server does not start.
    """
    services = _embedded(settings)
    if not services:
        yield settings
        return
    local_dir = _create(settings.local_dir)
    with _open_lock(users_lock_path(local_dir)) as users:
        _join(users, local_dir)
        record = _start_once(local_dir, services, settings.s3_region)
        for note in record.notes:
            _log.info(note)
        yield _filled_in(settings, record, local_dir)


def recorded(settings: Settings) -> Settings | None:
    """Return the settings that `running` would yield; None if the stack is not running."""
    services = _embedded(settings)
    if not services:
        return settings
    local_dir = settings.local_dir.resolve()
    record = running_record(local_dir)
    if record is None or not _covers(record, services):
        return None
    return _filled_in(settings, record, local_dir)


def notes(settings: Settings) -> list[str]:
    """Return the running stack's notes for the user: unusual ports, data outside LOCAL_DIR."""
    record = running_record(settings.local_dir.resolve()) if _embedded(settings) else None
    return list(record.notes) if record else []


def _embedded(settings: Settings) -> list[Service]:
    wanted = {
        # First, because it starts while PostgreSQL's cluster is created.
        Service.OBJECT_STORE: settings.embeds_object_store,
        Service.POSTGRES: settings.embeds_database,
    }
    return [service for service, embedded in wanted.items() if embedded]


def _create(local_dir: Path) -> Path:
    try:
        local_dir.mkdir(parents=True, exist_ok=True)
        check_writable(local_dir)
    except OSError as error:
        raise unusable(local_dir, error) from error
    return local_dir.resolve()


def _open_lock(path: Path) -> FileLock:
    try:
        return FileLock(path)
    except OSError as error:
        raise unusable(path.parent, error) from error


def unusable(local_dir: Path, error: OSError) -> EtlError:
    """Return the error for a LOCAL_DIR that is not writable."""
    message = f"LOCAL_DIR={local_dir} cannot be used: {error}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(message, hint="Free space on its disk, then start again.")
    return ConfigurationError(
        message, hint="Make the user who runs Bucketline its owner, or set another LOCAL_DIR."
    )


def _join(users: FileLock, local_dir: Path) -> None:
    """Share the users' lock; wait for a supervisor that is stopping."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    while not users.try_shared():
        if time.monotonic() > deadline:
            raise TransientError(
                f"The embedded servers of {local_dir} did not stop within "
                f"{_LIMIT_SECONDS:.0f} seconds.",
                hint=f"Read {local_dir / 'logs'} and try again.",
            )
        time.sleep(_POLL_SECONDS)


def _start_once(local_dir: Path, services: list[Service], region: str) -> StackRecord:
    """Return the record of the running stack; start one if there is none."""
    failed_before = read_record(local_dir)
    spawned = 0
    deadline = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < deadline:
        record = read_record(local_dir)
        if record is not None and record.failure is not None and record != failed_before:
            raise record.failure.as_error()
        current = running_record(local_dir)
        if current is not None:
            _check_covers(current, services, local_dir)
            return current
        if spawned < _SPAWN_ATTEMPTS:
            spawned += _spawn_if_none(local_dir, services, region)
        elif not is_held(supervisor_lock_path(local_dir)):
            break
        time.sleep(_POLL_SECONDS)
    raise TransientError(
        f"The supervisor of {local_dir} did not start. The end of its log:\n"
        f"{last_lines(_supervisor_log(local_dir))}",
        hint=f"Read {local_dir / 'logs'}, fix the cause, and start again.",
    )


def _spawn_if_none(local_dir: Path, services: list[Service], region: str) -> bool:
    """Start a supervisor unless one runs; return whether it was started."""
    with _open_lock(supervisor_lock_path(local_dir)) as lock:
        if not lock.try_exclusive():
            return False
        record_path(local_dir).unlink(missing_ok=True)
        _spawn(local_dir, services, region, lock)
    return True


def _spawn(local_dir: Path, services: list[Service], region: str, lock: FileLock) -> None:
    command = spawn.command("etl.local.supervisor")
    options = [f"--local-dir={local_dir}", f"--lock={lock.descriptor}", f"--region={region}"]
    with open_log(_supervisor_log(local_dir)) as log:
        subprocess.run(  # noqa: S603  (our own module)
            [*command, *options, *services],
            env=_supervisor_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock.descriptor],
            start_new_session=True,
            check=False,
        )


def _supervisor_environment() -> dict[str, str]:
    # libpq reads PG* variables meant for other servers.
    return {name: value for name, value in spawn.environment().items() if not name.startswith("PG")}


def _supervisor_log(local_dir: Path) -> Path:
    return local_dir / "logs" / "supervisor.log"


def _covers(record: StackRecord, services: list[Service]) -> bool:
    return all(service in record.services for service in services)


def _check_covers(record: StackRecord, services: list[Service], local_dir: Path) -> None:
    if _covers(record, services):
        return
    missing = ", ".join(service for service in services if service not in record.services)
    raise ConfigurationError(
        f"The stack that is running in {local_dir} was started without {missing}.",
        hint="It was started with S3_ENDPOINT or DATABASE_URL: stop the processes that use it, set "
        "the same variable here, or use another LOCAL_DIR.",
    )


def _filled_in(settings: Settings, record: StackRecord, local_dir: Path) -> Settings:
    # Imported here because the supervisor imports this package and must start fast.
    from pydantic import SecretStr  # noqa: PLC0415

    credentials = record.credentials
    if credentials is None:
        raise ConfigurationError(
            f"{record_path(local_dir)} does not contain credentials.",
            hint="Stop the processes that use the stack, then start it again.",
        )
    update: dict[str, object] = {}
    if settings.embeds_object_store:
        port = record.services[Service.OBJECT_STORE].port
        update["s3_endpoint"] = f"http://{LOOPBACK}:{port}"
        update["s3_access_key"] = credentials.s3_access_key
        update["s3_secret_key"] = SecretStr(credentials.s3_secret_key)
        if "event_listen" not in settings.model_fields_set:
            update["event_listen"] = True
    if settings.embeds_database:
        port = record.services[Service.POSTGRES].port
        update["database_url"] = SecretStr(database_url(credentials.database_password, port))
    return settings.model_copy(update=update)
