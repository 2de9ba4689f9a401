"""GET /stats over rows that the tests insert with SQL."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from tests.api_client import get
from tests.user_rows import person, put_users

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine


def test_stats_without_users_have_no_average(client: FlaskClient):
    no_users = {"count": 0, "average_age": None, "with_image": 0, "without_image": 0}
    assert get(client, "/stats") == no_users


def test_stats_average_whole_years_to_two_decimals(client: FlaskClient, engine: Engine):
    put_users(
        engine,
        person("a", date(1990, 6, 16), img_path="b/a.png"),  # 35
        person("b", date(1990, 6, 15), img_path="b/b.png"),  # 36
        person("c", date(1990, 6, 14)),  # 36
    )
    assert get(client, "/stats") == {
        "count": 3,
        "average_age": 35.67,
        "with_image": 2,
        "without_image": 1,
    }
    assert get(client, "/stats?is_image_exists=true&min_age=36") == {
        "count": 1,
        "average_age": 36,
        "with_image": 1,
        "without_image": 0,
    }
