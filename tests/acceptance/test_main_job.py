"""The original task's data: files in a bucket, a run, then rows and output.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from api import create_app
from etl.model.dataset import USERS
from etl.model.values import RunState, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.folder import files_of
from etl.storage.seed import seed
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.api_client import TODAY
from tests.conftest import TestBucket, minio_client
from tests.orders_data import ORDERS

ORIGINAL = Path(__file__).parents[3] / "shared" / "provectus-2022"
WITHOUT_IMAGE = {"1005", "1010", "1017", "1024", "1033", "1099"}


def output_csv(settings: Settings) -> str:
    response = minio_client(settings).get_object(settings.processed_bucket, "output.csv")
    try:
        return response.read().decode()
    finally:
        response.close()
        response.release_conn()


def users(engine: Engine) -> dict[str, tuple[object, ...]]:
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT user_id, first_name, last_name, birthts, img_path FROM users"
                " ORDER BY user_id"
            )
        ).all()
    return {row.user_id: tuple(row)[1:] for row in rows}


@pytest.fixture(scope="module")
def original() -> dict[str, tuple[str, str, int]]:
    """The users of the original data, read with the csv module; generated ones if it is absent."""
    if not ORIGINAL.is_dir():
        return {str(n): (f"First{n}", f"Last {n}", n * 1_000_000) for n in range(1000, 1100)}
    found = {}
    for path in ORIGINAL.glob("*.csv"):
        header, row = path.read_text("utf-8").split("\n")[:2]
        assert [cell.strip() for cell in header.split(",")] == [
            "first_name",
            "last_name",
            "birthts",
        ]
        first, last, birthts = (cell.strip() for cell in row.split(","))
        found[path.stem] = (first, last, int(birthts))
    return found


@pytest.fixture
def filled(bucket: TestBucket, settings: Settings, original: dict[str, tuple[str, str, int]]):
    if ORIGINAL.is_dir():
        seed(ObjectStore(settings), settings, files_of([ORIGINAL]).files)
        return
    for user_id, (first, last, birthts) in original.items():
        bucket.user(f"{user_id}.csv", first, last, birthts)
        if user_id not in WITHOUT_IMAGE:
            bucket.put(f"{user_id}.png", b"image")


@pytest.mark.usefixtures("filled")
def test_every_user_and_image_of_the_original_data_arrives(
    manager: DataManager,
    settings: Settings,
    engine: Engine,
    original: dict[str, tuple[str, str, int]],
):
    report = manager.run(Trigger.CLI)

    assert report.state is RunState.SUCCEEDED
    assert (report.counts.rows_read, report.counts.rows_loaded) == (100, 100)
    found = users(engine)
    assert {user: row[:3] for user, row in found.items()} == original
    assert {user for user, row in found.items() if row[3] is None} == WITHOUT_IMAGE
    assert found["1000"][3] == f"{settings.source_bucket}/1000.png"
    assert verify(settings, engine) == []


@pytest.mark.usefixtures("filled")
def test_output_csv_holds_each_user_once_in_byte_order(
    manager: DataManager, settings: Settings, original: dict[str, tuple[str, str, int]]
):
    manager.run(Trigger.CLI)

    header, *rows = csv.reader(io.StringIO(output_csv(settings), newline=""))
    assert header == ["user_id", "first_name", "last_name", "birthts", "img_path"]
    assert [row[0] for row in rows] == sorted(original, key=str.encode)
    assert {row[0]: (row[1], row[2], int(row[3])) for row in rows} == original
    assert {row[0] for row in rows if row[4] == ""} == WITHOUT_IMAGE


@pytest.mark.usefixtures("filled")
def test_a_second_run_changes_nothing_and_writes_nothing(
    manager: DataManager, settings: Settings, engine: Engine
):
    manager.run(Trigger.CLI)
    before = everything(engine)
    published = minio_client(settings).stat_object(settings.processed_bucket, "output.csv")

    report = manager.run(Trigger.CLI)

    assert report.counts.objects_changed == 0
    assert report.counts.rows_read == 0
    assert report.counts.users_live == 100
    assert everything(engine) == before
    again = minio_client(settings).stat_object(settings.processed_bucket, "output.csv")
    assert again.last_modified == published.last_modified


def everything(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table that a run may write, with the transaction that wrote it."""
    tables = ("users", "users_retired", "users_shadowed", "source_object", "problem", "publication")
    with engine.connect() as connection:
        return {
            table: [
                tuple(row)
                for row in connection.execute(
                    text(f"SELECT xmin::text, t.* FROM {table} t ORDER BY 2, 3")
                )
            ]
            for table in tables
        }


def expected_users(settings: Settings, original: dict[str, tuple[str, str, int]]) -> dict[str, Any]:
    """The users with their image paths, in byte order of their ids."""
    return {
        user_id: {
            "first_name": first,
            "last_name": last,
            "birthts": birthts,
            "img_path": None
            if user_id in WITHOUT_IMAGE
            else f"{settings.source_bucket}/{user_id}.png",
        }
        for user_id, (first, last, birthts) in sorted(
            original.items(), key=lambda item: item[0].encode()
        )
    }


def age(user: dict[str, Any]) -> int:
    """The user's whole years on TODAY."""
    born = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=user["birthts"])
    return TODAY.year - born.year - ((TODAY.month, TODAY.day) < (born.month, born.day))


def stats(users: dict[str, Any]) -> dict[str, Any]:
    """What /stats says of these users."""
    ages = Decimal(sum(map(age, users.values()))) / len(users)
    with_image = sum(user["img_path"] is not None for user in users.values())
    return {
        "count": len(users),
        "average_age": float(ages.quantize(Decimal("0.01"), ROUND_HALF_UP)),
        "with_image": with_image,
        "without_image": len(users) - with_image,
    }


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings, today=lambda: TODAY)
    yield app.test_client()
    app.extensions["bucketline"].engine.dispose()


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("datasets", [None, (USERS, ORDERS)], ids=["users alone", "declared"])
def test_outputs_and_responses_are_those_of_the_original_task(
    datasets: Any,  # noqa: ANN401
    settings: Settings,
    client: FlaskClient,
    original: dict[str, tuple[str, str, int]],
):
    DataManager(settings, datasets=datasets).run(Trigger.CLI)
    users = expected_users(settings, original)

    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["user_id", "first_name", "last_name", "birthts", "img_path"])
    writer.writerows([user_id, *user.values()] for user_id, user in users.items())
    assert output_csv(settings) == written.getvalue()

    filters = {
        "": lambda _: True,
        "?is_image_exists=true": lambda user: user["img_path"] is not None,
        "?is_image_exists=False": lambda user: user["img_path"] is None,
        "?min_age=30": lambda user: age(user) >= 30,
        "?min_age=25&max_age=40&is_image_exists=True": lambda user: (
            25 <= age(user) <= 40 and user["img_path"] is not None
        ),
    }
    for query, is_wanted in filters.items():
        some = {user_id: user for user_id, user in users.items() if is_wanted(user)}
        # In the same order of users and of fields.
        assert json.dumps(client.get(f"/data{query}").json) == json.dumps(some)
        if some:
            assert client.get(f"/stats{query}").json == stats(some)
