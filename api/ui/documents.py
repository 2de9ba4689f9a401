"""The JSON documents."""

from __future__ import annotations

from apiflask import APIBlueprint

bp = APIBlueprint("documents", __name__, enable_openapi=False)
