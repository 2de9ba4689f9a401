"""Paths of routes in the syntax of OpenAPI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from werkzeug.routing import Rule


def path_of(rule: Rule) -> str:
    """The path of a route in the syntax of OpenAPI."""
    return re.sub(r"<(?:[^<:]+:)?([^>]+)>", r"{\1}", rule.rule)
