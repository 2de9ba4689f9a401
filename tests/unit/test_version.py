"""The version is defined once and shown consistently."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from click.testing import CliRunner

from api import create_app
from etl import __version__
from etl.cli.main import commands
from etl.settings import Settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_version_is_defined_only_in_the_package():
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["hatch"]["version"] == {"path": "etl/__init__.py"}
    result = CliRunner().invoke(commands, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"bucketline {__version__}\n")


def test_containers_run_the_image_of_this_version():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    images = {one["image"] for one in services.values() if one["image"].startswith("bucketline:")}
    assert images == {f"bucketline:{__version__}"}


def test_openapi_document_has_this_version():
    app = create_app(Settings(_env_file=None, database_url="postgresql://u@127.0.0.1:9/none"))
    assert app.spec["info"]["version"] == __version__


def test_license_is_declared_and_there():
    assert PROJECT["project"]["license"] == "Apache-2.0"
    for name in PROJECT["project"]["license-files"]:
        assert "Copyright 2026 the Bucketline authors" in (ROOT / name).read_text("utf-8")
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
