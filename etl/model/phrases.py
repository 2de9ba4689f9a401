"""Sentences with times in them: text for a terminal, and parts from which a page makes `<time>`.

Times are UTC and say so; the date is there if it is not today's. Numbers have commas.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from etl.model.dates import DAY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HOUR, _MINUTE = 3600, 60


class ShownTime(NamedTuple):
    """A time in a sentence, to the minute or to the second."""

    at: datetime
    has_seconds: bool = False

    def text(self, now: datetime) -> str:
        """`12:24 UTC`, with the date unless it is today's."""
        at = self.at.astimezone(UTC)
        date = "" if at.date() == now.astimezone(UTC).date() else f"{at:%Y-%m-%d} "
        return f"{date}{at:%H:%M:%S} UTC" if self.has_seconds else f"{date}{at:%H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Phrase:
    """One sentence or several, as texts and times in their order; as its text after `text`."""

    parts: tuple[str | ShownTime, ...]

    def __iter__(self) -> Iterator[str | ShownTime]:
        """The texts and times in their order."""
        return iter(self.parts)

    def text(self, now: datetime) -> str:
        """The text, as read at this time."""
        return "".join(one if isinstance(one, str) else one.text(now) for one in self.parts)


def phrase(*parts: str | ShownTime) -> Phrase:
    """A phrase of these parts."""
    return Phrase(parts)


def joined(phrases: Sequence[Phrase]) -> Phrase:
    """The phrases, separated by spaces."""
    parts = [part for one in phrases for part in (" ", *one.parts)]
    return Phrase(tuple(parts[1:]))


def counted(count: int, noun: str) -> str:
    """`1 object`, `1,204 objects`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def span(time: timedelta) -> str:
    """A time in its two largest units: `0 s`, `12 s`, `18 min`, `2 h 46 min`, `3 d 4 h`."""
    seconds = max(0, int(time.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < DAY_SECONDS:
        return _units(seconds, (_HOUR, "h"), (_MINUTE, "min"))
    return _units(seconds, (DAY_SECONDS, "d"), (_HOUR, "h"))


def _units(seconds: int, large: tuple[int, str], small: tuple[int, str]) -> str:
    whole, rest = divmod(seconds, large[0])
    count = rest // small[0]
    return f"{whole:,} {large[1]} {count} {small[1]}" if count else f"{whole:,} {large[1]}"
