"""The datasets file of a process: what counts as a change, and what a faulty version does."""

from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from etl.model.errors import ConfigurationError
from etl.runtime.logs import set_up_logs
from etl.services.datasets_file import DatasetsFile
from etl.settings import Settings

USERS = 'version = 1\n[datasets.users]\npreset = "users"\n'
GOODS = """
[datasets.goods]
include = ["goods/**"]
[datasets.goods.schema]
fields = [{ name = "sku", type = "string" }]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "datasets.toml"


def followed(path: Path, *times: float) -> DatasetsFile:
    """The file, whose faulty versions are seen at these seconds; else each minute."""
    clock = iter(times) if times else count(0, 60)
    return DatasetsFile(Settings(datasets_file=path), clock=clock.__next__)


def names(file: DatasetsFile) -> list[str] | None:
    changed = file.changed()
    return None if changed is None else [one.name for one in changed]


def replace(path: Path, text: str) -> None:
    """As editors save: a new file takes the name of the old one."""
    replacement = path.with_suffix(".new")
    replacement.write_text(text)
    replacement.replace(path)


def test_an_unchanged_file_is_no_change(path: Path):
    path.write_text(USERS)
    file = followed(path)
    assert names(file) is None
    replace(path, USERS)
    assert names(file) is None
    path.write_text(f"# a comment\n{USERS}")
    assert names(file) is None


def test_a_change_is_returned_once(path: Path):
    path.write_text(USERS)
    file = followed(path)
    path.write_text(USERS + GOODS)
    assert names(file) == ["users", "goods"]
    assert names(file) is None


def test_a_change_of_the_same_size_and_time_is_found(path: Path):
    path.write_text(USERS + GOODS)
    file = followed(path)
    found = path.stat()
    path.write_text((USERS + GOODS).replace("goods/**", "gifts/**"))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert names(file) == ["users", "goods"]


def test_a_change_of_a_schema_file_is_found(path: Path, tmp_path: Path):
    schema = tmp_path / "goods.json"
    schema.write_text(json.dumps({"fields": [{"name": "sku", "type": "string"}]}))
    path.write_text(
        'version = 1\n[datasets.goods]\ninclude = ["goods/**"]\nschema = "goods.json"\n'
    )
    file = followed(path)
    schema.write_text(json.dumps({"fields": [{"name": "weight", "type": "integer"}]}))
    (goods,) = file.changed() or ()
    assert [field.name for field in goods.fields] == ["weight"]


def test_a_faulty_version_keeps_the_last_valid_one_and_is_logged_once(path: Path):
    path.write_text(USERS)
    file = followed(path)
    path.write_text(USERS + GOODS.replace("string", "text").replace("include", "includes"))
    with capture_logs() as logs:
        assert [names(file) for _ in range(3)] == [None, None, None]
    (line,) = logs
    assert line["log_level"] == "error"
    assert "text" in line["reason"]
    assert "includes" in line["reason"]
    assert "\n" not in line["reason"]
    assert [one.name for one in file.datasets or ()] == ["users"]
    assert file.fault is not None

    path.write_text(USERS + GOODS)
    assert names(file) == ["users", "goods"]
    assert file.fault is None


@pytest.mark.parametrize(
    ("parts", "times"),
    [
        (["", USERS + GOODS], [0, 29]),  # as the shell empties the file before a command writes it
        (["[data", "[datasets.go", USERS + GOODS], [0, 1.9, 3, 4.9]),
        ([None, USERS + GOODS], [0, 1.9]),
    ],
)
def test_a_version_that_is_still_being_written_is_not_reported(
    path: Path, parts: list[str | None], times: list[float]
):
    path.write_text(USERS)
    file = followed(path, *times)
    *unfinished, last = parts
    with capture_logs() as logs:
        for part in unfinished:
            path.unlink() if part is None else path.write_text(part)
            assert [names(file), names(file)] == [None, None]
        path.write_text(last or "")
        assert names(file) == ["users", "goods"]
    assert [line for line in logs if line["log_level"] == "error"] == []


@pytest.mark.parametrize(("part", "seconds"), [("", 30), ("[data", 2)])
def test_a_fault_that_lasts_is_reported(path: Path, part: str, seconds: float):
    path.write_text(USERS)
    file = followed(path, 100, 100 + seconds)
    path.write_text(part)
    assert names(file) is None
    assert file.fault is None
    assert names(file) is None
    assert file.fault is not None


def test_the_former_version_after_a_faulty_one_is_no_change(path: Path):
    set_up_logs("console")
    path.write_text(USERS)
    file = followed(path)
    path.write_text("[datasets")
    assert [names(file), names(file)] == [None, None]
    assert file.fault is not None
    path.write_text(USERS)
    with capture_logs() as logs:
        assert names(file) is None
    set_up_logs("console", quiet=True)
    assert [line["event"] for line in logs] == ["the datasets file is valid again"]
    assert file.fault is None


def test_a_removed_file_keeps_its_datasets(path: Path):
    path.write_text(USERS + GOODS)
    file = followed(path)
    path.unlink()
    with capture_logs() as logs:
        assert [names(file), names(file)] == [None, None]
    assert [line["log_level"] for line in logs] == ["error"]
    assert file.fault is not None
    assert "is gone" in file.fault.message
    path.write_text(USERS + GOODS)
    assert names(file) is None
    assert file.fault is None


@pytest.mark.parametrize("text", ["[datasets.users]\npreset = 1\n", "\xff", "["])
def test_a_faulty_file_prevents_the_start(path: Path, text: str):
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError):
        followed(path)


def test_a_missing_file_prevents_the_start_if_it_is_named(path: Path):
    with pytest.raises(ConfigurationError):
        followed(path)


def test_a_file_that_appears_later_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    file = DatasetsFile(Settings())
    assert file.datasets is None
    assert names(file) is None
    Path("datasets.toml").write_text(USERS + GOODS)
    assert names(file) == ["users", "goods"]
