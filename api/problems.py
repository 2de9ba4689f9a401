"""/problems: what is wrong with the objects as they are now."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint

from api import openapi, paging
from api.schemas import OpenProblems, OpenProblemsQuery
from api.services import services
from etl.status import open_problems

bp = APIBlueprint("problems", __name__, tag="Problems")

_EXAMPLE = {
    "id": 1,
    "run_id": 1,
    "code": "not-an-integer",
    "severity": "error",
    "key": "1000.csv",
    "etag": "9bb58f26192e4ba00f01e2e7b136bbd8",
    "line": 2,
    "column": "birthts",
    "value": "1990-01-01",
    "note": "Write birthts as milliseconds since 1970-01-01T00:00:00Z.",
}


@bp.get("/problems")
@bp.input(OpenProblemsQuery, location="query")
@bp.output(OpenProblems, description="A page of open problems.", example={"problems": [_EXAMPLE]})
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(422, 503)})
def list_open_problems(
    query_data: OpenProblemsQuery,
) -> tuple[dict[str, Any], dict[str, str]]:
    """List what is wrong in the bucket now."""
    query = query_data
    with services().database() as connection:
        found = open_problems(
            connection, key=query.key, code=query.code, after=query.after, limit=query.limit + 1
        )
        rows = list(found)
    page, is_more = paging.cut(rows, query.limit)
    headers = paging.next_link(page[-1]["id"]) if is_more else {}
    return {"problems": page}, headers
