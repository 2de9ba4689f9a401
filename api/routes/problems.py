"""/problems: the problems with the current versions of the objects."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint

from api.http import paging
from api.schemas.runs import OpenProblems, OpenProblemsQuery
from api.security.auth import needs
from api.spec import openapi
from api.state.services import services
from etl.db.problems import open_problems
from etl.model.roles import Role

bp = APIBlueprint("problems", __name__, tag="Problems")


@bp.get("/problems")
@needs(Role.READER)
@bp.input(OpenProblemsQuery, location="query")
@bp.output(OpenProblems, description="A page of open problems.")
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(422, 503)})
def list_open_problems(
    query_data: OpenProblemsQuery,
) -> tuple[dict[str, Any], dict[str, str]]:
    """List the problems with the current objects of the bucket."""
    query = query_data
    with services().database() as connection:
        found = open_problems(
            connection, key=query.key, code=query.code, after=query.after, limit=query.limit + 1
        )
        rows = list(found)
    page, headers = paging.page(rows, query.limit)
    return {"problems": page}, headers
