"""The program's name, as the user started it: `./run.sh`, `bucketline` or `python -m etl`.

Messages are written with run.sh's commands, such as `./run.sh status`. When they are shown,
`named` replaces `./run.sh` with the name that the user entered.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "BUCKETLINE_PROGRAM"
_MODULE = "python -m etl"
# Only in backticks, as our messages write commands: other text with "./run.sh" is not changed.
_COMMAND = re.compile(r"`\./run\.sh(?=[ `])")


def program() -> str:
    """The words that start a command, from BUCKETLINE_PROGRAM; child processes inherit it."""
    return os.environ.get(PROGRAM) or _MODULE


def named(text: str) -> str:
    """A message with its commands in the form that the user has to enter."""
    return _COMMAND.sub(lambda _: f"`{program()}", text)


def naming(field: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a stored record, such as a problem with its `note`, with that field `named`."""
    text = stored.get(field)
    return dict(stored) | ({field: named(text)} if isinstance(text, str) else {})
