"""/datasets: the declared datasets, their numbers, statistics, problems and shadowed rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from apiflask import APIBlueprint
from flask import Response, request
from sqlalchemy import Connection, select, text

from api.http import paging
from api.http.errors import WrongParameters, repeatable
from api.routes.catalog import find
from api.routes.problems import page_of_problems
from api.rows import etags, figures, streaming
from api.rows.conditions import Condition
from api.rows.requests import row_query
from api.rows.shadowed import ShadowedReader
from api.rows.shapes import live_rows
from api.schemas.datasets import (
    DatasetDetails,
    Datasets,
    DatasetStats,
    ShadowedQuery,
)
from api.schemas.datasets import (
    ShadowedRows as ShadowedPage,
)
from api.schemas.query import NoQuery
from api.schemas.runs import OpenProblems, OpenProblemsQuery
from api.security.auth import OF_CALLER, OF_PATH, caller, needs
from api.spec import openapi
from api.state.services import services
from etl.db.dataset_sql import DatasetSql
from etl.db.engine import schemas_of
from etl.db.names import dataset_channel
from etl.db.shadowed import Place, as_user, shadowed_rows
from etl.db.tables import hold
from etl.model.dataset import USERS
from etl.model.roles import Role
from etl.model.routing import path_names
from etl.model.types import Operator

if TYPE_CHECKING:
    from api.rows.conditions import ColumnFilters
    from api.state.catalog import Installed

bp = APIBlueprint("datasets", __name__, tag="Datasets")

_SHADOWED_PARAMETERS = ("user_id", "key", "limit", "after")
_PROBLEMS = text(
    "SELECT dataset, code, CAST(sum(problems) AS bigint) AS problems FROM problem_tally"
    " WHERE problems > 0 GROUP BY dataset, code ORDER BY code"
)
_COUNTS = text("SELECT dataset, rows, retired, shadowed FROM dataset_tally")
_NO_ROWS = {"rows": 0, "retired": 0, "shadowed": 0}
_LAST_RUN = text(
    "SELECT id, state, finished_at, dataset_counts FROM run"
    " WHERE (state = 'succeeded' OR (state = 'failed' AND dataset_counts <> '{}'::jsonb))"
    " ORDER BY finished_at DESC LIMIT 1"
)


# -- GET /datasets, GET /datasets/<dataset>


@bp.get("/datasets")
@needs(Role.READER, dataset=OF_CALLER)
@bp.input(NoQuery, location="query")
@bp.output(Datasets, description="The datasets by name.")
@bp.doc(responses=openapi.problems(422, 503))
def list_datasets(query_data: NoQuery) -> dict[str, Any]:  # noqa: ARG001
    """List the datasets with the number of their rows and open problems."""
    shared = services()
    with shared.database() as connection:
        state = shared.catalog.read(connection)
        facts = _Facts(connection)
        found = [facts.summary(one) for name, one in state.datasets.items() if _may_see(name)]
    return {"datasets": found}


def _may_see(name: str) -> bool:
    return caller().may_see(name)


@bp.get("/datasets/<dataset>")
@needs(Role.READER, dataset=OF_PATH)
@bp.input(NoQuery, location="query")
@bp.output(DatasetDetails, description="The dataset.")
@bp.doc(responses=openapi.problems(404, 422, 503))
def show_dataset(dataset: str, query_data: NoQuery) -> dict[str, Any]:  # noqa: ARG001
    """Show the declaration of a dataset, its columns, numbers and problems by code."""
    shared = services()
    with shared.database() as connection:
        state = shared.catalog.read(connection)
        installed = find(state, dataset)
        facts = _Facts(connection)
        return facts.summary(installed) | {
            "declaration": installed.declaration,
            "columns": columns_of(installed),
            "channel": dataset_channel(dataset, schemas_of(shared.engine).state),
            "problems": facts.problems.get(dataset, {}),
        }


class _Facts:
    """What the database knows about all datasets."""

    def __init__(self, connection: Connection) -> None:
        self._counts = {
            row.dataset: {name: getattr(row, name) for name in _NO_ROWS}
            for row in connection.execute(_COUNTS)
        }
        self.problems: dict[str, dict[str, int]] = {}
        for row in connection.execute(_PROBLEMS):
            self.problems.setdefault(row.dataset, {})[row.code] = row.problems
        holds = select(hold.c.dataset, hold.c.run_id, hold.c.opened_at, hold.c.rows, hold.c.live)
        self._holds = {row.dataset: row for row in connection.execute(holds)}
        self._last_run = connection.execute(_LAST_RUN).one_or_none()

    def summary(self, installed: Installed) -> dict[str, Any]:
        name = installed.dataset.name
        held, run = self._holds.get(name), self._last_run
        return {
            "name": name,
            "table": f"{schemas_of(services().engine).data}.{installed.dataset.table}",
            "counts": self._counts.get(name, _NO_ROWS),
            "open_problems": sum(self.problems.get(name, {}).values()),
            "last_run": None
            if run is None
            else {
                "id": run.id,
                "state": run.state,
                "finished_at": run.finished_at,
                "counts": run.dataset_counts.get(name, {}),
            },
            "hold": None
            if held is None
            else {
                "run_id": held.run_id,
                "opened_at": held.opened_at,
                "rows": held.rows,
                "live": held.live,
            },
        }


def columns_of(installed: Installed) -> list[dict[str, Any]]:
    """The columns in the order of a response, then those that begin with `_`."""
    dataset = installed.dataset
    shape = live_rows(installed, schemas_of(services().engine).data)
    fields = {one.name: one for one in dataset.fields}
    kinds = {
        **dict.fromkeys(installed.added, "added"),
        **{one.column: "attachment" for one in dataset.attachments},
        **{one.name: "derived" for one in dataset.derived},
        **dict.fromkeys(path_names(dataset), "path"),
        **dict.fromkeys(fields, "declared"),
    }
    return [
        {
            "name": name,
            "type": fields[name].type.value if name in fields else None,
            "sql": str(column.type),
            "kind": kinds.get(name, "system"),
            "operators": sorted(column.type.traits.operators),
        }
        for name, column in shape.columns.items()
    ]


# -- GET /datasets/<dataset>/stats


@bp.get("/datasets/<dataset>/stats")
@needs(Role.READER, dataset=OF_PATH)
@bp.input(NoQuery, location="query")
@bp.output(DatasetStats, description="The statistics.")
@bp.doc(
    responses={
        200: {"headers": openapi.ETAG_HEADER},
        304: openapi.NOT_MODIFIED,
        **openapi.problems(404, 422, 503),
    }
)
def show_dataset_stats(
    dataset: str,
    query_data: NoQuery,  # noqa: ARG001
) -> tuple[dict[str, Any], int, dict[str, str]] | Response:
    """Count the rows of a dataset and describe the values of each column.

    The statistics are computed when they are first requested after a change, for at most a minute;
    the response is then 503, and the next request goes on.
    """
    shared = services()
    with shared.database() as connection:
        state = shared.catalog.read(connection)
        installed = find(state, dataset)
    today = shared.today()
    tag = figures.version_of(state, installed, today)
    if etags.is_known(tag):
        return etags.not_modified(tag)
    return figures.describe(installed, tag, today), 200, etags.headers(tag)


# -- GET /datasets/<dataset>/problems


@bp.get("/datasets/<dataset>/problems")
@needs(Role.READER, dataset=OF_PATH)
@bp.input(OpenProblemsQuery, location="query")
@bp.output(OpenProblems, description="A page of open problems.")
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(404, 422, 503)})
def list_dataset_problems(
    dataset: str, query_data: OpenProblemsQuery
) -> tuple[dict[str, Any], dict[str, str]]:
    """List the problems with the current objects of a dataset."""
    shared = services()
    with shared.database() as connection:
        find(shared.catalog.read(connection), dataset)
        return page_of_problems(connection, query_data, (dataset,))


# -- GET /datasets/<dataset>/shadowed


def _is_shadowed_filter(name: str) -> bool:
    return name not in _SHADOWED_PARAMETERS


@bp.get("/datasets/<dataset>/shadowed")
@needs(Role.READER, dataset=OF_PATH)
@repeatable(_is_shadowed_filter)
@bp.input(ShadowedQuery, location="query")
@bp.output(ShadowedPage, description="A page of shadowed rows.")
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(404, 422, 503)})
def list_shadowed_rows(
    dataset: str, query_data: ShadowedQuery
) -> tuple[dict[str, Any], dict[str, str]] | Response:
    """List the valid rows that another row with the same key supersedes.

    Of datasets other than `users`, each other parameter is a filter, `column=operator.value`.
    """
    query, shared = query_data, services()
    with shared.database() as connection:
        installed = find(shared.catalog.read(connection), dataset)
        if dataset != USERS.name:
            return _shadowed_response(connection, installed, query)
        _refuse_filters()
        found = shadowed_rows(
            connection,
            DatasetSql(installed.dataset, schemas_of(shared.engine).data),
            shared.bucket_of(installed.dataset),
            key=query.key,
            user_id=query.user_id,
            after=None if query.after is None else Place.parse(query.after),
            limit=query.limit + 1,
        )
        rows = [as_user(one) for one in found]
    page, headers = paging.page(rows, query.limit, lambda row: Place(row["key"], row["line"]))
    return {"shadowed": page}, headers


def _refuse_filters() -> None:
    """The parameters of users are older than filters of columns."""
    valid = ", ".join(_SHADOWED_PARAMETERS)
    unknown = [name for name in request.args if _is_shadowed_filter(name)]
    if unknown:
        message = f"is not a parameter of this route; valid parameters: {valid}"
        raise WrongParameters([(name, message) for name in unknown])


def _shadowed_response(
    connection: Connection, installed: Installed, query: ShadowedQuery
) -> Response:
    """The page; without a primary key there is no row, nor a table of them."""
    shared = services()
    rows = ShadowedReader(
        installed,
        schemas_of(shared.engine).data,
        shared.bucket_of(installed.dataset),
        has_json_scalar=streaming.has_json_scalar(connection, shared),
    )
    asked = row_query(
        rows.shape,
        request.args.items(multi=True),
        shared.today(),
        parameters=("key", "limit", "after"),
        limit=query.limit,
        after=query.after,
    )
    filters = cast("ColumnFilters", asked.filters)
    if query.key is not None:
        filters = filters.with_condition(Condition("_source_key", Operator.EQ, value=query.key))
    if not installed.dataset.primary_key:
        return _as_response([])
    found = rows.read(connection, filters, after=asked.after, limit=query.limit + 1)
    response = _as_response([one for _, one in found[: query.limit]])
    if len(found) > query.limit:
        response.headers.update(paging.next_link(Place(*found[query.limit - 1][0])))
    return response


def _as_response(rows: list[str]) -> Response:
    return Response(f'{{"shadowed": [{", ".join(rows)}]}}\n', mimetype="application/json")
