"""Whether the rows that a run stages of a dataset arrive in the order of their keys.

If they do, a first load need not sort them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Key = tuple[Any, ...]


class KeyRange(NamedTuple):
    """The first and the last key of rows of which each has a greater key than the one before."""

    first: Key
    last: Key


@dataclass
class KeyOrders:
    """The datasets whose rows arrived in ascending order so far, so that no key has two rows."""

    _last: dict[str, Key | None] = field(default_factory=dict)

    def add(self, name: str, keys: KeyRange | None) -> None:
        """Continue with the keys of more rows of the dataset; None if they do not ascend."""
        last = self._last.get(name, ())
        is_ascending = keys is not None and last is not None and last < keys.first
        self._last[name] = keys.last if keys is not None and is_ascending else None

    def is_ascending(self, name: str) -> bool:
        """Whether all rows of the dataset, if any, have arrived in ascending order."""
        return self._last.get(name, ()) is not None
