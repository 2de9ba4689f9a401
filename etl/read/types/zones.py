"""Local times to UTC by the rules of a time zone. Imports pandas when first used.

Arrow's own conversion repeats the last rule of the time zone file after 2037; pandas does not.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_UNIT = "datetime64[us]"
# Within a day of the ends of the calendar, Python's time zones overflow.
_FIRST = np.datetime64("0001-01-03", "us").astype(np.int64)
_LAST = np.datetime64("9999-12-29", "us").astype(np.int64)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
_MICROSECOND = timedelta(microseconds=1)


class Instants(NamedTuple):
    """Shapes:  each (n,). utc: microseconds since the epoch; the earlier of two for `twice`."""

    utc: NDArray[np.int64]
    exists: NDArray[np.bool_]
    twice: NDArray[np.bool_]


def to_utc(local: NDArray[np.int64], zone: str) -> Instants:
    """Convert local times, in microseconds, of the years 1 to 9999."""
    is_inner = (local >= _FIRST) & (local <= _LAST)
    if is_inner.all():
        return _to_utc(local, zone)
    found = Instants(local.copy(), np.ones(len(local), np.bool_), np.zeros(len(local), np.bool_))
    for all_rows, inner in zip(found, _to_utc(local[is_inner], zone), strict=True):
        all_rows[is_inner] = inner
    # No time zone changes its offset in these days.
    starts, ends = ~is_inner & (local < _FIRST), ~is_inner & (local > _LAST)
    for rows, near in ((starts, _FIRST), (ends, _LAST)):
        found.utc[rows] -= _offset(int(near), zone)
    return found


def _to_utc(local: NDArray[np.int64], zone: str) -> Instants:
    import pandas as pd  # noqa: PLC0415

    times = pd.DatetimeIndex(local.view(_UNIT))
    utc = _localized(times, zone, "NaT")
    is_doubtful = np.isnat(utc)
    exists, twice = ~is_doubtful, np.zeros(len(local), np.bool_)
    if is_doubtful.any():
        doubtful = times[is_doubtful]
        earlier = _localized(doubtful, zone, np.ones(len(doubtful), np.bool_))
        utc[is_doubtful] = earlier
        exists[is_doubtful] = twice[is_doubtful] = ~np.isnat(earlier)
    return Instants(utc.view(np.int64), exists, twice)


def _localized(
    times: pd.DatetimeIndex, zone: str, ambiguous: Literal["NaT"] | NDArray[np.bool_]
) -> NDArray[np.datetime64]:
    """The times in UTC, NaT if they do not exist; `ambiguous` as in pandas."""
    localized = times.tz_localize(zone, ambiguous=ambiguous, nonexistent="NaT")
    # A copy, because pandas may return memory that is read-only.
    utc: NDArray[np.datetime64] = localized.tz_convert("UTC").tz_localize(None).to_numpy().copy()
    return utc.astype(_UNIT, copy=False)


def _offset(local: int, zone: str) -> int:
    """The offset at a local time, in microseconds."""
    moment = (_EPOCH + local * _MICROSECOND).replace(tzinfo=ZoneInfo(zone))
    offset = moment.utcoffset()
    return 0 if offset is None else offset // _MICROSECOND
