"""The API keys of an installation: those of API_KEYS, and those of the key file, which change."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from etl.model.errors import ConfigurationError
from etl.model.roles import Entry, entry_for, new_key
from etl.settings import key_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.model.roles import Role
    from etl.settings.model import Settings

IN_SETTINGS = "API_KEYS"


class ListedKey(NamedTuple):
    """An API key, and where it is kept: IN_SETTINGS or the path of the key file."""

    entry: Entry
    kept_in: str

    @property
    def can_be_revoked(self) -> bool:
        """Whether it is in the key file, which a running API reads again."""
        return self.kept_in != IN_SETTINGS


def listed_keys(settings: Settings) -> list[ListedKey]:
    """The keys of API_KEYS first; each overrides a key of the same name in the file.

    Raises:  ConfigurationError when the key file or a line of it cannot be read.
    """
    fixed = [ListedKey(entry, IN_SETTINGS) for entry in settings.key_entries]
    names = {one.entry.name for one in fixed}
    saved = key_file.load(settings.key_file)
    where = str(settings.key_file)
    return fixed + [ListedKey(entry, where) for entry in saved if entry.name not in names]


def create_key(
    settings: Settings, name: str, role: Role, datasets: Sequence[str] = ()
) -> tuple[str, Entry]:
    """Add a new key to the key file; return the key, which is stored nowhere, and its entry.

    Raises:  ValueError if a name is not valid; ConfigurationError if the name is taken or the
             file cannot be written.
    """
    key = new_key()
    entry = entry_for(name, role, key, datasets)
    refuse_fixed(settings, name)
    key_file.add(settings.key_file, entry)
    return key, entry


def revoke_key(settings: Settings, name: str) -> int:
    """Remove a key from the key file; return how many are left in it.

    Raises:  ConfigurationError if there is none, or the file cannot be written.
    """
    refuse_fixed(settings, name)
    return key_file.remove(settings.key_file, name)


def refuse_fixed(settings: Settings, name: str) -> None:
    """Refuse the names of keys that API_KEYS sets.

    Raises:  ConfigurationError.
    """
    if any(entry.name == name for entry in settings.key_entries):
        raise ConfigurationError(
            f"The key {name} is in API_KEYS.",
            hint="Change API_KEYS, in the environment or in .env, and start the API again.",
        )
