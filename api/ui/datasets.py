"""The datasets: what each declares and holds."""

from __future__ import annotations

from apiflask import APIBlueprint

bp = APIBlueprint("datasets", __name__, enable_openapi=False)
