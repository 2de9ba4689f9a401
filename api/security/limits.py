"""How many requests each key or address may make, counted in the memory of this process."""

from __future__ import annotations

import math
import time
from ipaddress import IPv6Address, IPv6Network, ip_address

import limits
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

MAX_WRONG_KEYS = limits.RateLimitItemPerMinute(20)

_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_HOME_BITS = 64  # of an IPv6 address: the rest is its owner's to choose, request by request


class Limits:
    """`rate` is that of API_RATE_LIMIT; without it only wrong keys are counted."""

    def __init__(self, rate: str | None) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._rate = None if rate is None else _item(rate)

    def count(self, *who: str) -> int | None:
        """Count a request; None when it may pass, or the seconds to wait."""
        return None if self._rate is None else self._hit(self._rate, *who)

    def count_wrong_key(self, address: str) -> int | None:
        """Count a wrong key; None while there were few from here, or the seconds to wait."""
        return self._hit(MAX_WRONG_KEYS, "wrong-key", address)

    def _hit(self, item: limits.RateLimitItem, *who: str) -> int | None:
        if self._limiter.hit(item, *who):
            return None
        free_at = self._limiter.get_window_stats(item, *who).reset_time
        return max(1, math.ceil(free_at - time.time()))


def _item(rate: str) -> limits.RateLimitItem:
    count, _, unit = rate.partition("/")
    return limits.parse(f"{count}/{_UNITS[unit]}")


def rate_limit_key(address: str | None) -> str:
    """Whom to count a request for that shows no key: its address, or its IPv6 network."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address) and not parsed.is_loopback:
        return str(IPv6Network((parsed, _HOME_BITS), strict=False))
    return str(parsed)
