""".env.example and the settings match in both directions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from etl.settings import Settings

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / ".env.example").read_text()
OURS, FOR_COMPOSE = EXAMPLE.split("# --- only for docker-compose.yml", maxsplit=1)


def variables(text: str) -> list[str]:
    """List the variables a text sets, all of them commented out."""
    return re.findall(r"^#([A-Z][A-Z0-9_]*)=", text, flags=re.MULTILINE)


def test_every_setting_is_in_the_example_and_nothing_else_is():
    assert variables(OURS) == [name.upper() for name in Settings.model_fields]


def test_uncommenting_every_setting_changes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in variables(EXAMPLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    defaults = Settings()
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z0-9_]+=)", "", EXAMPLE, flags=re.MULTILINE))
    assert Settings() == defaults


def test_unedited_example_sets_nothing():
    assert [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")] == []


def test_every_variable_is_explained_in_the_line_above_it():
    lines = EXAMPLE.splitlines()
    for number, line in enumerate(lines):
        if variables(line):
            assert re.match(r"# \S.*[.;]", lines[number - 1]), line


def test_compose_block_lists_variables_only_compose_reads():
    compose = (ROOT / "docker-compose.yml").read_text()
    assert yaml.safe_load(compose)
    read = set(re.findall(r"\$\{([A-Z0-9_]+)", compose))
    assert read - set(variables(OURS)) == set(variables(FOR_COMPOSE))
