"""The open problems by dataset and code, with their lines and remedies."""

from __future__ import annotations

from apiflask import APIBlueprint

bp = APIBlueprint("problems", __name__, enable_openapi=False)
