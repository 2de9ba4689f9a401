"""The keys as they are now: those of API_KEYS, and those of a file that may change at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from etl import key_file
from etl.access import Entry, Keyring

if TYPE_CHECKING:
    from etl.key_file import Kept, Stamp
    from etl.settings import Settings

log = structlog.get_logger("api")

# Of a file that cannot even be looked at.
_UNREADABLE: Stamp = (0, 0, 0)


class LiveKeyring:
    """Asks before every look-up whether the keys file has changed, which takes microseconds.

    A file that is faulty, or gone, lets nobody in and never opens a door that was locked.
    """

    def __init__(self, settings: Settings) -> None:
        self._fixed = settings.key_entries
        self._path = settings.key_file
        self._stamp: Stamp | None = None
        self._ring = Keyring(self._fixed)
        self._is_locked = bool(self._fixed)

    def is_locked(self) -> bool:
        """Whether a key is needed: there is one, or has been, or the keys file exists."""
        self._refresh()
        return self._is_locked

    def find(self, key: str) -> Entry | None:
        """The entry of a key, or None when it opens nothing, as of when `is_locked` was asked."""
        return self._ring.find(key)

    def _refresh(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._is_locked = True
        self._ring = Keyring((*self._fixed, *self._read().entries))
        self._stamp = stamp  # last: whoever sees it finds the keys that belong to it

    def _look(self) -> Stamp | None:
        try:
            return key_file.stamp(self._path)
        except OSError:
            return _UNREADABLE

    def _read(self) -> Kept:
        try:
            kept = key_file.read(self._path)
        except OSError as error:
            log.error("keys_file_unreadable", path=str(self._path), reason=error.strerror)
            return key_file.Kept()
        log.info("keys_read", names=[entry.name for entry in (*self._fixed, *kept.entries)])
        if kept.faulty_lines:
            log.error("keys_file_faulty", path=str(self._path), lines=kept.faulty_lines)
        return kept
