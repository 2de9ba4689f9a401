"""Sessions of the dashboard: what its cookie holds, and what makes it valid.

A session is a signed name of an API key with a random id and an expiry; nothing is stored for it.
The signature covers the hash of the key, so a session ends when its key is revoked or replaced.
The secret of the signatures is in a file next to the keys file, which all processes of an API
share, and with it the sessions that were signed out before they expired.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from etl.runtime.files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from api.security.keyring import LiveKeyring
    from etl.model.roles import Entry

COOKIE = "bucketline-session"
SESSION_SECONDS = 12 * 3600

_SECRET_BYTES = 32
_ID_BYTES = 16

log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class Session:
    """A valid session: its id, the entry of its key, and when it ends (Unix time)."""

    id: str
    entry: Entry
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Stored:
    """The contents of the file: the secret, and the ids of the sessions that were signed out."""

    secret: bytes
    ended: frozenset[str] = frozenset()


class Sessions:
    """Opens, finds and ends sessions.

    If the file cannot be used, the secret is in memory: sessions end with the process.
    """

    def __init__(self, path: Path, keyring: LiveKeyring) -> None:
        self._path = path.absolute()
        self._keyring = keyring
        self._lock = threading.Lock()
        self._stored: _Stored | None = None
        self._stamp: tuple[int, ...] | None = None

    def open(self, entry: Entry) -> str:
        """A new session of this key, as the cookie's value."""
        expires_at = int(time.time()) + SESSION_SECONDS
        content = f"{entry.name}:{secrets.token_urlsafe(_ID_BYTES)}:{expires_at}"
        return f"{content}:{self._signature(content, entry)}"

    def find(self, value: str) -> Session | None:
        """The session of a cookie's value; None if it is not valid or has ended."""
        content, _, signature = value.rpartition(":")
        name, _, rest = content.partition(":")
        session_id, _, expiry = rest.partition(":")
        entry = self._keyring.named(name)
        if entry is None or not is_equal(self._signature(content, entry), signature):
            return None
        if int(expiry) <= time.time() or session_id in self._current().ended:
            return None
        return Session(session_id, entry, int(expiry))

    def first(self, cookies: Iterable[tuple[str, str]]) -> Session | None:
        """The first valid session among cookies; instances on other ports have some, too."""
        for name, value in cookies:
            if name.startswith(COOKIE) and (found := self.find(value)) is not None:
                return found
        return None

    def end(self, session: Session) -> None:
        """End a session before its expiry, in all processes that share the file."""
        stored = self._current()
        with self._lock, suppress(OSError):
            if self._stamp is None:  # the secret is in memory
                self._stored = _Stored(stored.secret, stored.ended | {session.id})
                return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"{session.id}\n")

    def form_token(self, visitor: str) -> str:
        """The token that a form sends back; it shows that this visitor got the form from us."""
        return self._mac(f"form:{visitor}")

    def _signature(self, content: str, entry: Entry) -> str:
        return self._mac(f"session:{content}:{entry.role}:{entry.digest.hex()}")

    def _mac(self, text: str) -> str:
        secret = self._current().secret
        return hmac.new(secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    # -- the file

    def _current(self) -> _Stored:
        """What the file holds, read again when it changes; the file is created if it is missing."""
        stored = self._stored
        if stored is not None and self._stamp == self._stamp_of_file():
            return stored
        with self._lock:
            try:
                self._stored = self._read_or_create()
            except (OSError, ValueError) as error:
                self._stored = stored or _Stored(secrets.token_bytes(_SECRET_BYTES))
                self._stamp = None
                _warn(self._path, error)
            return self._stored

    def _stamp_of_file(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns, found.st_size

    def _read_or_create(self) -> _Stored:
        """The contents of the file.

        Raises:  OSError or ValueError when it cannot be used.
        """
        if not self._path.exists():
            self._create()
        self._stamp = self._stamp_of_file()
        secret, *ended = self._path.read_text("ascii").splitlines()
        if len(secret) != 2 * _SECRET_BYTES:
            raise ValueError("the first line is not a secret")
        return _Stored(bytes.fromhex(secret), frozenset(ended))

    def _create(self) -> None:
        """Create the file complete, unless another process was first."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        write_private(draft, secrets.token_hex(_SECRET_BYTES) + "\n")
        try:
            with suppress(FileExistsError):
                os.link(draft, self._path)
        finally:
            draft.unlink()


def is_equal(expected: str, given: str) -> bool:
    """Whether two texts are equal, compared in constant time."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def _warn(path: Path, error: Exception) -> None:
    log.warning(
        "sessions_not_stored",
        path=str(path),
        reason=error.strerror if isinstance(error, OSError) else str(error),
        hint="Sessions of the dashboard end with this process.",
    )
