"""Children import Bucketline's modules, whatever the folder or PYTHONPATH contains."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from etl.runtime import spawn

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with modules that end any process that imports them."""
    for name in ("etl.py", "json.py", "click.py"):
        (tmp_path / name).write_text("raise SystemExit(f'{__file__} was imported')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("given", [None, "", ".", ":/nonexistent", "sub:.", os.pathsep])
def test_child_imports_nothing_from_its_folder(given: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if given is not None:
        monkeypatch.setenv("PYTHONPATH", given)
    found = subprocess.run(
        spawn.command("etl", "--version"),
        env=spawn.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("bucketline ")


def test_child_of_a_checkout_finds_it_before_absolute_entries(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "/opt/a", "b", "/opt/c"]))
    assert spawn.environment()["PYTHONPATH"] == os.pathsep.join([str(ROOT), "/opt/a", "/opt/c"])


def test_child_of_an_installed_package_needs_no_pythonpath(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("site.getsitepackages", lambda: [str(ROOT)])
    monkeypatch.setenv("PYTHONPATH", ":")
    assert "PYTHONPATH" not in spawn.environment()
