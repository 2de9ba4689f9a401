"""/stats: statistics of the users that match the filters of /data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from sqlalchemy import Select, func, select

from api.rows import etags
from api.rows import users as served
from api.rows.columns import age_in_sql
from api.rows.filters import Filters, conditions
from api.schemas.data import FilterQuery, Stats
from api.security.auth import needs
from api.spec import openapi
from api.state.services import services
from etl.db.tables import users
from etl.model.dataset import USERS
from etl.model.roles import Role

if TYPE_CHECKING:
    from flask import Response

bp = APIBlueprint("stats", __name__, tag="Stats")


@bp.get("/stats")
@needs(Role.READER, dataset=USERS.name)
@bp.input(FilterQuery, location="query")
@bp.output(Stats, description="The statistics.")
@bp.doc(
    responses={
        200: {"headers": openapi.ETAG_HEADER},
        304: openapi.NOT_MODIFIED,
        **openapi.problems(404, 422, 503),
    }
)
def show_stats(query_data: FilterQuery) -> tuple[dict[str, Any], int, dict[str, str]] | Response:
    """Count the users and average their ages.

    The filters are those of GET /data, so the statistics describe the users it returns.
    """
    with services().database() as connection:
        # The average age depends on the date, so the ETag does too.
        state = services().catalog.read(connection)
        tag = served.etag(state, query_data.filters, "stats", services().today())
        if etags.is_known(tag):
            return etags.not_modified(tag)
        row = connection.execute(_statistics(query_data.filters)).one()
    figures = {
        "count": row.count_all,
        "average_age": row.average_age,
        "with_image": row.with_image,
        "without_image": row.count_all - row.with_image,
    }
    return figures, 200, etags.headers(tag)


def _statistics(filters: Filters) -> Select[Any]:
    today = services().today()
    return select(
        func.count().label("count_all"),
        func.round(func.avg(age_in_sql(users.c.birthdate, today)), 2).label("average_age"),
        func.count(users.c.img_path).label("with_image"),
    ).where(*conditions(filters, today))
