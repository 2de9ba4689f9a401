"""Roles, API keys and their stored hashes. Values only.

A key is 32 random bytes, so a plain SHA-256 of it cannot be reversed by guessing. Slow hashes are
for passwords.
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
_DATASET = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")


class Role(StrEnum):
    """The permissions of an API key; each role includes those before it."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether this role has the permissions of the other."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True, slots=True)
class Entry:
    """The stored form of an API key: its name, role and hash.

    `datasets` are those that the key is limited to; empty: it is not limited.
    """

    name: str
    role: Role
    digest: bytes
    datasets: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The entry as written in API_KEYS and the keys file."""
        limits = "@" + "+".join(self.datasets) if self.datasets else ""
        return f"{self.name}:{self.role}{limits}:{self.digest.hex()}"


def new_key() -> str:
    """A new random API key."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def digest_of(key: str) -> bytes:
    """The hash of an API key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def entry_for(name: str, role: Role, key: str, datasets: Iterable[str] = ()) -> Entry:
    """The entry that authenticates an API key.

    Raises:  ValueError if the name is not valid, or one of the datasets'.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a name has 1 to 64 characters from A-Z, a-z, 0-9, dot, hyphen, _ and @,"
            f" and does not begin with {PREFIX}, which is reserved for keys"
        )
    return Entry(name, role, digest_of(key), check_dataset_names(datasets))


def check_dataset_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names in order, each once.

    Raises:  ValueError if one of them is not valid.
    """
    found = tuple(sorted(set(names)))
    if not all(map(_DATASET.fullmatch, found)):
        raise ValueError(
            "has an invalid name of a dataset; names have up to 48 of A-Z, a-z, 0-9 and _"
        )
    return found


def parse_entry(text: str) -> Entry:
    """Parse an entry, `name:role:sha256` or `name:role@dataset+dataset:sha256`.

    Raises:  ValueError without quoting the text, which may be an API key by mistake.
    """
    name, _, rest = text.partition(":")
    role, _, digest = rest.partition(":")
    if text.startswith(PREFIX) or digest.startswith(PREFIX):
        raise ValueError(f"contains an API key; write its hash instead: {FORM}")
    if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"is not {FORM}")
    role, at, limits = role.partition("@")
    if role not in list(Role):
        raise ValueError(f"has an unknown role; use {', '.join(Role)}")
    datasets = check_dataset_names(limits.split("+")) if at else ()
    return Entry(name, Role(role), bytes.fromhex(digest), datasets)


def parse_entries(text: str) -> tuple[Entry, ...]:
    """Parse API_KEYS, a comma-separated list of entries.

    Raises:  ValueError with the number of the invalid entry, without quoting it.
    """
    entries: dict[str, Entry] = {}
    for number, part in enumerate(_parts(text), start=1):
        try:
            entry = parse_entry(part)
        except ValueError as error:
            raise ValueError(f"entry {number} {error}") from error
        if entry.name in entries:
            raise ValueError(f"entry {number} repeats the name of an earlier entry")
        entries[entry.name] = entry
    return tuple(entries.values())


def _parts(text: str) -> list[str]:
    return [part for part in map(str.strip, text.split(",")) if part]


class Keyring:
    """The entries that authenticate clients. Of entries with equal names only the first counts."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        by_name: dict[str, Entry] = {}
        for entry in entries:
            by_name.setdefault(entry.name, entry)
        self._entries = tuple(by_name.values())

    def named(self, name: str) -> Entry | None:
        """The entry with this name."""
        return next((entry for entry in self._entries if entry.name == name), None)

    def find(self, key: str) -> Entry | None:
        """The entry of an API key, found in constant time."""
        digest = digest_of(key)
        found = None
        for entry in self._entries:
            if hmac.compare_digest(digest, entry.digest):
                found = entry
        return found
