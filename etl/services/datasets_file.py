"""The datasets file of a process: read when it starts, and again when it changes on disk."""

from __future__ import annotations

import time
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from etl.db import datasets_file as stored
from etl.model.errors import ConfigurationError
from etl.runtime.logs import get_logger
from etl.settings.datasets_file import read_datasets
from etl.settings.model import DATASETS_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from etl.model.dataset import Dataset
    from etl.settings import Settings

log = get_logger("etl.datasets")

_UNSETTLED_NS = 2_000_000_000  # a file this young may change without a new time of change
# How long a faulty version may be one that is still being written. `describe > datasets.toml`
# leaves the file blank until it has read the objects.
_WRITING_SECONDS = 2
_BLANK_SECONDS = 30


@dataclass(frozen=True, slots=True)
class _Version:
    """What was read: the file and the schemas that it names, and the hash of their contents."""

    files: tuple[Path, ...]
    states: tuple[object, ...]
    digest: str
    is_settled: bool
    is_blank: bool

    def has_changed(self) -> bool:
        """Whether the files may differ from what was read, judged by their metadata."""
        return not self.is_settled or _states(self.files) != self.states


class DatasetsFile:
    """The declared datasets of DATASETS_FILE, followed while the process runs.

    `datasets` is None without a file: runs use the installed datasets then, because another
    process may have a file. One that appears later is followed. A faulty version, and the removal
    of the file, keep the last valid declaration. They are faults only if they last, because the
    file may be about to be written.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. `clock` gives seconds.

        Raises:  ConfigurationError with each fault.
        """
        self._settings = settings
        path = settings.datasets_path
        self._path = path or DATASETS_FILE
        self._version = _read_version(self._path)
        self._is_recorded = False
        self._clock = clock
        self._unfinished: tuple[str, float] | None = None  # digest, and when it was first seen
        self.fault: ConfigurationError | None = None
        self.datasets = None if path is None else read_datasets(path, settings)

    def changed(self) -> tuple[Dataset, ...] | None:
        """The datasets if the file declares others than before; None while it does not.

        Costs only a `stat` of each file unless one was written. Faults are logged once for each
        version of the file.
        """
        if not self._version.has_changed():
            return None
        version = _read_version(self._path)
        if version.digest == self._version.digest:
            self._version, self._unfinished = version, None
            return None
        try:
            found = self._read()
        except ConfigurationError as error:
            if not self._may_be_unfinished(version):
                self._take(version)
                self._report(error)
            return None
        self._take(version)
        if self.fault is not None:
            log.info("the datasets file is valid again")
        self.fault = None
        if found == self.datasets:
            return None
        self.datasets = found
        log.info("the datasets file has changed", datasets=[one.name for one in found])
        return found

    def record(self, connection: Connection) -> None:
        """Store the state of the file for /health, once for each version.

        The connection commits each statement. A process without a file stores nothing.
        """
        if not self._is_recorded and (self.datasets or self.fault):
            stored.record(
                connection,
                path=str(self._path.absolute()),
                digest=self._version.digest,
                error=self.fault.as_dict() if self.fault else None,
            )
            self._is_recorded = True

    def _may_be_unfinished(self, version: _Version) -> bool:
        """Whether a faulty version was first seen a moment ago; the next call reads it again."""
        now = self._clock()
        if self._unfinished is None or self._unfinished[0] != version.digest:
            self._unfinished = (version.digest, now)
        seconds = _BLANK_SECONDS if version.is_blank else _WRITING_SECONDS
        return now - self._unfinished[1] < seconds

    def _take(self, version: _Version) -> None:
        self._version, self._unfinished, self._is_recorded = version, None, False

    def _report(self, error: ConfigurationError) -> None:
        self.fault = error
        log.error(
            "the datasets file has faults; runs use the datasets declared before",
            reason=" ".join(error.message.splitlines()),
            hint=error.hint,
        )

    def _read(self) -> tuple[Dataset, ...]:
        if not (self._path.exists() or self._path.is_symlink()):
            raise ConfigurationError(
                f"{self._path} is gone.",
                hint="Restore it. Runs use the datasets declared before.",
            )
        return read_datasets(self._path, self._settings)


def _read_version(path: Path) -> _Version:
    """The version on disk. States come first: a later change then differs from them."""
    text = _bytes(path)
    files = (path, *_schema_files(path, text))
    states, now = _states(files), time.time_ns()
    digest = sha256()
    for file in files:
        content = _bytes(file)
        digest.update(b"-" if content is None else sha256(content).digest())
    is_settled = all(now - _changed_ns(file) > _UNSETTLED_NS for file in files)
    is_blank = text is not None and not text.strip()
    return _Version(files, states, digest.hexdigest(), is_settled, is_blank)


def _schema_files(path: Path, text: bytes | None) -> list[Path]:
    """The JSON files that the datasets name as their schemas."""
    try:
        datasets = tomllib.loads((text or b"").decode("utf-8-sig")).get("datasets")
    except (ValueError, RecursionError):
        return []
    tables = datasets.values() if isinstance(datasets, dict) else ()
    names = [one.get("schema") for one in tables if isinstance(one, dict)]
    return [path.parent / name for name in names if isinstance(name, str) and "\0" not in name]


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _states(files: tuple[Path, ...]) -> tuple[object, ...]:
    return tuple(_state(file) for file in files)


def _state(path: Path) -> object:
    """What a change of the file changes; None without the file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_mode)


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_ctime_ns
    except OSError:
        return 0
