"""The Unix epoch, and the length of a day."""

from __future__ import annotations

from datetime import date

EPOCH = date(1970, 1, 1)
DAY_SECONDS = 86_400
DAY_MS = DAY_SECONDS * 1_000
