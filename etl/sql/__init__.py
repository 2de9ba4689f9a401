"""Set-based statements, kept as SQL: named blocks of a `.sql` file, run in their order.

A block begins with `-- name: what it is called`; the comment under it says what it promises.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_BLOCK = re.compile(r"^-- name: (?P<name>\w+)$", re.MULTILINE)


@cache
def statements(file: str) -> dict[str, str]:
    """The named statements of `etl/sql/<file>.sql`, in the order they stand."""
    _, *parts = _BLOCK.split(files(__name__).joinpath(f"{file}.sql").read_text("utf-8"))
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}
