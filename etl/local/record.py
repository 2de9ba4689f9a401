"""stack.json: the supervisor's record of the stack for every process that uses LOCAL_DIR."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from etl.local.credentials import Credentials
from etl.local.processes import is_alive
from etl.model.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    EtlError,
    ObjectStoreUnavailable,
)
from etl.runtime.files import read_json, write_private_json
from etl.runtime.locks import is_held

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSION = 1
_FAILURES: tuple[type[EtlError], ...] = (
    ConfigurationError,
    DatabaseUnavailable,
    ObjectStoreUnavailable,
)


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One running server: its process id and its loopback port."""

    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The error that prevented the start, to be raised in the process that requested it."""

    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, error: EtlError) -> Failure:
        """Return the failure that `as_error` converts back to `error`."""
        return cls(error.code, error.message, error.hint)

    def as_error(self) -> EtlError:
        """Return the error that the supervisor raised."""
        known = {kind.__name__: kind for kind in _FAILURES}
        return known.get(self.code, EtlError)(self.message, hint=self.hint)


@dataclass(frozen=True, slots=True)
class StackRecord:
    """A stack that is ready (`services`) or did not start (`failure`)."""

    supervisor_pid: int
    services: Mapping[str, ServiceRecord] = field(default_factory=dict)
    credentials: Credentials | None = None
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
    version: int = VERSION


def record_path(local_dir: Path) -> Path:
    """Return the path of the record; its mode is 0600."""
    return local_dir / "stack.json"


def supervisor_lock_path(local_dir: Path) -> Path:
    """Return the path of the lock that a running supervisor holds exclusively."""
    return local_dir / "supervisor.lock"


def users_lock_path(local_dir: Path) -> Path:
    """Return the path of the lock that every user of the stack shares."""
    return local_dir / "users.lock"


def write_record(local_dir: Path, record: StackRecord) -> None:
    """Replace the record atomically."""
    write_private_json(record_path(local_dir), asdict(record), durable=False)


def read_record(local_dir: Path) -> StackRecord | None:
    """Return the record; None if there is none or another version wrote it."""
    stored = read_json(record_path(local_dir))
    if stored is None or stored.get("version") != VERSION:
        return None
    return StackRecord(
        supervisor_pid=stored["supervisor_pid"],
        services={name: ServiceRecord(**one) for name, one in stored["services"].items()},
        credentials=Credentials(**stored["credentials"]) if stored["credentials"] else None,
        notes=tuple(stored["notes"]),
        failure=Failure(**stored["failure"]) if stored["failure"] else None,
    )


def running_record(local_dir: Path) -> StackRecord | None:
    """Return the record of a running stack, or None.

    A held lock shows that a supervisor runs. Its pid shows that it wrote this record, which could
    be that of a killed supervisor while the next one starts.
    """
    record = read_record(local_dir)
    if record is None or record.failure is not None:
        return None
    is_up = is_held(supervisor_lock_path(local_dir)) and is_alive(record.supervisor_pid)
    return record if is_up else None
