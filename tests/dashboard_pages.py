"""The pages of the dashboard by name, for tests with a browser."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from importlib import import_module

import pytest


@dataclass(frozen=True)
class DashboardPage:
    """A page: its view as `noun.view`, and its path with the names of an instance in braces."""

    view: str
    path: str
    status: int = 200

    @property
    def exists(self) -> bool:
        """Whether the view exists. A page that is not written yet is skipped by its name."""
        noun, _, view = self.view.partition(".")
        return hasattr(import_module(f"api.ui.{noun}"), view)


PAGES = [
    DashboardPage("overview.show_overview", "/ui/"),
    DashboardPage("datasets.list_datasets", "/ui/datasets"),
    DashboardPage("datasets.show_dataset", "/ui/datasets/users"),
    DashboardPage("rows.list_rows", "/ui/datasets/users/rows"),
    DashboardPage("rows.show_row", "/ui/datasets/users/rows/1"),
    DashboardPage("objects.show_buckets", "/ui/objects"),
    DashboardPage("objects.list_objects", "/ui/objects/{bucket}"),
    DashboardPage("objects.show_object", "/ui/objects/{bucket}/faulty.csv"),
    DashboardPage("problems.list_problems", "/ui/problems"),
    DashboardPage("runs.list_runs", "/ui/runs"),
    DashboardPage("runs.show_run", "/ui/runs/{run}"),
    DashboardPage("runs.show_hold", "/ui/holds/users"),
    DashboardPage("events.list_events", "/ui/events"),
    DashboardPage("documents.list_documents", "/ui/documents"),
    DashboardPage("documents.show_document", "/ui/documents/first"),
    DashboardPage("documents.confirm_removal", "/ui/documents/first/remove"),
    DashboardPage("settings.show_settings", "/ui/settings"),
    DashboardPage("overview.show_overview", "/ui/nowhere", status=404),
]


def needs_page(view: str) -> pytest.MarkDecorator:
    """Skip a test, naming the page, as long as its view does not exist."""
    return pytest.mark.skipif(
        not DashboardPage(view, "").exists, reason=f"the page {view} does not exist yet"
    )


def each_page() -> list[object]:
    """All pages as parameters of a test; those that do not exist yet are skipped by name."""
    return [pytest.param(one, id=one.path, marks=needs_page(one.view)) for one in PAGES]


def store_document(url: str, name: str) -> None:
    """Store a document by the API at this URL."""
    request = urllib.request.Request(  # noqa: S310 - the test's own server
        f"{url}/documents?name={name}",
        data=b'{"any": "JSON"}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request):  # noqa: S310
        pass
