"""What all pages of a dataset have in common: its state, its totals and its tabs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import url_for

from api.routes.catalog import find
from api.rows.shapes import live_rows
from api.state.services import services
from api.ui.overview import DATASET_STATES, snapshot_for_caller
from api.ui.queries import datasets as queries
from api.ui.render import can_open
from etl.db.engine import schemas_of
from etl.model.overview import overview

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from api.rows.shapes import RowShape
    from api.state.catalog import CatalogState, Installed
    from api.ui.queries.datasets import Totals
    from api.ui.states import ShownState
    from etl.model.overview import DatasetLine

Tab = tuple[str, int | None, str, bool]


@dataclass(frozen=True, slots=True)
class DatasetFrame:
    """A dataset as the head of its pages shows it."""

    installed: Installed
    catalog: CatalogState
    totals: Totals
    line: DatasetLine | None
    shape: RowShape
    table: str
    bucket: str

    @property
    def name(self) -> str:
        """The name of the dataset."""
        return self.installed.dataset.name

    @property
    def state(self) -> ShownState | None:
        """The state of the dataset, as the overview has it."""
        return None if self.line is None else DATASET_STATES[self.line.state]

    @property
    def attached(self) -> list[str]:
        """The columns with images."""
        return [one.column for one in self.installed.dataset.attachments]

    def tabs(self, current: str) -> list[Tab]:
        """The pages of the dataset; `current` is the endpoint of the one that is shown."""
        totals, pages = self.totals, list[tuple[str, int | None, str]]()
        pages.append(("Rows", totals.rows, "ui.rows.list_rows"))
        if self.attached:
            pages.append(("Gallery", totals.attached, "ui.rows.show_gallery"))
        pages.append(("Columns", len(self.shape.default_fields), "ui.datasets.show_dataset"))
        if can_open("ui.problems.list_problems"):
            pages.append(("Problems", totals.problems, "ui.problems.list_problems"))
        pages.append(("Retired", totals.retired, "ui.rows.list_retired"))
        if self.installed.dataset.primary_key:
            pages.append(("Shadowed", totals.shadowed, "ui.rows.list_shadowed"))
        return [
            (label, count, url_for(endpoint, dataset=self.name), endpoint == current)
            for label, count, endpoint in pages
        ]


def frame(connection: Connection, name: str) -> DatasetFrame:
    """The dataset with this name.

    Raises:  NotFound.
    """
    shared = services()
    catalog = shared.catalog.read(connection)
    installed = find(catalog, name)
    lines = overview(snapshot_for_caller(connection)).datasets
    schema = schemas_of(shared.engine).data
    return DatasetFrame(
        installed,
        catalog,
        queries.totals(connection, name),
        next((one for one in lines if one.name == name), None),
        live_rows(installed, schema),
        f"{schema}.{installed.dataset.table}",
        shared.bucket_of(installed.dataset),
    )
