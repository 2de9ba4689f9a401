"""The effective settings, the health of each part, and the API keys."""

from __future__ import annotations

from apiflask import APIBlueprint

bp = APIBlueprint("settings", __name__, enable_openapi=False)
