"""Rate limits per API key or client address, counted in the memory of this process."""

from __future__ import annotations

import math
import time
from ipaddress import IPv6Address, IPv6Network, ip_address

import limits
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

MAX_INVALID_KEYS = limits.RateLimitItemPerMinute(20)

_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_NETWORK_BITS = 64  # of an IPv6 address: its owner may choose the rest for each request


class RateLimits:
    """Counts requests against `rate` (API_RATE_LIMIT); if None, only those with an invalid key."""

    def __init__(self, rate: str | None) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._rate = None if rate is None else _item(rate)

    def count(self, *client: str) -> int | None:
        """Count a request; the seconds to wait if it exceeds the limit, otherwise None."""
        return None if self._rate is None else self._hit(self._rate, *client)

    def count_invalid_key(self, address: str) -> int | None:
        """Count a request with an invalid key; the seconds to wait if there were too many."""
        return self._hit(MAX_INVALID_KEYS, "invalid-key", address)

    def _hit(self, item: limits.RateLimitItem, *client: str) -> int | None:
        if self._limiter.hit(item, *client):
            return None
        reset_at = self._limiter.get_window_stats(item, *client).reset_time
        return max(1, math.ceil(reset_at - time.time()))


def _item(rate: str) -> limits.RateLimitItem:
    count, _, unit = rate.partition("/")
    return limits.parse(f"{count}/{_UNITS[unit]}")


def rate_limit_key(address: str | None) -> str:
    """The key under which to count a request without an API key: its address or IPv6 network."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address) and not parsed.is_loopback:
        return str(IPv6Network((parsed, _NETWORK_BITS), strict=False))
    return str(parsed)
