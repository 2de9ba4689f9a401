"""Pagination: fetch one row more than the page holds, and link the next page if that row exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode

from flask import request

if TYPE_CHECKING:
    from collections.abc import Sequence

RowT = TypeVar("RowT")


def cut(rows: Sequence[RowT], limit: int) -> tuple[Sequence[RowT], bool]:
    """The page, and whether more rows follow."""
    return rows[:limit], len(rows) > limit


def next_link(after: object) -> dict[str, str]:
    """The Link header to the next page of this request, which starts after the given ID."""
    query = urlencode(request.args.to_dict() | {"after": str(after)})
    return {"Link": f'<{quote(request.path)}?{query}>; rel="next"'}
