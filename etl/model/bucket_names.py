"""The names of buckets that stores accept."""

from __future__ import annotations

import re

BUCKET_NAMES = "3 to 63 of a-z, 0-9, dot and hyphen, a letter or digit first and last"
_BUCKET_NAME = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def is_bucket_name(name: str) -> bool:
    """Whether the name of a bucket is BUCKET_NAMES."""
    return _BUCKET_NAME.fullmatch(name) is not None
