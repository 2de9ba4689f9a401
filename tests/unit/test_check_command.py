"""`check`: local files, read as a run reads objects, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from etl.cli.main import commands
from etl.model.errors import ConfigurationError
from etl.read import pieces

USERS = "user_id,first_name,last_name,birthts\n"
ORDERS = """
version = 1

[datasets.orders]
include = ["orders/**/*.csv"]

[datasets.orders.schema]
primaryKey = ["id"]
fields = [
  { name = "id", type = "integer", constraints = { required = true } },
  { name = "amount", type = "number", sql = "numeric(6,2)" },
]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a declared dataset, and settings whose servers do not exist."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/none")
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:1")
    (tmp_path / "datasets.toml").write_text(ORDERS)
    (tmp_path / "orders").mkdir()
    return tmp_path


def check(*words: str) -> Result:
    return CliRunner().invoke(commands, ["check", *words])


def found(*words: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(check(*words, "--json").stdout)
    return result


def test_a_good_file_is_routed_by_its_path(folder: Path):
    (folder / "orders/1.csv").write_text("id,amount\n1,2.50\n2,\n")
    result = check("./orders/1.csv")
    assert result.exit_code == 0
    assert result.stdout == "orders/1.csv (orders): 2 rows read = 2 good + 0 rejected\n"


def test_a_dataset_in_a_bucket_of_its_own_is_found_by_the_path(folder: Path):
    declared = ORDERS.replace("include", 'bucket = "shop"\ninclude')
    (folder / "datasets.toml").write_text(f'{declared}\n[datasets.users]\npreset = "users"\n')
    (folder / "orders/1.csv").write_text("id,amount\n1,2.50\n")
    assert check("orders/1.csv").stdout.startswith("orders/1.csv (orders): 1 row")


def test_each_problem_has_its_line_column_value_and_hint(folder: Path):
    (folder / "orders/1.csv").write_text("id,amount\n1,2.50\n\nx,1\n3,1.234\n")
    result = check("orders/1.csv", "--json")
    assert result.exit_code == 1
    value = json.loads(result.stdout)
    assert [
        (one["key"], one["line"], one["column"], one["code"], one["value"])
        for one in value["problems"]
    ] == [
        ("orders/1.csv", 4, "id", "not-an-integer", "x"),
        ("orders/1.csv", 5, "amount", "too-many-decimals", "1.234"),
    ]
    assert all(one["note"] and one["severity"] == "error" for one in value["problems"])
    (file,) = value["files"]
    assert (file["rows_read"], file["rows_good"], file["rows_rejected"]) == (3, 1, 2)


def test_many_problems_of_one_kind_are_counted_unless_all_are_asked_for(folder: Path):
    (folder / "orders/1.csv").write_text("id,amount\n" + "".join(f"x{n},1\n" for n in range(9)))
    shown = check("orders/1.csv").stdout
    assert shown.count(" error not-an-integer: x") == 3
    assert "… and 6 more of not-an-integer in id (lines 5, 6, 7, …)\n" in shown
    whole = check("orders/1.csv", "--all").stdout
    assert (whole.count(" error not-an-integer: x"), "more of" in whole) == (9, False)
    assert len(found("orders/1.csv")["problems"]) == 9


@pytest.mark.parametrize(
    ("unknown", "line"),
    [
        ("extra", "  not declared, kept in _extra: Channel, discount"),
        ("add", "  not declared, added to the table: channel, discount"),
    ],
)
def test_columns_that_are_not_declared_are_named(folder: Path, unknown: str, line: str):
    declared = ORDERS.replace("include", f'unknown_columns = "{unknown}"\ninclude')
    (folder / "datasets.toml").write_text(declared)
    (folder / "orders/1.csv").write_text("id,Channel,amount,discount\n1,web,1,\n2,,1,5\n")
    assert check("orders/1.csv").stdout.splitlines() == [
        "orders/1.csv (orders): 2 rows read = 2 good + 0 rejected",
        line,
    ]
    (file,) = found("orders/1.csv")["files"]
    assert len(file["kept_in_extra"] + file["added_columns"]) == 2


def test_the_files_of_a_folder_have_the_keys_that_seed_gives_them(folder: Path):
    (folder / "upload/orders/deep").mkdir(parents=True)
    for name in ("2.csv", "deep/1.csv"):
        (folder / "upload/orders" / name).write_text("id,amount\n1,2\n")
    assert [one["key"] for one in found("upload")["files"]] == ["orders/2.csv", "orders/deep/1.csv"]
    assert check("upload").exit_code == 0
    assert check("upload", "--key", "orders/1.csv").exit_code == 2


def test_a_named_dataset_reads_a_file_of_any_name(folder: Path):
    (folder / "new.txt").write_text("id;amount\n1;2\n")
    assert found("new.txt")["files"][0]["dataset"] is None
    assert found("new.txt", "--dataset", "orders")["files"][0]["rows_good"] == 1


def test_pieces_of_a_file_give_the_same_result(folder: Path, monkeypatch: pytest.MonkeyPatch):
    rows = "".join(f"{n},{n if n % 7 else 'x'}\n" for n in range(500))
    (folder / "orders/1.csv").write_text("id,amount\n" + rows)
    whole = found("orders/1.csv")
    monkeypatch.setattr(pieces, "PIECE_BYTES", 100)
    assert found("orders/1.csv") == whole
    assert whole["files"][0]["rows_rejected"] == len(whole["problems"]) == 72


def test_a_file_of_another_encoding_is_refused_with_its_state(folder: Path):
    (folder / "orders/1.csv").write_bytes(b"\xff\xfeu\x00\x00\xd8")
    value = found("orders/1.csv")
    assert [one["code"] for one in value["problems"]] == ["undecodable"]
    assert value["files"][0]["state"] == "quarantined"


def test_without_a_declaration_a_file_holds_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1.csv").write_text(USERS + "1,Ann,Lee,0\n")
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("?")
    value = found("1.csv", "1.png", "notes.txt")
    assert [one["kind"] for one in value["files"]] == ["data", "image", "other"]
    assert [one["dataset"] for one in value["files"]] == ["users", "users", None]
    assert value["problems"] == []
    assert check("1.csv", "1.png").exit_code == 0
    assert check("1.csv", "1.png", "notes.txt").exit_code == 1


@pytest.mark.parametrize("others", ["", '\n[datasets.users]\npreset = "users"\n'])
def test_a_file_that_no_dataset_reads_fails_and_names_the_datasets_meant(folder: Path, others: str):
    (folder / "datasets.toml").write_text(ORDERS.replace("*.csv", "*.tsv") + others)
    (folder / "upload/orders").mkdir(parents=True)
    (folder / "upload/orders/1.tsv").write_text("id\tamount\n1\t2\n")
    result = check("upload/orders/1.tsv")
    assert result.exit_code == 1
    assert result.stdout == (
        "upload/orders/1.tsv: not read\n"
        "No dataset reads the key upload/orders/1.tsv. The dataset orders reads orders/1.tsv:"
        " `--key orders/1.tsv`. Name the dataset with `--dataset NAME`, or the key that the object"
        " will have with `--key KEY`.\n"
    )
    assert found("upload/orders/1.tsv")["files"][0]["dataset"] is None
    for option in (("--key", "orders/1.tsv"), ("--dataset", "orders")):
        named = check("upload/orders/1.tsv", *option)
        assert (named.exit_code, "1 good" in named.stdout) == (0, True)


def test_a_file_that_users_take_names_the_dataset_that_may_be_meant(folder: Path):
    (folder / "datasets.toml").write_text(ORDERS + '\n[datasets.users]\npreset = "users"\n')
    (folder / "upload/orders").mkdir(parents=True)
    (folder / "upload/orders/1.csv").write_text("id,amount\n1,2\n")
    result = check("upload/orders/1.csv")
    assert result.exit_code == 1
    assert "(users)" in result.stdout
    assert "The dataset orders reads orders/1.csv: `--key orders/1.csv`." in result.stdout


def test_a_file_that_its_dataset_does_not_read_fails(folder: Path):
    (folder / "datasets.toml").write_text(ORDERS.replace("*.csv", "*"))
    (folder / "orders/1.xls").write_text("id\n1\n")
    result = check("orders/1.xls")
    assert result.exit_code == 1
    assert "unsupported-type" in result.stdout
    assert "orders/1.xls (orders): not read" in result.stdout


def test_a_key_is_for_one_file(folder: Path):
    (folder / "1.csv").write_text("id\n1\n")
    assert check("1.csv", "1.csv", "--key", "orders/1.csv").exit_code == 2


@pytest.mark.usefixtures("folder")
def test_a_missing_file_is_wrong_use():
    result = check("nowhere.csv")
    assert result.exit_code == 2
    assert "nowhere.csv cannot be read" in result.stderr


def test_faults_of_the_declaration_are_reported_together(folder: Path):
    (folder / "datasets.toml").write_text(ORDERS.replace("integer", "int").replace("sql", "sqll"))
    result = check("orders/1.csv")
    assert isinstance(result.exception, ConfigurationError)
    assert "integer" in str(result.exception)
    assert "sqll" in str(result.exception)


def test_an_unknown_dataset_names_the_known_ones(folder: Path):
    (folder / "1.csv").write_text("id\n1\n")
    result = check("1.csv", "--dataset", "order")
    assert isinstance(result.exception, ConfigurationError)
    assert result.exception.hint == "The datasets: orders."
