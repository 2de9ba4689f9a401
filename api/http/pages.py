"""Which paths are pages of the dashboard, and the route of the API that a path under /ui serves."""

from __future__ import annotations

PREFIX = "/ui"


def is_page(path: str) -> bool:
    """Whether a path belongs to the dashboard."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def without_prefix(path: str) -> str:
    """The path of the API's route with the same resource: /ui/objects/b/k is /objects/b/k."""
    return path.removeprefix(PREFIX) if is_page(path) else path
