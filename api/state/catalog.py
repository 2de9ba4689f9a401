"""The installed datasets, and the revisions of their rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select, text

from etl.db.revisions import Resource, Revision, noun_of
from etl.db.tables import dataset
from etl.model.dataset import USERS, Dataset
from etl.model.declaration import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

# One round trip: the revisions, and a stamp that changes with every row of `dataset`.
_STATE = text(
    "SELECT noun, number, changed_at, NULL AS stamp FROM revision UNION ALL"
    " SELECT NULL, NULL, NULL, coalesce(string_agg("
    "name || ' ' || CAST(xmin AS text) || ' ' || CAST(ctid AS text), ',' ORDER BY name), '')"
    " FROM dataset"
)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class Installed:
    """A dataset as runs use it: its declaration, and the columns that its data added."""

    dataset: Dataset
    declaration: Mapping[str, Any]
    added: tuple[str, ...] = ()
    installed_at: datetime = _LONG_AGO


@dataclass(frozen=True, slots=True)
class CatalogState:
    """The installed datasets by name, and all revisions, at one time."""

    datasets: Mapping[str, Installed]
    revisions: Mapping[str, Revision]

    def revision(self, installed: Installed) -> Revision:
        """The last change of the rows of a dataset."""
        found = self.revisions.get(noun_of(installed.dataset.name))
        return found or Revision(0, installed.installed_at)

    @property
    def images(self) -> Revision:
        """The last change of the metadata of images."""
        return self.revisions[Resource.IMAGES]


# Before a file is installed, the only dataset is `users`.
ONLY_USERS: Mapping[str, Installed] = {USERS.name: Installed(USERS, to_json(USERS))}


class Catalog:
    """Caches the declarations until one of them changes.

    An `Installed` stays the same object for as long as its declaration is unchanged.
    """

    def __init__(self) -> None:
        self._cached: tuple[str, Mapping[str, Installed]] = ("", ONLY_USERS)

    def read(self, connection: Connection) -> CatalogState:
        """The current state; one statement unless a declaration has changed."""
        revisions: dict[str, Revision] = {}
        stamp = ""
        for noun, number, changed_at, found in connection.execute(_STATE):
            if noun is None:
                stamp = found
            else:
                revisions[noun] = Revision(number, changed_at)
        known_stamp, datasets = self._cached
        if stamp != known_stamp:
            datasets = _installed(connection, datasets) if stamp else ONLY_USERS
            self._cached = stamp, datasets
        return CatalogState(datasets, revisions)


def _installed(connection: Connection, known: Mapping[str, Installed]) -> Mapping[str, Installed]:
    """The stored datasets by name; those that have not changed as they are known."""
    columns = (dataset.c.name, dataset.c.declaration, dataset.c.added_columns)
    found = {}
    for row in connection.execute(
        select(*columns, dataset.c.installed_at).order_by(dataset.c.name)
    ):
        added = tuple(row.added_columns)
        one = known.get(row.name)
        if one is None or (one.declaration, one.added, one.installed_at) != (
            row.declaration,
            added,
            row.installed_at,
        ):
            one = Installed(from_json(row.declaration), row.declaration, added, row.installed_at)
        found[row.name] = one
    return found
