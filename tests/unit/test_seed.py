"""Which files `seed` uploads; uploading them is tested on a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl.errors import ConfigurationError
from etl.seed import files_of


def test_a_folder_gives_every_file_below_it(tmp_path: Path):
    (tmp_path / "south").mkdir()
    for name in ("b.csv", "south/a.csv"):
        (tmp_path / name).touch()
    assert files_of(tmp_path) == [tmp_path / "b.csv", tmp_path / "south/a.csv"]


def test_one_file_gives_itself(tmp_path: Path):
    (tmp_path / "b.csv").touch()
    assert files_of(tmp_path / "b.csv") == [tmp_path / "b.csv"]


def test_a_folder_without_files_is_said_to_be_one(tmp_path: Path):
    (tmp_path / "south").mkdir()
    with pytest.raises(ConfigurationError, match="holds no file"):
        files_of(tmp_path)


def test_a_path_that_leads_nowhere_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        files_of(tmp_path / "nowhere")
