"""The scripts in bin/, run as a user or a supervisor runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from etl.storage.client import ObjectStore
from tests.conftest import minio_client
from tests.processes import serving

if TYPE_CHECKING:
    from etl.settings import Settings

ROOT = Path(__file__).parents[2]


def call(script: str, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({} if path is None else {"PATH": path})
    return subprocess.run(
        [str(ROOT / "bin" / script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_health_check_fails_if_a_bucket_is_missing(settings: Settings):
    with serving(settings) as (host, port, _process):
        url = f"http://{host}:{port}"
        healthy = call("health-check.sh", url)
        assert (healthy.returncode, healthy.stderr) == (0, "")
        assert "GET /health: 200" in healthy.stdout

        minio_client(settings).remove_bucket(settings.processed_bucket)
        unhealthy = call("health-check.sh", url)
        assert unhealthy.returncode == 1
        assert settings.processed_bucket in unhealthy.stdout
        ObjectStore(settings).ensure_bucket(settings.processed_bucket)
        assert call("health-check.sh", url).returncode == 0


def test_health_check_reports_no_answer_and_wrong_usage():
    unreachable = call("health-check.sh", "http://127.0.0.1:9")
    assert unreachable.returncode == 3
    assert "./run.sh up" in unreachable.stderr
    assert call("health-check.sh", "localhost").returncode == 2
    assert call("health-check.sh", "http://127.0.0.1:9", "more").returncode == 2


def test_deploy_without_docker_names_the_alternative(tmp_path: Path):
    for tool in ("sh", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    answer = call("deploy.sh", path=str(tmp_path))
    assert answer.returncode == 2
    assert "./run.sh up" in answer.stderr


def test_test_script_passes_arguments_and_exit_status():
    listed = call("test.sh", "--collect-only", "-q", "-n0", "tests/unit/test_keys.py")
    assert listed.returncode == 0
    assert "test_keys.py" in listed.stdout
    assert call("test.sh", "-n0", "no-such-test.py").returncode == 4
