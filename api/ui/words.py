"""Numbers, times and durations as pages write them. Values only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from etl.model import phrases

if TYPE_CHECKING:
    from collections.abc import Sequence

DASH = "–"  # noqa: RUF001 - an en dash: does not apply

_MINUTE = 60
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_KILO = 1000


def number(value: float | None) -> str:
    """A count with separators; a dash for None, which does not apply."""
    return DASH if value is None else f"{value:,}"


def signed(value: int | None) -> str:
    """A change of a count, with its sign: +31, −3, 0."""  # noqa: RUF002
    if not value:
        return number(value)
    return f"+{value:,}" if value > 0 else f"−{-value:,}"  # noqa: RUF001 - a minus sign


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: 1 error, 20 errors, 4 queries."""
    return f"{count:,} {plural}" if plural and count != 1 else phrases.counted(count, noun)


def at_most(count: int, most: int) -> str:
    """A number that was counted no further than `most`: 214, more than 10,000."""
    return f"more than {most:,}" if count > most else f"{count:,}"


def percent(part: float, whole: float) -> str:
    """A share in whole percent; 0 % only for nothing, 100 % only for all."""
    if not whole:
        return DASH
    share = round(100 * part / whole)
    if part:
        share = max(share, 1)
    return f"{min(share, 99) if part < whole else 100} %"


def size(count: int | None) -> str:
    """A number of bytes: 640 bytes, 2.1 MB."""
    if count is None:
        return DASH
    if count < _KILO:
        return counted(count, "byte")
    value, power = float(count), 0
    while round(value, 1) >= _KILO and power < len(_UNITS) - 1:
        value, power = value / _KILO, power + 1
    return f"{value:,.1f} {_UNITS[power]}"


def duration(seconds: float | timedelta | None) -> str:
    """How long something took or has lasted: 3 ms, 9.84 s, 12 s, 18 min, 2 h 46 min, 3 d 4 h."""
    if seconds is None:
        return DASH
    value = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    value = max(value, 0)
    if value < 0.01:  # noqa: PLR2004
        return "0 s" if not value else f"{value * 1000:.0f} ms" if value >= 0.001 else "< 1 ms"  # noqa: PLR2004
    if value < 10:  # noqa: PLR2004
        return f"{value:.2f} s"
    if value < _MINUTE:
        return f"{value:.1f} s"
    return lasted(value)


def lasted(seconds: float | timedelta) -> str:
    """A time in its two largest units, as sentences have it: 18 min, 2 h 46 min."""
    return phrases.span(seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds))


def iso(moment: datetime) -> str:
    """The time for the attribute datetime: 2026-11-27T12:24:31Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(moment: datetime, now: datetime, *, seconds: bool = True) -> str:
    """The UTC time, with the date only if it is not today: 12:24:31, 2026-11-26 22:14."""
    utc = moment.astimezone(UTC)
    is_today = utc.date() == now.astimezone(UTC).date()
    day = "" if is_today else "%Y-%m-%d "
    return utc.strftime(f"{day}%H:%M:%S" if seconds else f"{day}%H:%M")


def named_list(names: Sequence[str], *, most: int = 3) -> str:
    """Names as a sentence lists them: users, orders and 3 more."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1:,} more"
    return phrases.listed(names) if names else ""
