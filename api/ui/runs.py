"""The runs, the steps of one run, and held retirements."""

from __future__ import annotations

from apiflask import APIBlueprint

bp = APIBlueprint("runs", __name__, enable_openapi=False)
