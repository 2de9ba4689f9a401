"""What all pages of a dataset have in common: its table and, at their head, its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import url_for

from api.routes.catalog import find
from api.rows.shapes import live_rows
from api.state.services import services
from api.ui.overview import DATASET_STATES, dataset_line
from api.ui.queries import datasets as queries
from api.ui.render import can_open
from etl.db.engine import schemas_of
from etl.model.snapshot import DatasetFacts

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
    """A dataset as all of its pages need it."""

    installed: Installed
    catalog: CatalogState
    shape: RowShape
    table: str
    bucket: str

    @property
    def name(self) -> str:
        """The name of the dataset."""
        return self.installed.dataset.name

    @property
    def attached(self) -> list[str]:
        """The columns with images."""
        return [one.column for one in self.installed.dataset.attachments]


@dataclass(frozen=True, slots=True)
class DatasetHead:
    """The head of a page of a dataset: its totals and its state."""

    frame: DatasetFrame
    totals: Totals
    line: DatasetLine

    @property
    def state(self) -> ShownState:
        """The state of the dataset, as the overview has it."""
        return DATASET_STATES[self.line.state]

    def tabs(self, current: str) -> list[Tab]:
        """The pages of the dataset; `current` is the endpoint of the one that is shown."""
        frame, totals, pages = self.frame, self.totals, list[tuple[str, int | None, str]]()
        pages.append(("Rows", totals.rows, "ui.rows.list_rows"))
        if frame.attached:
            pages.append(("Gallery", totals.attached, "ui.rows.show_gallery"))
        pages.append(("Columns", len(frame.shape.default_fields), "ui.datasets.show_dataset"))
        if can_open("ui.problems.list_problems"):
            pages.append(("Problems", totals.problems, "ui.problems.list_problems"))
        pages.append(("Retired", totals.retired, "ui.rows.list_retired"))
        if frame.installed.dataset.primary_key:
            pages.append(("Shadowed", totals.shadowed, "ui.rows.list_shadowed"))
        return [
            (label, count, url_for(endpoint, dataset=frame.name), endpoint == current)
            for label, count, endpoint in pages
        ]


def frame(connection: Connection, name: str) -> DatasetFrame:
    """The dataset with this name; one statement.

    Raises:  NotFound.
    """
    shared = services()
    catalog = shared.catalog.read(connection)
    installed = find(catalog, name)
    schema = schemas_of(shared.engine).data
    return DatasetFrame(
        installed,
        catalog,
        live_rows(installed, schema),
        f"{schema}.{installed.dataset.table}",
        shared.bucket_of(installed.dataset),
    )


def head(connection: Connection, found: DatasetFrame) -> DatasetHead:
    """The totals and the state of the dataset; a few statements that read no rows of it."""
    totals = queries.totals(connection, found.name)
    warnings = totals.problems - totals.errors
    facts = DatasetFacts(
        name=found.name,
        rows=totals.rows,
        objects=totals.objects,
        errors=totals.errors,
        warnings=warnings,
        changed_at=totals.changed_at,
    )
    known = [one.dataset for one in found.catalog.datasets.values()]
    return DatasetHead(found, totals, dataset_line(connection, facts, known))
