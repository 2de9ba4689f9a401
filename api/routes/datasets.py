"""/datasets/<dataset>: the rows of a dataset that are not in its table."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint

from api.http import paging
from api.http.errors import NotFound
from api.schemas.datasets import ShadowedQuery, ShadowedRows
from api.security.auth import needs
from api.spec import openapi
from api.state.services import services
from etl.db.shadowed import Place, shadowed_rows
from etl.model.roles import Role

bp = APIBlueprint("datasets", __name__, tag="Datasets")

DATASETS = ("users",)


@bp.get("/datasets/<dataset>/shadowed")
@needs(Role.READER)
@bp.input(ShadowedQuery, location="query")
@bp.output(ShadowedRows, description="A page of shadowed rows.")
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(404, 422, 503)})
def list_shadowed_rows(
    dataset: str, query_data: ShadowedQuery
) -> tuple[dict[str, Any], dict[str, str]]:
    """List the valid rows that another row with the same user ID supersedes."""
    _check_exists(dataset)
    query, shared = query_data, services()
    with shared.database() as connection:
        found = shadowed_rows(
            connection,
            shared.settings.source_bucket,
            key=query.key,
            user_id=query.user_id,
            after=None if query.after is None else Place.parse(query.after),
            limit=query.limit + 1,
        )
        rows = list(found)
    page, headers = paging.page(rows, query.limit, lambda row: Place(row["key"], row["line"]))
    return {"shadowed": page}, headers


def _check_exists(dataset: str) -> None:
    if dataset not in DATASETS:
        raise NotFound(
            "unknown-dataset",
            f"There is no dataset {dataset!r}.",
            f"Available datasets: {', '.join(DATASETS)}.",
        )
