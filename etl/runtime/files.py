"""Small files in LOCAL_DIR: private JSON, replaced atomically, and server logs."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from typing import IO, TYPE_CHECKING, Any

from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_LOG_LIMIT_BYTES = 10 * 1024 * 1024
_TAIL_BYTES = 4096
_BLOCK_BYTES = 4096


def write_private_json(path: Path, content: object, *, durable: bool = True) -> None:
    """Atomically replace `path` with `content` as JSON, readable only by its owner."""
    write_private(path, json.dumps(content, indent=2) + "\n", durable=durable)


def write_private(path: Path, text: str, *, durable: bool = True) -> None:
    """Atomically replace `path` with `text`, readable only by its owner.

    A file that is not `durable` may be lost in a power cut; use it for state of a running process.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    temporary.replace(path)


def check_writable(directory: Path) -> None:
    """Write a temporary file and remove it.

    Raises:  OSError when that fails, for example on a full disk.
    """
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(_BLOCK_BYTES))


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None when the file is missing or holds anything else.

    Raises:  ConfigurationError when this account may not read the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    except PermissionError as error:
        raise ConfigurationError(
            f"{path} cannot be read: LOCAL_DIR was used by another account.",
            hint="Run Bucketline under that account, or set another LOCAL_DIR.",
        ) from error
    return content if isinstance(content, dict) else None


def make_rename_durable(directory: Path) -> None:
    """Flush a rename in `directory` to disk, so that a power cut cannot undo it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_log(path: Path) -> IO[bytes]:
    """The log at `path`, opened to append; one larger than 10 MiB is first renamed to `.1`."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def last_lines(path: Path, count: int = 10, *, start: int = 0) -> str:
    """The last `count` lines of a log after byte `start`, or a note that there are none."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join(lines[-count:]) or "(the log is empty)"
