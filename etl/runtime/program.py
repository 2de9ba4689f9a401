"""The program's name, as the user started it: `./run.sh`, `bucketline` or `python -m etl`.

Messages are written for run.sh, and name its commands as `./run.sh status`. Where they are shown,
`named` replaces `./run.sh` with the name the user knows.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "BUCKETLINE_PROGRAM"
_MODULE = "python -m etl"
# In backticks alone, as we write commands: a user's own "./run.sh" stays as it is.
_COMMAND = re.compile(r"`\./run\.sh(?=[ `])")


def program() -> str:
    """The words a command begins with, from BUCKETLINE_PROGRAM; child processes inherit it."""
    return os.environ.get(PROGRAM) or _MODULE


def named(text: str) -> str:
    """One of our messages, with the commands in it as the user has to enter them."""
    return _COMMAND.sub(lambda _: f"`{program()}", text)


def naming(field: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored message, such as a problem with its `note`, as it is shown."""
    text = stored.get(field)
    return dict(stored) | ({field: named(text)} if isinstance(text, str) else {})
