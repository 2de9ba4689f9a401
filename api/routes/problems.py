"""/problems: the problems with the current versions of the objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint

from api.http import paging
from api.http.errors import WrongParameters
from api.routes.catalog import find
from api.schemas.runs import AllProblemsQuery, OpenProblems, OpenProblemsQuery
from api.security.auth import OF_CALLER, caller, limited, needs
from api.spec import openapi
from api.state.services import services
from etl.db.problems import open_problems
from etl.model.roles import Role

if TYPE_CHECKING:
    from sqlalchemy import Connection

bp = APIBlueprint("problems", __name__, tag="Problems")

Page = tuple[dict[str, Any], dict[str, str]]


@bp.get("/problems")
@needs(Role.READER, dataset=OF_CALLER)
@bp.input(AllProblemsQuery, location="query")
@bp.output(OpenProblems, description="A page of open problems.")
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(404, 422, 503)})
def list_open_problems(query_data: AllProblemsQuery) -> Page:
    """List the problems with the current objects of all source buckets."""
    dataset, limits = query_data.dataset, caller().datasets
    if dataset is not None and not caller().may_see(dataset):
        raise limited(dataset)
    if dataset is None and len(limits) > 1:
        raise WrongParameters([("dataset", f"must be one of {', '.join(limits)} for this API key")])
    with services().database() as connection:
        if dataset is not None:
            find(services().catalog.read(connection), dataset)
        return page_of_problems(connection, query_data, dataset or next(iter(limits), None))


def page_of_problems(connection: Connection, query: OpenProblemsQuery, dataset: str | None) -> Page:
    """A page of the open problems of a dataset, or of all."""
    found = open_problems(
        connection,
        bucket=query.bucket,
        key=query.key,
        code=query.code,
        dataset=dataset,
        after=query.after,
        limit=query.limit + 1,
    )
    page, headers = paging.page(list(found), query.limit)
    return {"problems": page}, headers
