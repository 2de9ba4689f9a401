"""The datasets: what each declares and holds."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, url_for

from api.routes.catalog import find
from api.routes.datasets import columns_of
from api.rows import figures
from api.security.auth import OF_CALLER, OF_PATH, needs
from api.state.services import services
from api.ui import charts, forms
from api.ui.dataset_frame import frame, head
from api.ui.overview import DATASET_STATES, snapshot_for_caller
from api.ui.queries import datasets as queries
from api.ui.queries import overview as activity
from api.ui.render import now, page, panel
from api.ui.row_view import cell
from etl.db import statistics
from etl.model.errors import TransientError
from etl.model.overview import overview
from etl.model.roles import Role

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from api.state.catalog import CatalogState, Installed
    from api.ui.dataset_frame import DatasetFrame, DatasetHead
    from etl.model.dataset import Dataset

DAYS = 30
MOST_COMPUTED_ROWS = 100_000  # of a table whose statistics are computed whenever they are shown
_KINDS = {"added": "added by its data", "path": "from the path of the object"}

bp = APIBlueprint("datasets", __name__, enable_openapi=False)


@bp.get("/datasets")
@needs(Role.READER, dataset=OF_CALLER)
def list_datasets() -> Response:
    """List the datasets with their state, and what each reads."""
    shared = services()
    with shared.database() as connection:
        facts = snapshot_for_caller(connection)
        catalog = shared.catalog.read(connection)
        totals = queries.all_totals(connection)
        changes = activity.activity(connection, facts.now)
    installed = [
        catalog.datasets[one.name] for one in facts.datasets if one.name in catalog.datasets
    ]
    return page(
        "datasets/list.html",
        title="Datasets",
        json_url="/datasets",
        facts=facts,
        found=overview(facts),
        dataset_states=DATASET_STATES,
        activity=changes,
        no_activity=activity.Activity(),
        installed=installed,
        totals=totals,
        none_yet=queries.Totals(),
        bucket_of=shared.bucket_of,
    )


@bp.get("/datasets/<dataset>")
@needs(Role.READER, dataset=OF_PATH)
def show_dataset(dataset: str) -> Response:
    """Show the columns of a dataset, declared and seen, and its rows over time.

    The statistics of a small table that has changed are computed after the page, by its panel.
    """
    with services().database() as connection:
        found = frame(connection, dataset)
        top = head(connection, found)
        values = _shown(connection, found, top)
    return page(
        "datasets/show.html",
        title=dataset,
        json_url=f"/datasets/{dataset}",
        frame=found,
        head=top,
        tabs=top.tabs("ui.datasets.show_dataset"),
        **values,
        is_loaded=not values["is_current"] and top.totals.rows <= MOST_COMPUTED_ROWS,
        panel_version="",
    )


@bp.get("/datasets/<dataset>/columns")
@needs(Role.READER, dataset=OF_PATH)
def show_columns(dataset: str) -> Response:
    """The panel with the columns and their statistics, which it computes."""
    with services().database() as connection:
        found = frame(connection, dataset)
    with suppress(TransientError):  # then the panel shows what is known
        _compute(found.catalog, found.installed)
    with services().database() as connection:
        found = frame(connection, dataset)
        top = head(connection, found)
        values = _shown(connection, found, top)
    return panel("datasets/_columns.html", frame=found, head=top, **values, is_loaded=False)


@bp.post("/datasets/<dataset>/statistics")
@needs(Role.READER, dataset=OF_PATH)
def compute_statistics(dataset: str) -> Response:
    """Compute the statistics of the columns as they are now."""
    shared = services()
    with shared.database() as connection:
        state = shared.catalog.read(connection)
        installed = find(state, dataset)
    _compute(state, installed)
    return forms.see(url_for("ui.datasets.show_dataset", dataset=dataset))


def _compute(state: CatalogState, installed: Installed) -> None:
    today = services().today()
    figures.describe(installed, figures.version_of(state, installed, today), today)


def _shown(connection: Connection, found: DatasetFrame, top: DatasetHead) -> dict[str, Any]:
    """The columns with their statistics as far as they are known, and the charts."""
    start = now() - timedelta(days=DAYS)
    hours = queries.rows_since(connection, found.name, start)
    is_young = len(hours) > 1 and not hours[0].rows
    if is_young:  # it had no rows before
        hours = hours[1:]
        start = hours[0].hour
    saved = statistics.latest(connection, found.name)
    version = figures.version_of(found.catalog, found.installed, services().today())
    return {
        "columns": _columns(found, saved),
        "saved": saved,
        "is_current": figures.is_complete(saved, found.shape, version),
        "undeclared": queries.undeclared(connection, found.shape, top.totals.rows),
        "is_sampled": top.totals.rows > queries.SAMPLED_ROWS,
        "days": DAYS,
        "hours": hours,
        "chart": charts.steps(
            [((one.hour - start).total_seconds(), one.rows) for one in hours],
            (now() - start).total_seconds(),
        ),
        "start": start,
        "is_young": is_young,
        "ages": figures.age_groups(saved, found.shape),
    }


def _columns(found: DatasetFrame, saved: statistics.Statistics | None) -> list[dict[str, Any]]:
    """The columns with what is declared of each, and its statistics as far as they are known."""
    dataset = found.installed.dataset
    known = {} if saved is None else saved.columns
    return [
        {
            "name": one["name"],
            "declared": _declared(one, dataset),
            "sql": one["sql"],
            "figures": known.get(one["name"]),
            "ends": [
                cell(known.get(one["name"], {}).get(end), found.shape.columns[one["name"]].type)
                for end in ("min", "max")
            ],
        }
        for one in columns_of(found.installed)
        if one["kind"] != "system"
    ]


def _declared(column: dict[str, Any], dataset: Dataset) -> str:
    """What the datasets file says of a column."""
    name, kind = column["name"], column["kind"]
    if kind == "derived":
        one = next(one for one in dataset.derived if one.name == name)
        return f"{one.computed_as}, from {one.source}"
    if kind == "attachment":
        return next(one.match for one in dataset.attachments if one.column == name)
    if kind != "declared":
        return _KINDS.get(kind, str(kind))
    words = [str(column["type"])]
    if name in dataset.primary_key:
        words.append("primary key")
    elif dataset.field(name).constraints.required:
        words.append("required")
    if name == dataset.prefer:
        words.append("greatest is preferred")
    return ", ".join(words)
