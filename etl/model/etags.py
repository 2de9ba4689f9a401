"""ETags as this program compares and stores them."""

from __future__ import annotations


def bare_etag(etag: str | None) -> str:
    """An ETag without quotes and without the weak prefix; empty if there is none.

    S3's ETags are strong. A proxy that may compress responses marks them weak (`W/`) in GET and
    HEAD, but not in listings, so both forms name the same version of an object.
    """
    return (etag or "").removeprefix("W/").strip('"')
