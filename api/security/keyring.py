"""The keys as they are now: those of API_KEYS, and those of a file that may change at any time."""

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
class _Seen:
    """The keys, and the stamp of the file they were read from, or why it could not be read."""

    ring: Keyring
    stamp: Stamp | None = None
    fault: str | None = None


class LiveKeyring:
    """Checks before every look-up whether the keys file has changed, which takes microseconds.

    The file, or its folder, may be replaced, or removed and created again. While it is missing,
    faulty or unreadable, its keys are not valid, and an API that was locked stays locked.
    """

    def __init__(self, settings: Settings) -> None:
        self._fixed = settings.key_entries
        self._path = settings.key_file.absolute()  # the working directory may be replaced, too
        self._seen = _Seen(Keyring(self._fixed))
        self._is_locked = bool(self._fixed)

    def is_locked(self) -> bool:
        """Whether a key is needed: there is one, or has been, or the keys file exists."""
        self._refresh()
        return self._is_locked

    def find(self, key: str) -> Entry | None:
        """The entry of a key, or None when it opens nothing, as of when `is_locked` was asked."""
        return self._seen.ring.find(key)

    def _refresh(self) -> None:
        """Read the file if it has changed. A file that could not be read is tried each time."""
        try:
            stamp = key_file.stamp(self._path)
            if (stamp, None) == (self._seen.stamp, self._seen.fault):
                return
            self._is_locked = True
            kept = key_file.read(self._path)
        except OSError as error:
            self._lose(error.strerror or type(error).__name__)
            return
        # Keys and stamp are replaced in one step: of two threads that read different versions,
        # neither may leave its keys with the other's stamp.
        self._seen = _Seen(Keyring((*self._fixed, *kept.entries)), stamp)
        self._report(kept)

    def _lose(self, fault: str) -> None:
        self._is_locked = True
        if self._seen.fault != fault:
            log.error("keys_file_unreadable", path=str(self._path), reason=fault)
        self._seen = _Seen(Keyring(self._fixed), fault=fault)

    def _report(self, kept: KeyFile) -> None:
        log.info("keys_read", names=[entry.name for entry in (*self._fixed, *kept.entries)])
        if kept.faulty_lines:
            log.error("keys_file_faulty", path=str(self._path), lines=kept.faulty_lines)
