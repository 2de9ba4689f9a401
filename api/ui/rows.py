"""The rows of a dataset: pages of them, one row, its gallery and its exports."""

from __future__ import annotations

from apiflask import APIBlueprint

bp = APIBlueprint("rows", __name__, enable_openapi=False)
