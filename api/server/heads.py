"""Refuse what waitress would silently drop from the head of a request or cut off.

Either would change a name, and could so overwrite a different object.
"""

from __future__ import annotations

import re

from waitress.parser import ParsingError

_METADATA_NAME = re.compile(rb"^(x[-_]meta[-_][^:\r\n]*):", re.IGNORECASE | re.MULTILINE)
_UNSAFE = re.compile("[^!-~]|#")  # urlsplit() removes some of them, and what follows `#`


def check_target(target: str) -> None:
    """Check the URL as it was sent.

    Raises:  ParsingError, which the server answers with 400.
    """
    if _UNSAFE.search(target):
        raise ParsingError(
            "The URL has a character that must be percent-encoded: `#` (%23), a control"
            " character, or a non-ASCII character."
        )


def check_names(head: bytes) -> None:
    """Check the names of the headers.

    Raises:  ParsingError.
    """
    for name in _METADATA_NAME.findall(head):
        if b"_" in name:
            raise ParsingError(
                f"The header {name.decode('latin-1').strip()!r} has an underscore, and servers"
                " drop such headers. Use hyphens in its name."
            )
