"""Finds the dataset that a request names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.http.errors import NotFound
from api.security.auth import caller

if TYPE_CHECKING:
    from api.state.catalog import CatalogState, Installed


def find(state: CatalogState, name: str) -> Installed:
    """The dataset with this name.

    Raises:  NotFound, which names those that the caller may see.
    """
    found = state.datasets.get(name)
    if found is None:
        visible = ", ".join(filter(caller().may_see, sorted(state.datasets)))
        raise NotFound(
            "unknown-dataset",
            f"There is no dataset {name!r}.",
            f"Available datasets: {visible or 'none'}. The datasets file declares them.",
        )
    return found
