"""Set-based statements in `.sql` files, as named blocks.

A block begins with `-- name: <name>`, followed by a comment on its purpose. Comments are removed
from the statement: the driver substitutes values in comments too, and the rest of a value with a
line break would be parsed as SQL. A comment that begins with `--:` is a directive of a template,
see `etl.db.dataset_sql`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_COMMENT = re.compile(r"\s*--.*$", re.MULTILINE)
_PLAIN_COMMENT = re.compile(r"\s*--(?!:).*$", re.MULTILINE)
_BLOCK = re.compile(r"^-- name: (?P<name>\w+)$", re.MULTILINE)


@cache
def statements(file: str) -> dict[str, str]:
    """The named statements of `etl/db/sql/<file>.sql`, in file order."""
    return _blocks(file, _COMMENT)


@cache
def templates(file: str) -> dict[str, str]:
    """As `statements`, with the directives of templates."""
    return _blocks(file, _PLAIN_COMMENT)


def _blocks(file: str, comment: re.Pattern[str]) -> dict[str, str]:
    _, *parts = _BLOCK.split(files(__name__).joinpath(f"{file}.sql").read_text("utf-8"))
    bodies = (comment.sub("", body).strip() for body in parts[1::2])
    return dict(zip(parts[::2], bodies, strict=True))
