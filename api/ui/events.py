"""The events that buckets sent."""

from __future__ import annotations

from apiflask import APIBlueprint

bp = APIBlueprint("events", __name__, enable_openapi=False)
