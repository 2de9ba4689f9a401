"""The objects of the buckets: browse, upload, show and delete them."""

from __future__ import annotations

from apiflask import APIBlueprint

bp = APIBlueprint("objects", __name__, enable_openapi=False)
