"""Pagination: fetch one row more than the page holds, and link the next page if that row exists."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from flask import request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def page(
    rows: Sequence[Mapping[Any, Any]],
    limit: int,
    position: Callable[[dict[str, Any]], object] = itemgetter("id"),
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows of the page, and the Link header to the next page if more rows follow."""
    cut = [dict(row) for row in rows[:limit]]
    return cut, next_link(position(cut[-1])) if len(rows) > limit else {}


def next_link(after: object) -> dict[str, str]:
    """The Link header to the next page of this request, which starts after the given ID."""
    here = {"after": str(after)}
    given = [(name, here.pop(name, value)) for name, value in request.args.items(multi=True)]
    query = urlencode([*given, *here.items()])
    return {"Link": f'<{quote(request.path)}?{query}>; rel="next"'}
