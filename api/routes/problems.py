"""/problems: the problems with the current versions of the objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint

from api.http import paging
from api.routes.catalog import find
from api.schemas.runs import AllProblemsQuery, OpenProblems, OpenProblemsQuery
from api.security.auth import OF_CALLER, caller, limited, needs
from api.spec import openapi
from api.state.services import services
from etl.db.problems import open_problems
from etl.model.roles import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

bp = APIBlueprint("problems", __name__, tag="Problems")

Page = tuple[dict[str, Any], dict[str, str]]


@bp.get("/problems")
@needs(Role.READER, dataset=OF_CALLER)
@bp.input(AllProblemsQuery, location="query")
@bp.output(OpenProblems, description="A page of open problems.")
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(404, 422, 503)})
def list_open_problems(query_data: AllProblemsQuery) -> Page:
    """List the problems with the current objects of all source buckets.

    A key that is limited to datasets sees only theirs.
    """
    dataset = query_data.dataset
    if dataset is not None and not caller().may_see(dataset):
        raise limited(dataset)
    with services().database() as connection:
        if dataset is not None:
            find(services().catalog.read(connection), dataset)
        names = caller().datasets if dataset is None else (dataset,)
        return page_of_problems(connection, query_data, names)


def page_of_problems(
    connection: Connection, query: OpenProblemsQuery, datasets: Sequence[str]
) -> Page:
    """A page of the open problems of these datasets; of all without any."""
    found = open_problems(
        connection,
        bucket=query.bucket,
        key=query.key,
        code=query.code,
        datasets=datasets,
        after=query.after,
        limit=query.limit + 1,
    )
    page, headers = paging.page(list(found), query.limit)
    return {"problems": page}, headers
