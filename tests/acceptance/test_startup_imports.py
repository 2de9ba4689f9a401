"""A command imports only the packages it needs, because imports are most of a short command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from etl.cli import render
from etl.settings import Settings

ROOT = Path(__file__).parents[2]
LIST_MODULES = """
import gc, runpy, sys
try:
    runpy.run_module("etl", run_name="__main__")
except SystemExit as end:
    print("collects garbage:", gc.isenabled(), file=sys.stderr)
    print("loaded:", *sys.modules, file=sys.stderr)
    raise
"""
SYNC = {"pandas", "pyarrow", "numpy"}
MIGRATIONS = {"alembic"}
STORE = {"minio", "obstore", "urllib3"}
LOGS = {"structlog"}  # quiet commands write no event
FILE = {"etl.settings.datasets_file"}  # no datasets.toml
UPGRADE = {"etl.db.upgrade"}  # the tables have this version
TABLES = {"etl.db.tables"}  # their statements are in SQL files
FOLDER = {"etl.storage.folder"}  # for uploads
DATABASE = {"sqlalchemy"}
API = {"api", "flask", "waitress"}
IMAGES = {"PIL"}
OTHERS = MIGRATIONS | UPGRADE | API | IMAGES | LOGS | FILE | FOLDER


def environment(settings: Settings, local_dir: Path) -> dict[str, str]:
    buckets = {
        "SOURCE_BUCKET": settings.source_bucket,
        "PROCESSED_BUCKET": settings.processed_bucket,
        "THUMBNAIL_BUCKET": settings.thumbnail_bucket,
        "DOCUMENT_BUCKET": settings.document_bucket,
    }
    addresses = render.environment(settings, None)
    return {"PATH": os.environ["PATH"], "LOCAL_DIR": str(local_dir), **buckets, **addresses}


def run(settings: Settings, folder: Path, words: list[str]) -> tuple[str, list[str]]:
    """Run a command; return its standard error and the modules it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, *words],
        cwd=ROOT,
        env=environment(settings, folder / "local"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    log, _, modules = done.stderr.rpartition("loaded: ")
    return log, modules.split()


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (["--help"], DATABASE | SYNC | STORE | OTHERS),
        (["--version"], DATABASE | SYNC | STORE | OTHERS),
        (["env"], DATABASE | SYNC | STORE | OTHERS),
        (["keys", "list"], DATABASE | SYNC | STORE | OTHERS),
        (["check", "data/src/1000.csv"], DATABASE | STORE | OTHERS),
        (["status"], SYNC | TABLES | OTHERS),
        (["runs"], SYNC | STORE | TABLES | OTHERS),
        (["completion", "bash"], DATABASE | SYNC | STORE | OTHERS),
        (["problems"], SYNC | STORE | OTHERS),
        (["shadowed"], SYNC | STORE | OTHERS),
        (["datasets", "list"], SYNC | STORE | OTHERS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_does_not_import_packages_it_does_not_need(
    settings: Settings, tmp_path: Path, words: list[str], unneeded: set[str]
):
    _, loaded = run(settings, tmp_path, words)
    assert "etl.cli.main" in loaded
    assert unneeded.isdisjoint(loaded)


def test_a_run_without_changes_does_not_import_packages_it_does_not_need(
    settings: Settings, tmp_path: Path
):
    run(settings, tmp_path, ["run"])  # publishes the first output
    _, loaded = run(settings, tmp_path, ["run"])
    assert "etl.sync.manager" in loaded
    assert (SYNC | TABLES | OTHERS).isdisjoint(loaded)


def test_garbage_collector_is_disabled_only_during_startup(settings: Settings, tmp_path: Path):
    log, _ = run(settings, tmp_path, ["status"])
    assert "collects garbage: True" in log
    assert "collects garbage: False" in run(settings, tmp_path, ["--help"])[0]
