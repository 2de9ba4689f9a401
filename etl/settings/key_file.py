"""API_KEYS_FILE: API keys that change without a restart, one entry per line, as hashes only.

If the file exists, the API is locked, even if it has no entries: revoking the last key must not
open the API to every client.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.model.errors import ConfigurationError
from etl.model.roles import Entry, parse_entry
from etl.runtime.files import make_rename_durable, write_private
from etl.runtime.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_HEADING = "# API keys: name:role:sha256, one per line. The command `keys` writes this file.\n"

Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The entries of a key file, and the numbers of its invalid lines."""

    entries: tuple[Entry, ...] = ()
    faulty_lines: tuple[int, ...] = ()


def stamp(path: Path) -> Stamp | None:
    """A value that changes whenever the file does; None when there is no file.

    Raises:  OSError when the file cannot be inspected.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    # Restoring a backup can keep st_mtime, but not st_ctime.
    times = found.st_mtime_ns, found.st_ctime_ns
    return found.st_dev, found.st_ino, *times, found.st_size


def read(path: Path) -> KeyFile:
    """The contents of the file; empty when there is no file. Invalid lines grant no access.

    Raises:  OSError when it cannot be read.
    """
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return KeyFile()
    entries, faulty = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            entries.append(parse_entry(line.strip()))
        except ValueError:
            faulty.append(number)
    return KeyFile(tuple(entries), tuple(faulty))


def load(path: Path) -> tuple[Entry, ...]:
    """The entries, to list or change them.

    Raises:  ConfigurationError when the file or a line of it cannot be read.
    """
    with _translating(path):
        found = read(path)
    if found.faulty_lines:
        lines = ", ".join(map(str, found.faulty_lines))
        raise ConfigurationError(
            f"{path} cannot be read in line {lines}.",
            hint="Correct or remove it; an entry is name:role:sha256 or, limited to datasets,"
            " name:role@dataset+dataset:sha256.",
        )
    return found.entries


def add(path: Path, entry: Entry) -> None:
    """Add an entry.

    Raises:  ConfigurationError when the name is taken, or the file cannot be written.
    """
    with _changing(path) as entries:
        if any(other.name == entry.name for other in entries):
            raise ConfigurationError(
                f"A key named {entry.name} already exists.",
                hint=f"Use another name, or revoke it first: `./run.sh keys revoke {entry.name}`.",
            )
        _write(path, [*entries, entry])


def remove(path: Path, name: str) -> int:
    """Remove the entry with this name; returns how many are left.

    Raises:  ConfigurationError when there is none, or the file cannot be written.
    """
    with _changing(path) as entries:
        left = [entry for entry in entries if entry.name != name]
        if len(left) == len(entries):
            raise ConfigurationError(
                f"There is no key named {name} in {path}.",
                hint="`./run.sh keys list` lists them.",
            )
        _write(path, left)
    return len(left)


@contextmanager
def _changing(path: Path) -> Iterator[tuple[Entry, ...]]:
    """The entries, locked against changes by other processes."""
    with _translating(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock")) as lock:
            if not lock.try_exclusive():
                raise ConfigurationError(
                    f"{path} is being changed by another process.", hint="Try again."
                )
            yield load(path)


def _write(path: Path, entries: Sequence[Entry]) -> None:
    write_private(path, _HEADING + "".join(f"{entry}\n" for entry in entries))
    make_rename_durable(path.parent)


@contextmanager
def _translating(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"The keys file {path} cannot be used: {error.strerror}.",
            hint="Set API_KEYS_FILE to a file that this account may read and write.",
        ) from error
