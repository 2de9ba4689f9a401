"""Validation of object keys: refuses those that some store or client treats as a different key."""

from __future__ import annotations

import unicodedata

from api.http.errors import WrongParameters
from etl.storage.conditional import OWN_PREFIX

MAX_KEY_BYTES = 1024

_FORBIDDEN = ("Cc", "Cs", "Zl", "Zp")  # control characters, surrogates, separators


def check(key: str, *, is_put: bool = False) -> None:
    """Check an object key.

    Raises:  WrongParameters for an invalid key and, if `is_put`, for one reserved for Bucketline.
    """
    fault = _fault_of(key)
    if fault is None and is_put and key.startswith(OWN_PREFIX):
        fault = f"begins with `{OWN_PREFIX}`, which is reserved for Bucketline's own objects"
    if fault is not None:
        raise WrongParameters([("key", fault)])


def _fault_of(key: str) -> str | None:
    if not key.strip():  # clients treat a blank key as missing
        return "is blank"
    if len(key.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    if any(unicodedata.category(character) in _FORBIDDEN for character in key):
        return "contains a control character or a line separator"
    if any(part in ("", ".", "..") for part in key.removesuffix("/").split("/")):
        return "has an empty, `.` or `..` segment between slashes"
    return None
