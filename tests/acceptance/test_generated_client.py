"""A client generated from /openapi.json works without further knowledge."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from pydantic import SecretStr

from etl.images.indexer import ThumbnailIndexer
from etl.model.dataset import USERS
from etl.model.roles import Role, entry_for, new_key
from etl.model.values import Trigger
from etl.sync.manager import DataManager
from tests.processes import serving
from tests.sample_datasets import ORDERS
from tests.sample_images import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.settings import Settings
    from tests.conftest import TestBucket

GENERATOR = Path(sys.executable).with_name("openapi-python-client")
KEY = new_key()
PACKAGE = "bucketline_client"

# The generator does not support image responses, and its output is not formatted.
CONFIGURATION = """
content_type_overrides: {image/webp: application/octet-stream}
post_hooks: []
"""
# It supports one content type per body, and reports that it leaves out the other.
LEFT_OUT = "Unsupported content type */*"


@pytest.fixture
def url(settings: Settings, bucket: TestBucket) -> Iterator[str]:
    """The URL of an API with keys, a user with an image, an order, and a problem."""
    bucket.user("1000.csv")
    bucket.put("1000.png", plain())
    bucket.put("photos/wrong.csv", "first_name,last_name,birthts\nBo,Li,soon\n")
    bucket.put("orders/1.csv", "order_id,amount,rank,updated\nA,1.5,3,1\nB,,4,1\n")
    DataManager(settings, datasets=(ORDERS, USERS)).run(Trigger.CLI)
    ThumbnailIndexer(settings).run()
    keys = SecretStr(str(entry_for("client", Role.ADMIN, KEY)))
    with serving(settings.model_copy(update={"api_keys": keys})) as (host, port, _):
        yield f"http://{host}:{port}"


@pytest.fixture
def ask(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Send a request with the generated client: an operation and its function's arguments."""
    assert generate(url, tmp_path) in ([], [LEFT_OUT])
    monkeypatch.syspath_prepend(str(tmp_path))
    client = import_module(PACKAGE).AuthenticatedClient(
        base_url=url, token=KEY, raise_on_unexpected_status=True
    )

    def call(operation: str, *path: str | int, **given: object) -> Any:  # noqa: ANN401
        function = import_module(f"{PACKAGE}.api.{operation}").sync
        return function(*path, client=client, **given)

    with client:
        yield call
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def generate(url: str, folder: Path) -> list[str]:
    """Generate the package from /openapi.json; return the generator's complaints.

    Only callers with a key get the columns of the datasets, and the generator sends none.
    """
    found = urllib3.request("GET", f"{url}/openapi.json", headers={"X-API-Key": KEY})
    description = folder / "openapi.json"
    description.write_bytes(found.data)
    configuration = folder / "generator.yaml"
    configuration.write_text(CONFIGURATION)
    options = f"--path={description} --meta=none --config={configuration}".split()
    done = subprocess.run(
        [GENERATOR, "generate", *options, f"--output-path={folder / PACKAGE}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    complaints = ("Cannot", "Could", "Unable", "Unsupported", "Attempted", "Invalid")
    return [line for line in lines if line.startswith(complaints) or "not be generated" in line]


def test_a_generated_client_reads_and_writes(
    ask: Callable[..., Any], settings: Settings, bucket: TestBucket
):
    models = import_module(f"{PACKAGE}.models")
    types = import_module(f"{PACKAGE}.types")

    users = ask("data.list_users", min_age=18).additional_properties
    assert [user.first_name for user in users.values()] == ["Ann"]
    user = ask("data.show_user", "1000")
    assert (user.lineage.key, user.image.state) == ("1000.csv", models.ImageState.READY)
    assert ask("data.show_image", "1000").payload.read() == plain()
    assert ask("data.show_thumbnail", "1000").payload.read(4) == b"RIFF"
    unknown = ask("data.show_user", "none")
    assert (unknown.status, unknown.hint != "") == (404, True)
    assert ask("stats.show_stats", is_image_exists=True).count == 1

    orders, dataset = ask("datasets.list_datasets").datasets
    assert (orders.name, orders.counts.rows) == ("orders", 2)
    assert (dataset.name, dataset.counts.rows, dataset.open_problems) == ("users", 1, 1)
    filters = models.ListRowsFilters.from_dict({"birthts": "gte.0", "user_id": "in.(1000,1001)"})
    (row,) = ask("datasets.list_rows", "users", filters=filters, fields="first_name,age")
    assert row.to_dict().keys() == {"first_name", "age"}
    assert ask("datasets.show_row", "users", "1000").lineage.key == "1000.csv"
    assert ask("datasets.show_dataset_stats", "users").count == 1

    first, second = ask("datasets.list_rows_of_orders")
    assert (first.order_id, first.amount, second.amount, second.rank) == ("A", 1.5, None, 4)
    (named,) = ask("datasets.list_rows_of_orders", rank="gt.3", fields="order_id")
    assert named.to_dict() == {"order_id": "B"}
    assert ask("datasets.show_row_of_orders", "B").row.rank == 4
    file = types.File(payload=b"order_id,amount\nC,viel\n")
    found = ask("datasets.check_file", key="orders/2.csv", body=file)
    assert [(one.line, one.raw_line) for one in found.problems if one.line] == [(2, "C,viel")]

    (run,) = ask("runs.list_runs").runs
    assert (run.state, run.trigger) == (models.RunState.SUCCEEDED, models.Trigger.CLI)
    assert ask("runs.show_run", run.id).counts["rows_rejected"] == 1
    (problem,) = ask("problems.list_open_problems").problems
    assert (problem.key, problem.line) == ("photos/wrong.csv", 2)

    saved = ask("documents.upload_document", body={"a": [1, None]}, name="a.json")
    assert (saved.name, ask("documents.show_document", "a.json")) == ("a.json", {"a": [1, None]})
    assert [found.name for found in ask("documents.list_documents").documents] == ["a.json"]

    name = settings.source_bucket
    listed = ask("objects.list_objects", name).entries
    assert [type(entry).__name__ for entry in listed] == ["ListedObject"] * 2 + ["ListedFolder"] * 2
    file = types.File(payload=b"x" * 100_000)
    assert ask("objects.upload_object", name, "a b/ä.bin", body=file).size == 100_000
    assert ask("objects.download_object", name, "a b/ä.bin").payload.read() == file.payload
    link = ask("objects.presign_object", name, "1000.png", body=models.PresignRequest())
    assert urllib3.request("GET", link.url).data == plain()
    ask("objects.remove_object", name, "a b/ä.bin")
    assert not bucket.has("a b/ä.bin")
    assert ask("health.show_health").database.status.value == "ok"
