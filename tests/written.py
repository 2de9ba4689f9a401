"""What clients wrote and what was acknowledged: the model that answers are compared with.

Each thing, a user or a document, has one writer, so its versions are in order. A version has a
number and a content, None if it removes the thing. An answer is right if each thing is as some
version that may be current: none older than what was already seen or is known to be covered, and
none whose writing has not begun.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

Content = Hashable
Marks = dict[str, int]  # by thing, the number of a version
NEVER = 0  # the version before the first one, in which the thing does not exist


@dataclass
class Written:
    """The versions of all things. Safe to share between threads."""

    versions: dict[str, list[tuple[int, Content]]] = field(default_factory=dict)
    acknowledged: Marks = field(default_factory=dict)
    checks: Counter[str] = field(default_factory=Counter)
    _numbers: count[int] = field(default_factory=lambda: count(NEVER + 1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_number(self) -> int:
        with self._lock:
            return next(self._numbers)

    def begin(self, thing: str, number: int, content: Content) -> None:
        """Note the version before it is sent, because it may arrive without an answer."""
        with self._lock:
            self.versions.setdefault(thing, [(NEVER, None)]).append((number, content))

    def acknowledge(self, thing: str, number: int) -> None:
        with self._lock:
            self.acknowledged[thing] = number

    def marks(self) -> Marks:
        """The newest acknowledged version of each thing now."""
        with self._lock:
            return dict(self.acknowledged)

    def things(self) -> list[str]:
        with self._lock:
            return list(self.versions)

    def content(self, thing: str) -> Content:
        """The content of the newest version."""
        with self._lock:
            return self.versions[thing][-1][1]

    def final(self) -> dict[str, Content]:
        """Every thing that exists after all writers have ended."""
        with self._lock:
            newest = {thing: versions[-1][1] for thing, versions in self.versions.items()}
        return {thing: content for thing, content in newest.items() if content is not None}

    def oldest_possible(self, thing: str, content: Content, least: int) -> int | None:
        """The oldest version not below `least` with this content; None if there is none."""
        with self._lock:
            versions = list(self.versions.get(thing, [(NEVER, None)]))
        self.checks["answers about one thing"] += 1
        fitting = (number for number, one in versions if number >= least and one == content)
        return next(fitting, None)


@dataclass
class Reader:
    """Compares what one client reads with what was written. What it sees never goes back."""

    written: Written
    name: str
    seen: Marks = field(default_factory=dict)

    def check(self, answer: Mapping[str, Any], covered: Marks | None = None) -> list[str]:
        """The faults of an answer about all things, which reflects at least `covered`."""
        things = dict.fromkeys([*self.written.things(), *answer])
        return [
            fault
            for thing in things
            if (fault := self.check_one(thing, answer.get(thing), (covered or {}).get(thing, 0)))
        ]

    def check_one(self, thing: str, content: Content, covered: int = NEVER) -> str | None:
        """The fault of the answer about one thing, if any."""
        least = max(covered, self.seen.get(thing, NEVER))
        found = self.written.oldest_possible(thing, content, least)
        if found is None:
            return f"{self.name}: {thing} is {content!r}, but must be version {least} or later"
        self.seen[thing] = found
        return None
