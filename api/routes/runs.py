"""/runs: the runs, their results, and the problems they found."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from sqlalchemy import Select, select

from api.http import paging
from api.http.errors import NotFound
from api.schemas.query import NoQuery
from api.schemas.runs import ProblemsQuery, Run, RunProblems, Runs, RunsQuery
from api.security.auth import needs
from api.spec import openapi
from api.state.services import services
from etl.db.runs import run_row
from etl.db.tables import problem, run
from etl.model.roles import Role

bp = APIBlueprint("runs", __name__, tag="Runs")

Page = tuple[dict[str, Any], dict[str, str]]


@bp.get("/runs")
@needs(Role.READER)
@bp.input(RunsQuery, location="query")
@bp.output(Runs, description="A page of runs.")
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(422, 503)})
def list_runs(query_data: RunsQuery) -> Page:
    """List the runs, newest first."""
    with services().database() as connection:
        rows = connection.execute(_runs(query_data)).mappings().all()
    page, headers = paging.page(rows, query_data.limit)
    return {"runs": page}, headers


def _runs(query: RunsQuery) -> Select[Any]:
    statement = select(run).order_by(run.c.id.desc()).limit(query.limit + 1)
    if query.state is not None:
        statement = statement.where(run.c.state == query.state)
    if query.trigger is not None:
        statement = statement.where(run.c.trigger == query.trigger)
    if query.after is not None:
        statement = statement.where(run.c.id < query.after)
    return statement


@bp.get("/runs/<run_id:run_id>")
@needs(Role.READER)
@bp.input(NoQuery, location="query")
@bp.output(Run, description="The run.")
@bp.doc(responses=openapi.problems(404, 422, 503))
def show_run(run_id: int, query_data: NoQuery) -> dict[str, Any]:  # noqa: ARG001
    """Show one run."""
    with services().database() as connection:
        row = run_row(connection, run_id)
    if row is None:
        raise _unknown_run(run_id)
    return row


@bp.get("/runs/<run_id:run_id>/problems")
@needs(Role.READER)
@bp.input(ProblemsQuery, location="query")
@bp.output(RunProblems, description="A page of problems.")
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(404, 422, 503)})
def list_problems(run_id: int, query_data: ProblemsQuery) -> Page:
    """List the problems that a run found in rows and objects."""
    with services().database() as connection:
        if run_row(connection, run_id) is None:
            raise _unknown_run(run_id)
        rows = connection.execute(_problems(run_id, query_data)).mappings().all()
    page, headers = paging.page(rows, query_data.limit)
    return {"problems": page}, headers


def _problems(run_id: int, query: ProblemsQuery) -> Select[Any]:
    statement = (
        select(problem)
        .where(problem.c.run_id == run_id)
        .order_by(problem.c.id)
        .limit(query.limit + 1)
    )
    if query.code is not None:
        statement = statement.where(problem.c.code == query.code)
    if query.after is not None:
        statement = statement.where(problem.c.id > query.after)
    return statement


def _unknown_run(run_id: int) -> NotFound:
    return NotFound("unknown-run", f"There is no run {run_id}.", "GET /runs lists the runs.")
