"""The current API keys: those in API_KEYS and those in a file that may change at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from etl.model.roles import Entry, Keyring
from etl.settings import key_file

if TYPE_CHECKING:
    from etl.settings import Settings
    from etl.settings.key_file import KeyFile, Stamp

log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The keys, and the stamp of the file they were read from, or why it could not be read."""

    ring: Keyring
    stamp: Stamp | None = None
    fault: str | None = None


class LiveKeyring:
    """Checks whether the keys file has changed before every request, which takes microseconds.

    The file, or its folder, may be replaced, or removed and created again. While it is missing
    or unreadable, its keys are not valid, and an API that required a key still requires one.
    """

    def __init__(self, settings: Settings) -> None:
        self._fixed = settings.key_entries
        self._path = settings.key_file.absolute()  # the working directory may be replaced, too
        self._snapshot = _Snapshot(Keyring(self._fixed))
        self._is_locked = bool(self._fixed)

    def is_locked(self) -> bool:
        """Whether a key is required: there is or was one, or the keys file exists."""
        self._refresh()
        return self._is_locked

    def find(self, key: str) -> Entry | None:
        """The entry of a key as of the last call of `is_locked`; None if the key is not valid."""
        return self._snapshot.ring.find(key)

    def named(self, name: str) -> Entry | None:
        """The valid entry with this name as of the last call of `is_locked`."""
        return self._snapshot.ring.named(name)

    def _refresh(self) -> None:
        """Read the file if it has changed; retry each time if it could not be read."""
        try:
            stamp = key_file.stamp(self._path)
            if (stamp, None) == (self._snapshot.stamp, self._snapshot.fault):
                return
            self._is_locked = True
            read = key_file.read(self._path)
        except OSError as error:
            self._drop_file_keys(error.strerror or type(error).__name__)
            return
        # One assignment replaces keys and stamp: if two threads read different versions, the
        # keys of one must not be combined with the stamp of the other.
        self._snapshot = _Snapshot(Keyring((*self._fixed, *read.entries)), stamp)
        self._report(read)

    def _drop_file_keys(self, fault: str) -> None:
        self._is_locked = True
        if self._snapshot.fault != fault:
            log.error("keys_file_unreadable", path=str(self._path), reason=fault)
        self._snapshot = _Snapshot(Keyring(self._fixed), fault=fault)

    def _report(self, read: KeyFile) -> None:
        log.info("keys_read", names=[entry.name for entry in (*self._fixed, *read.entries)])
        if read.faulty_lines:
            log.error("keys_file_faulty", path=str(self._path), lines=read.faulty_lines)
