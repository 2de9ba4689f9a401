"""Valid object keys: none that some store or client would treat as another key."""

from __future__ import annotations

import unicodedata

from api.http.errors import WrongParameters
from etl.storage.conditional import OWN_PREFIX

LONGEST_KEY_BYTES = 1024

_UNSPEAKABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of characters, line ends


def check(key: str, *, is_put: bool = False) -> None:
    """Raises:  422 for a key that a store or client would treat as another one, or that is ours."""
    fault = _fault_of(key)
    if fault is None and is_put and key.startswith(OWN_PREFIX):
        fault = f"begins with `{OWN_PREFIX}`, which is for objects of Bucketline's own"
    if fault is not None:
        raise WrongParameters([("key", fault)])


def _fault_of(key: str) -> str | None:
    if not key.strip():  # clients take a blank one for none
        return "is blank"
    if len(key.encode("utf-8", "replace")) > LONGEST_KEY_BYTES:
        return f"is longer than {LONGEST_KEY_BYTES} bytes"
    if any(unicodedata.category(character) in _UNSPEAKABLE for character in key):
        return "holds a control character"
    if any(part in ("", ".", "..") for part in key.removesuffix("/").split("/")):
        return "has a part between slashes that is empty, `.` or `..`"
    return None
