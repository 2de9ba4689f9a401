"""Set-based statements, kept as SQL: named blocks of a `.sql` file, run in their order.

A block begins with `-- name: what it is called`; the comment under it says what it promises.
Comments are left out of the statement: the driver puts values in wherever their names stand, and
one with a line break would go on behind the comment's end, as SQL.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_COMMENT = re.compile(r"\s*--.*$", re.MULTILINE)
_BLOCK = re.compile(r"^-- name: (?P<name>\w+)$", re.MULTILINE)


@cache
def statements(file: str) -> dict[str, str]:
    """The named statements of `etl/db/sql/<file>.sql`, in the order they stand."""
    _, *parts = _BLOCK.split(files(__name__).joinpath(f"{file}.sql").read_text("utf-8"))
    bodies = (_COMMENT.sub("", body).strip() for body in parts[1::2])
    return dict(zip(parts[::2], bodies, strict=True))
