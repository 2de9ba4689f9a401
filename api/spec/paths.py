"""Paths of routes as OpenAPI writes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from werkzeug.routing import Rule


def path_of(rule: Rule) -> str:
    """The address of a route as OpenAPI writes it."""
    return re.sub(r"<(?:[^<:]+:)?([^>]+)>", r"{\1}", rule.rule)
