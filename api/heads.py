"""What the head of a request must not hold: what waitress would drop or cut off silently.

Each would make one name out of another, and so overwrite an object that was not meant.
"""

from __future__ import annotations

import re

from waitress.parser import ParsingError

_METADATA_NAME = re.compile(rb"^(x[-_]meta[-_][^:\r\n]*):", re.IGNORECASE | re.MULTILINE)
_CUT_OFF = re.compile("[\x00-\x20\x7f#]")  # fragments, and what urlsplit() strips or removes


def check(head: bytes, target: str) -> None:
    """Check a head and its target, the address as it was sent.

    Raises:  ParsingError, which the server answers with 400.
    """
    if _CUT_OFF.search(target):
        raise ParsingError(
            "The address holds a control character or `#`, which have to be percent-encoded:"
            " %23 for `#`."
        )
    for name in _METADATA_NAME.findall(head):
        if b"_" in name:
            raise ParsingError(
                f"The header {name.decode('latin-1').strip()!r} has an underscore, and servers"
                " drop such headers. Name it with hyphens."
            )
