"""POST /check: what a run would say of a file, from a process with limits; nothing is stored."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from api import create_app
from api.state.checks import MAX_CHECKS, FileChecks
from api.state.services import services_of
from etl.checks.file import FileCheck
from etl.model.dataset import USERS, UnknownColumns
from etl.model.roles import Role, entry_for, new_key
from etl.model.values import ObjectKind, Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.api_client import expect_problem, get, parameters_at_fault
from tests.conftest import TestBucket
from tests.dataset_rows import install
from tests.processes import serving
from tests.sample_datasets import ORDERS, PARTS, READINGS
from tests.worker_behavior import TIMEOUT, behave_or_check

USER = b"first_name,last_name,birthts\n"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, which is empty before and after each request."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def check(client: FlaskClient, key: str, content: bytes) -> dict[str, Any]:
    response = client.post("/check", query_string={"key": key}, data=content)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.get_json()
    return found


def send_form(client: FlaskClient, url: str, **fields: object) -> TestResponse:
    return client.post(url, data=fields, content_type="multipart/form-data")


def test_check_says_what_a_run_would_say(
    client: FlaskClient, bucket: TestBucket, settings: Settings, temporary: Path
):
    manager = DataManager(settings, datasets=(ORDERS, USERS))
    manager.run(Trigger.CLI)  # installs the datasets
    content = "order_id,amount,rank\r\nA,1.5,1\r\nB,viel €,2\r\nC,1.234,3\r\n,1,4\r\n".encode()
    found = check(client, "orders/1.csv", content)
    assert list(temporary.iterdir()) == []
    assert get(client, "/datasets/orders")["counts"]["rows"] == 0
    assert get(client, "/problems")["problems"] == []

    bucket.put("orders/1.csv", content.decode())
    report = manager.run(Trigger.CLI)
    counts = report.dataset_counts["orders"]
    assert (found["rows_read"], found["rows_rejected"]) == (counts.rows_read, counts.rows_rejected)
    assert (found["dataset"], found["kind"], found["state"]) == ("orders", "rows", "loaded")
    assert (found["rows_good"], found["is_accepted"]) == (1, False)
    recorded = get(client, "/problems")["problems"]
    fields = ("code", "severity", "line", "column", "value", "note")
    said, stored = (
        sorted(tuple(str(one[name]) for name in fields) for one in problems)
        for problems in (found["problems"], recorded)
    )
    assert said == stored
    raw = {one["line"]: one["raw_line"] for one in found["problems"]}
    assert raw == {None: None, 3: "B,viel €,2", 4: "C,1.234,3", 5: ",1,4"}


def test_file_without_problems_is_accepted(client: FlaskClient):
    found = check(client, "1000.csv", USER + b"Ann,Lee,0\n")
    assert found == {
        "key": "1000.csv",
        "dataset": "users",
        "kind": "rows",
        "is_accepted": True,
        "state": "loaded",
        "rows_read": 1,
        "rows_good": 1,
        "rows_rejected": 0,
        "kept_in_extra": [],
        "added_columns": [],
        "problems": [],
        "note": None,
    }


def test_undeclared_columns_are_named(client: FlaskClient, engine: Engine):
    install(engine, ORDERS, replace(READINGS, unknown_columns=UnknownColumns.ADD))
    kept = check(client, "orders/1.csv", b"order_id,note,hint\nA,x,y\n")
    assert (kept["kept_in_extra"], kept["added_columns"]) == (["hint", "note"], [])
    added = check(client, "sensors/a/1.csv", b"sensor,Note\nt,x\n")
    assert (added["kept_in_extra"], added["added_columns"]) == ([], ["note"])


def test_keys_are_routed_as_by_a_run(client: FlaskClient, engine: Engine):
    install(engine, ORDERS, READINGS, PARTS)
    image = check(client, "parts/photos/7.png", b"x")
    assert (image["kind"], image["dataset"], image["is_accepted"]) == ("image", "parts", True)
    assert "'7' names, as its photo" in image["note"]
    other = check(client, "backup/orders/1.csv", b"x")
    assert (other["kind"], other["dataset"], other["is_accepted"]) == ("other", None, False)
    assert "The dataset orders reads orders/1.csv" in other["note"]
    install(engine, USERS)
    unread = check(client, "notes.txt", b"x")
    assert (unread["kind"], unread["dataset"]) == ("other", None)


def test_file_of_an_unsupported_type_is_reported(client: FlaskClient, engine: Engine):
    install(engine, replace(ORDERS, include=("orders/**",)))
    found = check(client, "orders/1.doc", b"x")
    assert (found["kind"], found["dataset"], found["is_accepted"]) == ("other", "orders", False)
    assert [one["code"] for one in found["problems"]] == ["unsupported-type"]


def test_columns_that_data_added_count(client: FlaskClient, engine: Engine):
    """A column beyond the 200th is a problem, unless the table has it already."""
    names = tuple(f"c{number}" for number in range(200))
    install(engine, replace(ORDERS, unknown_columns=UnknownColumns.ADD), added=names)
    known = check(client, "orders/1.csv", b"order_id,c7\nA,1\n")
    assert [one["code"] for one in known["problems"]] == ["declared-column-absent"]
    other = check(client, "orders/1.csv", b"order_id,other\nA,1\n")
    assert [one["code"] for one in other["problems"]] == [
        "column-kept-in-extra",
        "declared-column-absent",
    ]
    assert other["is_accepted"]


def test_files_of_all_formats_are_checked(client: FlaskClient, engine: Engine):
    """Lines are found in compressed files too; Parquet has none."""
    install(engine, replace(ORDERS, include=("orders/**",)))
    lines = b'{"order_id": "A", "updated": 1}\n{"order_id": "B", "amount": "viel", "updated": 1}\n'
    for key, content in {
        "orders/1.ndjson": lines,
        "orders/1.ndjson.gz": gzip.compress(lines),
        "orders/1.csv.gz": gzip.compress(b"order_id,updated,amount\nA,1,\nB,1,viel\n"),
    }.items():
        found = check(client, key, content)
        (problem,) = found["problems"]
        assert (found["rows_good"], problem["column"], problem["value"]) == (1, "amount", "viel")
        assert problem["raw_line"] in ("B,1,viel", lines.decode().splitlines()[1])
    sink = io.BytesIO()
    rows = {"order_id": ["A", "B"], "amount": ["1", "viel"], "updated": [1, 1]}
    pq.write_table(pa.table(rows), sink)
    (problem,) = check(client, "orders/1.parquet", sink.getvalue())["problems"]
    assert (problem["line"], problem["raw_line"]) == (2, None)
    cut = check(client, "orders/1.csv.gz", gzip.compress(b"order_id\nA\n" * 1000)[:-10])
    assert (cut["state"], cut["is_accepted"]) == ("quarantined", False)


def test_file_that_expands_too_much_is_refused(settings: Settings):
    small = settings.model_copy(update={"check_max_size": 50_000})
    client = create_app(small).test_client()
    install(services_of(client.application).engine, replace(ORDERS, include=("orders/**",)))
    bomb = gzip.compress(b"order_id\n" + b"A\n" * 1_000_000)
    found = check(client, "orders/1.csv.gz", bomb)
    assert found["state"] == "quarantined"
    assert "1,000,000 bytes" in found["problems"][0]["note"]


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8-sig"])
def test_raw_lines_are_decoded_as_the_file_is(client: FlaskClient, encoding: str):
    text = USER.decode() + 'Änn,Lee,0\n"Jö\nrg",Lee,soon\nAnn,Lee,later\n'
    found = check(client, "team.csv", text.encode(encoding))
    raw = {one["line"]: one["raw_line"] for one in found["problems"] if one["column"] == "birthts"}
    assert raw == {3: '"Jö', 5: "Ann,Lee,later"}


def test_long_raw_lines_are_cut(client: FlaskClient):
    (problem,) = check(client, "1.csv", USER + b"Ann," + b"x" * 5000 + b",soon\n")["problems"]
    assert len(problem["raw_line"]) == 1000
    assert problem["raw_line"].endswith("x…")


def test_many_problems_are_counted(client: FlaskClient):
    found = check(client, "a.csv", b"user_id," + USER + b"1,Ann,Lee,soon\n" * 1500)
    assert found["rows_rejected"] == 1500
    assert len(found["problems"]) == 1001
    assert found["problems"][-1]["code"] == "more-problems"


# -- bodies


def test_form_is_checked_under_its_name_or_key(client: FlaskClient):
    def file(name: str = "1000.csv") -> tuple[io.BytesIO, str]:
        return io.BytesIO(USER + b"Ann,Lee,soon\n"), name

    assert send_form(client, "/check", file=file()).get_json()["key"] == "1000.csv"
    assert send_form(client, "/check", file=file(), key="a/7.csv").get_json()["key"] == "a/7.csv"
    by_parameter = send_form(client, "/check?key=a/8.csv", file=file()).get_json()
    assert (by_parameter["key"], by_parameter["rows_rejected"]) == ("a/8.csv", 1)
    both = send_form(client, "/check?key=a/8.csv", file=file(), key="a/7.csv")
    assert parameters_at_fault(both) == {"key"}
    assert parameters_at_fault(send_form(client, "/check", file=[file(), file("2.csv")])) == {
        "file"
    }
    assert parameters_at_fault(send_form(client, "/check", other="x")) == {"file", "other"}


def test_wrong_requests_are_refused(client: FlaskClient):
    assert parameters_at_fault(client.post("/check", data=b"x")) == {"key"}
    assert parameters_at_fault(client.post("/check?key=a//b.csv", data=b"x")) == {"key"}
    assert parameters_at_fault(client.post("/check?key=.bucketline/a", data=b"x")) == {"key"}
    assert parameters_at_fault(client.post("/check?key=a.csv&x=1", data=b"x")) == {"x"}
    without = client.post("/check?key=a.csv")
    assert expect_problem(without, 411)["type"].endswith("no-body")
    encoded = client.post("/check?key=a.csv", data=b"x", headers={"Content-Encoding": "gzip"})
    assert expect_problem(encoded, 415)


def test_large_files_are_refused_before_they_are_read(settings: Settings):
    small = settings.model_copy(update={"check_max_size": 70_000})
    head = b"user_id," + USER
    with serving(small) as (host, port, _):
        for size, status in ((69_000, 200), (71_000, 413)):
            body = head + b"1,Ann,Lee,0\n" * (size // 12)
            for is_chunked in (False, True):
                connection = http.client.HTTPConnection(host, port, timeout=60)
                parts = [body[at : at + 5000] for at in range(0, len(body), 5000)]
                sent: Any = iter(parts) if is_chunked else body
                connection.request("POST", "/check?key=a.csv", sent, encode_chunked=is_chunked)
                response = connection.getresponse()
                answer = json.loads(response.read())
                assert response.status == status, answer
                assert answer.get("rows_read", 0) == (status == 200) * (size // 12)
                connection.close()


# -- limits of the process


@pytest.mark.parametrize(
    ("command", "status", "kind"),
    [
        (b"crash", 422, "check-crashed"),
        (b"leave", 422, "check-crashed"),
        (b"grow", 422, "check-out-of-memory"),
        (b"hang", 422, "check-out-of-time"),
        (b"be killed", 503, "transient-error"),
    ],
)
def test_limits_and_crashes_of_the_process_are_explained(
    settings: Settings, temporary: Path, command: bytes, status: int, kind: str
):
    limit = TIMEOUT if command == b"hang" else timedelta(minutes=2)
    app = create_app(settings.model_copy(update={"check_timeout": limit}))
    services_of(app).checks.check = behave_or_check
    behaving = app.test_client()
    body = expect_problem(behaving.post("/check?key=a.csv", data=command), status)
    assert body["type"] == f"urn:bucketline:problem:{kind}"
    assert body["hint"]
    assert list(temporary.iterdir()) == []
    services_of(app).checks = FileChecks(settings)
    assert behaving.post("/check?key=1.csv", data=USER + b"Ann,Lee,0\n").status_code == 200


def test_only_a_few_checks_run_at_a_time(app: APIFlask, client: FlaskClient):
    slots = services_of(app).checks.slots
    with ExitStack() as others:
        for _ in range(MAX_CHECKS):
            assert others.enter_context(slots.try_acquire())
        busy = client.post("/check?key=1.csv", data=USER)
        assert expect_problem(busy, 503)
        assert busy.headers["Retry-After"]
    assert client.post("/check?key=1.csv", data=USER).status_code == 200


def test_full_disk_is_reported(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    expect_problem(client.post("/check?key=1.csv", data=USER), 507)


@pytest.mark.parametrize("rows", [200_000, pytest.param(2_500_000, marks=pytest.mark.long)])
def test_large_files_are_checked_within_the_limits(settings: Settings, tmp_path: Path, rows: int):
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.write(b"user_id," + USER)
        file.writelines(b"%d,Ann,Lee,soon\n" % number for number in range(rows))
    given = settings.model_copy(
        update={"image_memory_mb": 1024, "check_timeout": timedelta(seconds=300)}
    )
    task = FileCheck(str(path), "a.csv", USERS, ObjectKind.DATA, datetime.now(UTC).date(), 10**9)
    found = FileChecks(given).run(task)
    assert found.checked.rows_rejected == rows
    assert len(found.raw_lines) == 1000


# -- keys


def test_limited_key_checks_only_files_of_its_datasets(settings: Settings, engine: Engine):
    install(engine, ORDERS, READINGS)
    key = new_key()
    entry = str(entry_for("shop", Role.READER, key, ["orders"]))
    app = create_app(settings.model_copy(update={"api_keys": SecretStr(entry)}))
    client, headers = app.test_client(), {"X-API-Key": key}
    own = client.post("/check?key=orders/1.csv", data=b"order_id\nA\n", headers=headers)
    assert own.get_json()["is_accepted"]
    other = client.post("/check?key=sensors/x/1.csv", data=b"x", headers=headers)
    body = expect_problem(other, 403)
    assert body["type"].endswith("dataset-limited")
    assert "readings" not in str(body)
    none = client.post("/check?key=my/sensors/x/1.csv", data=b"x", headers=headers)
    assert "readings" not in none.text
    assert expect_problem(client.post("/check?key=orders/1.csv", data=b"x"), 401)
