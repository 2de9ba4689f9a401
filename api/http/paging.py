"""Pages: ask for one row more than wanted, and name the next page only if it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode

from flask import request

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")


def cut(rows: Sequence[Item], limit: int) -> tuple[Sequence[Item], bool]:
    """The page, and whether there is more."""
    return rows[:limit], len(rows) > limit


def next_link(after: object) -> dict[str, str]:
    """The Link header to this request's next page, which begins after the given id."""
    query = urlencode(request.args.to_dict() | {"after": str(after)})
    return {"Link": f'<{quote(request.path)}?{query}>; rel="next"'}
