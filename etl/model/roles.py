"""Who may use the API: roles, keys, and the hashes that are kept of them. Values only.

A key is 32 random bytes, so a plain SHA-256 of it tells nothing: slow hashes are for
passwords, which can be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "bl_"
KEY_BYTES = 32
FORM = "name:role:sha256"

_NAME = re.compile(rf"(?!{PREFIX})[A-Za-z0-9][A-Za-z0-9._@-]{{0,63}}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Role(StrEnum):
    """What a key may do; each role may do what those before it may."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether whoever has this role may do what needs the other."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of a key: whose it is, what it may do, and its hash."""

    name: str
    role: Role
    digest: bytes

    def __str__(self) -> str:
        """The entry as API_KEYS and the keys file hold it."""
        return f"{self.name}:{self.role}:{self.digest.hex()}"


def new_key() -> str:
    """A key nobody else has."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def entry_for(name: str, role: Role, key: str) -> Entry:
    """The entry that lets a key in.

    Raises:  ValueError when the name cannot stand in an entry.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a name is 1 to 64 of A-Z, a-z, 0-9, dot, hyphen, _ and @,"
            f" and does not begin with {PREFIX}, as keys do"
        )
    return Entry(name, role, digest_of(key))


def parse_entry(text: str) -> Entry:
    """An entry as `name:role:sha256`.

    Raises:  ValueError saying what is wrong, but never quoting: it may be a key by mistake.
    """
    name, _, rest = text.partition(":")
    role, _, digest = rest.partition(":")
    if text.startswith(PREFIX) or digest.startswith(PREFIX):
        raise ValueError(f"holds a key itself; write its hash: {FORM}")
    if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"is not {FORM}")
    if role not in list(Role):
        raise ValueError(f"names no role; there are {', '.join(Role)}")
    return Entry(name, Role(role), bytes.fromhex(digest))


def parse_entries(text: str) -> tuple[Entry, ...]:
    """The entries of API_KEYS, which stand between commas.

    Raises:  ValueError saying which entry is wrong, but never quoting it.
    """
    entries: dict[str, Entry] = {}
    for number, part in enumerate(_parts(text), start=1):
        try:
            entry = parse_entry(part)
        except ValueError as error:
            raise ValueError(f"entry {number} {error}") from error
        if entry.name in entries:
            raise ValueError(f"entry {number} has a name that was there before")
        entries[entry.name] = entry
    return tuple(entries.values())


def _parts(text: str) -> list[str]:
    return [part for part in (piece.strip() for piece in text.split(",")) if part]


class Keyring:
    """The entries that let somebody in. Of those with one name only the first counts."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        by_name: dict[str, Entry] = {}
        for entry in entries:
            by_name.setdefault(entry.name, entry)
        self._entries = tuple(by_name.values())

    def find(self, key: str) -> Entry | None:
        """The entry of a key; how long it takes tells nothing of how close a guess came."""
        digest = digest_of(key)
        found = None
        for entry in self._entries:
            if hmac.compare_digest(digest, entry.digest):
                found = entry
        return found
