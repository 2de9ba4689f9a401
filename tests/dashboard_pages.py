"""The pages of the dashboard by name, for tests with a browser."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass


@dataclass(frozen=True)
class DashboardPage:
    """A page: its path, with the names of an instance in braces."""

    path: str
    status: int = 200


PAGES = [
    DashboardPage("/ui/"),
    DashboardPage("/ui/datasets"),
    DashboardPage("/ui/datasets/users"),
    DashboardPage("/ui/datasets/users/rows"),
    DashboardPage("/ui/datasets/users/rows/1"),
    DashboardPage("/ui/datasets/users/gallery"),
    DashboardPage("/ui/datasets/users/retired"),
    DashboardPage("/ui/datasets/users/shadowed"),
    DashboardPage("/ui/objects"),
    DashboardPage("/ui/objects/{bucket}"),
    DashboardPage("/ui/objects/{bucket}/faulty.csv"),
    DashboardPage("/ui/remove/{bucket}/faulty.csv"),
    DashboardPage("/ui/problems"),
    DashboardPage("/ui/runs"),
    DashboardPage("/ui/runs/{run}"),
    DashboardPage("/ui/holds/users"),
    DashboardPage("/ui/events"),
    DashboardPage("/ui/documents"),
    DashboardPage("/ui/documents/first"),
    DashboardPage("/ui/documents/first/remove"),
    DashboardPage("/ui/settings"),
    DashboardPage("/ui/nowhere", status=404),
]
PATHS = [page.path for page in PAGES]


def store_document(url: str, name: str) -> None:
    """Store a document by the API at this URL."""
    request = urllib.request.Request(  # noqa: S310 - the test's own server
        f"{url}/documents?name={name}",
        data=b'{"any": "JSON"}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request):  # noqa: S310
        pass
