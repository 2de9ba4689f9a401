"""/openapi.json is complete and true: schemathesis asks a live API everything it describes.

All its checks, over a real database and object store, with the scheduler running, so that what
waits for a run sees one end.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from etl.images.indexer import ThumbnailIndexer
from etl.model.dataset import USERS
from etl.model.roles import Role, entry_for, new_key
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.conftest import TestBucket, wait_until
from tests.dataset_rows import install, put_rows
from tests.sample_datasets import ORDERS
from tests.sample_images import plain

ROOT = Path(__file__).parents[2]
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
KEY = new_key()

# A schema cannot express that max_age must not be below min_age, which object keys are valid, that
# a file to check needs a key unless it is in a form, which columns a dataset has, nor everything
# that makes a valid event. There, 422 and 400 are valid responses too.
CONFIGURATION = """
request-timeout = 60
[[operations]]
include-path-regex = "^/(data|stats|problems|objects/.*|datasets/.*|check|minio-event)$"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 422, 429, "5xx"]

# What is there, so that more than refusals are tried.
[dictionaries.bucket]
values = ["{bucket}"]
[dictionaries.user]
values = ["1000"]
[dictionaries.dataset]
values = ["users", "orders"]
[dictionaries.size]
values = [64, 256]
[parameters]
"path.bucket" = {{ dictionary = "bucket", probability = 0.8 }}
"path.user_id" = {{ dictionary = "user", probability = 0.6 }}
"path.row_key" = {{ dictionary = "user", probability = 0.6 }}
"path.dataset" = {{ dictionary = "dataset", probability = 0.8 }}
"query.size" = {{ dictionary = "size", probability = 0.5 }}
"""


@contextmanager
def running(settings: Settings, folder: Path, *command: str) -> Iterator[Path]:
    """Run a command on the test's database and buckets; yield its log."""
    log = folder / f"{command[0]}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "etl", *command],
            env=os.environ | environment(settings, folder),
            cwd=folder,
            stderr=output,
        )
    try:
        yield log
    finally:
        process.terminate()
        assert process.wait(60) in (0, 1, -15, 143)


def environment(settings: Settings, folder: Path) -> dict[str, str]:
    assert settings.database_url
    assert settings.s3_secret_key
    return {
        "PYTHONPATH": str(ROOT),
        "S3_ENDPOINT": str(settings.s3_endpoint),
        "S3_ACCESS_KEY": str(settings.s3_access_key),
        "S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "SOURCE_BUCKET": settings.source_bucket,
        "PROCESSED_BUCKET": settings.processed_bucket,
        "THUMBNAIL_BUCKET": settings.thumbnail_bucket,
        "DOCUMENT_BUCKET": settings.document_bucket,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "LOCAL_DIR": str(folder / "local"),
        "LOG_FORMAT": "json",
        "WEBHOOK_TOKEN": KEY,  # the same token, because one header is sent to every route
        "API_KEYS": str(entry_for("schemathesis", Role.ADMIN, KEY)),
    }


@pytest.fixture
def api(
    settings: Settings, engine: Engine, bucket: TestBucket, manager: DataManager, tmp_path: Path
) -> Iterator[str]:
    """The URL of an API with users, orders, an image and a problem, and a running scheduler."""
    bucket.user("1000.csv")
    bucket.put("1000.png", plain())
    bucket.put("1001.csv", "first_name,last_name,birthts\nAnn,Lee,0\nBo,Li,soon\n")
    manager.run(Trigger.CLI)
    ThumbnailIndexer(settings).run()
    install(engine, USERS, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "1000"}, {"order_id": "1001", "rank": 5})
    url = tmp_path / "url"
    with ExitStack() as both:
        both.enter_context(running(settings, tmp_path, "schedule"))
        both.enter_context(running(settings, tmp_path, "serve", "--url-file", str(url)))
        wait_until(url.exists, seconds=120)
        yield url.read_text().strip()
    log = (tmp_path / "serve.log").read_text()
    assert '"status": 200' in log
    for secret in (KEY, "Traceback", "request_crashed"):
        assert secret not in log


def ask_everything(url: str, bucket: TestBucket, folder: Path, *options: str) -> int:
    """Run schemathesis on the API; return the number of its test cases."""
    configuration = folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(bucket=bucket.name))
    done = subprocess.run(
        [
            SCHEMATHESIS,
            f"--config-file={configuration}",
            "run",
            f"{url}/openapi.json",
            f"--header=Authorization: Bearer {KEY}",
            "--checks=all",
            # Invalid keys are rate-limited (429); test_access_rules.py covers every route.
            "--exclude-checks=ignored_auth",
            "--suppress-health-check=all",
            "--generation-database=none",
            "--no-color",
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None, done.stdout
    return int(found[1])


def test_api_conforms_to_its_openapi_description(api: str, bucket: TestBucket, tmp_path: Path):
    phases = "--phases=examples,fuzzing,stateful"
    assert ask_everything(api, bucket, tmp_path, phases, "--max-examples=8", "--seed=1") >= 150


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_api_conforms_to_its_description_in_thousands_of_cases(
    api: str, bucket: TestBucket, tmp_path: Path
):
    assert ask_everything(api, bucket, tmp_path, "--max-examples=150") >= 2000
