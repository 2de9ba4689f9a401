"""data/datasets/shop is what data/make_shop.py makes, and its declaration accepts most of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from etl.cli.main import commands
from etl.settings import Settings
from etl.settings.datasets_file import read_datasets
from etl.storage.seed import DECLARATIONS, SAMPLES, sample_files

ROOT = Path(__file__).parents[2]
FAULTS = {
    ("orders/2024/01.csv.gz", "not-a-number"): 1,
    ("orders/2024/02.csv.gz", "not-in-enum"): 1,
    ("orders/2024/03.csv.gz", "nonexistent-time"): 1,
    ("sensors/Bonn/2024/03-01.ndjson", "not-a-number"): 1,
    ("sensors/Bonn/2024/03-01.ndjson", "not-json"): 2,
    ("sensors/Bonn/2024/03-01.ndjson", "above-maximum"): 1,
}


def content(path: Path) -> object:
    """The rows of a Parquet file, whose bytes depend on the version of Arrow; else the bytes."""
    return pq.read_table(path).to_pydict() if path.suffix == ".parquet" else path.read_bytes()


def test_script_makes_exactly_the_files_of_the_shop(tmp_path: Path):
    subprocess.run([sys.executable, str(ROOT / "data/make_shop.py"), str(tmp_path)], check=True)
    made = {
        path.relative_to(tmp_path).as_posix(): content(path)
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert made == {file.key: content(file.path) for file in sample_files("shop")}


def test_check_finds_the_faults_of_the_shop_and_no_others(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(SAMPLES["shop"])
    monkeypatch.setenv("DATASETS_FILE", str(DECLARATIONS["shop"]))
    keys = [file.key for file in sample_files("shop")]
    result = CliRunner().invoke(commands, ["check", "--json", *keys])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert Counter((one["key"], one["code"]) for one in found["problems"]) == FAULTS
    good = Counter[str]()
    for one in found["files"]:
        good[one["dataset"]] += one["rows_good"]
    assert good == {"orders": 302, "readings": 717}


def test_declaration_of_the_shop_keeps_users():
    names = [one.name for one in read_datasets(DECLARATIONS["shop"], Settings(_env_file=None))]
    assert sorted(names) == ["orders", "readings", "users"]
