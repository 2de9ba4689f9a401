"""The image: its size, and that it lacks nothing that the services use."""

from __future__ import annotations

import pytest

from tests.conftest import wait_until
from tests.containers.deployment import Deployment

pytestmark = pytest.mark.timeout(600)  # the first test makes the images and starts everything

MOST_BYTES = 350_000_000

IMPORT_EVERYTHING = """
import importlib, pkgutil
import api, etl
modules = [found.name for package in (api, etl)
           for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in modules:
    if not name.endswith(("__main__", ".migrations.env")):
        importlib.import_module(name)
print(len(modules))
"""
# As Arrow loads the libraries of other file systems, and pandas its own parts, only when asked.
USE_PACKAGES = """
import io
import numpy, pandas, pyarrow.parquet, zoneinfo
frame = pandas.DataFrame({"at": pandas.date_range("2024-03-31", periods=3, tz="Europe/Berlin")})
numpy.linalg.inv(numpy.eye(2))
buffer = io.BytesIO()
frame.to_parquet(buffer)
assert pandas.read_parquet(buffer).equals(frame)
assert frame.to_csv() and frame.groupby(frame["at"].dt.month).size().sum() == 3
for codec in ("snappy", "gzip", "brotli", "zstd", "lz4"):
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), io.BytesIO(), compression=codec)
"""


def test_image_has_at_most_350_megabytes(deployment: Deployment):
    container = deployment.containers("api")[0]
    size = int(deployment.inspect(deployment.inspect(container, "{{.Image}}"), "{{.Size}}"))
    assert size <= MOST_BYTES


def test_every_module_can_be_imported(deployment: Deployment):
    printed = deployment.compose("exec", "-T", "scheduler", "python", "-c", IMPORT_EVERYTHING)
    assert int(printed) > 300


def test_packages_that_were_made_smaller_work(deployment: Deployment):
    deployment.compose("exec", "-T", "scheduler", "python", "-c", USE_PACKAGES)


def test_serving_rows_loads_neither_pandas_nor_numpy(deployment: Deployment):
    key = deployment.bucketline("keys", "new", "reader", "--role", "reader", service="api").strip()
    wait_until(lambda: deployment.ask("/data?min_age=1", **{"X-API-Key": key})[0] == 200)
    show = ("exec", "-T", "api", "sh", "-c", "cat /proc/[0-9]*/maps")
    loaded = deployment.compose(*show)
    assert "psycopg2" in loaded
    assert "/pandas/" not in loaded
    assert "/numpy/" not in loaded
    deployment.bucketline("keys", "revoke", "reader", service="api")


@pytest.mark.parametrize("service", ["api", "scheduler"])
def test_service_can_change_neither_its_code_nor_its_packages(deployment: Deployment, service: str):
    container = deployment.containers(service)[0]
    assert deployment.inspect(container, "{{.HostConfig.ReadonlyRootfs}}") == "true"
    writable = "find / -xdev -writable -not -type l -not -type s 2>/dev/null || true"
    assert deployment.compose("exec", "-T", service, "id", "-u").strip() == "10001"
    found = set(deployment.compose("exec", "-T", service, "sh", "-c", writable).split())
    assert not {path for path in found if path.startswith(("/app", "/opt", "/usr"))}
