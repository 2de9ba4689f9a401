"""`datasets describe FILE`: the printed block is a valid datasets.toml, without a server."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from subprocess import PIPE, run

import openpyxl
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from etl.cli.main import commands
from etl.model.errors import ConfigurationError
from etl.model.patterns import Patterns, folded
from etl.runtime import spawn
from etl.settings import Settings
from etl.settings.datasets_file import read_datasets
from tests.described_files import workbook

EXPORT = "Order No;Total;Placed on\nA-1;1.234,50;31.12.2023\nA-2;12,00;01.01.2024\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an export, and settings whose servers do not exist."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/none")
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("S3_ACCESS_KEY", "key")
    monkeypatch.setenv("S3_SECRET_KEY", "secret")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/Orders 2023.csv").write_text(EXPORT)
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(commands, words)


def test_the_printed_declaration_is_a_valid_file_that_reads_the_files(folder: Path):
    result = call("datasets", "describe", "shop/Orders 2023.csv")
    assert result.exit_code == 0, result.exception
    (folder / "datasets.toml").write_text(result.stdout)
    (one,) = read_datasets(folder / "datasets.toml", Settings(_env_file=None))
    assert (one.name, one.primary_key) == ("orders", ("order_no",))
    for words in (["shop/Orders 2023.csv"], [str(folder / "shop/Orders 2023.csv")]):
        checked = json.loads(call("check", *words, "--json").stdout)
        assert checked["problems"] == []
        assert [(file["dataset"], file["rows_good"]) for file in checked["files"]] == [
            ("orders", 2)
        ]


def test_integers_with_points_between_groups_are_declared_and_read(folder: Path):
    (folder / "stock.csv").write_text("id;stock;price\n1;1.234.567;1,5\n2;12.000;2,5\n")
    (folder / "datasets.toml").write_text(call("datasets", "describe", "stock.csv").stdout)
    (one,) = read_datasets(folder / "datasets.toml", Settings(_env_file=None))
    assert [(field.type, field.group_char) for field in one.fields][1] == ("integer", ".")
    assert json.loads(call("check", "stock.csv", "--json").stdout)["problems"] == []


@pytest.mark.usefixtures("folder")
def test_it_prints_the_next_commands_to_standard_error():
    result = call("datasets", "describe", "shop/Orders 2023.csv")
    assert "check 'shop/Orders 2023.csv' --dataset orders`" in result.stderr
    assert "run`" in result.stderr
    assert "Next" not in result.stdout


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("shop/Orders 2023.csv", "seed 'shop/Orders 2023.csv'`"),
        ("shop/2023.csv", "seed shop/2023.csv --prefix shop`"),
        ("shop/./year=2023/x.csv", "seed shop/./year=2023/x.csv --prefix shop/year=2023`"),
    ],
)
def test_it_names_the_upload_under_keys_that_the_dataset_reads(
    folder: Path, file: str, command: str
):
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(EXPORT)
    result = call("datasets", "describe", file)
    steps = [line for line in result.stderr.splitlines() if line.startswith("  `")]
    assert ["check" in steps[0], command in steps[1], "run`" in steps[2]] == [True] * 3, steps
    (folder / "datasets.toml").write_text(result.stdout)
    (one,) = read_datasets(folder / "datasets.toml", Settings(_env_file=None))
    prefix = command.partition("--prefix ")[2].rstrip("`")
    assert Patterns(one.include).matches(folded(f"{prefix}/{Path(file).name}".lstrip("/")))


@pytest.mark.usefixtures("folder")
def test_files_of_one_name_are_uploaded_under_different_keys(folder: Path):
    for year in ("2023", "2024"):
        (folder / f"shop/{year}").mkdir()
        (folder / f"shop/{year}/orders.csv").write_text(EXPORT)
    result = call("datasets", "describe", "shop/2023/orders.csv", "shop/2024/orders.csv")
    assert "seed shop/2023/orders.csv`" in result.stderr
    assert "seed shop/2024/orders.csv --prefix 2024`" in result.stderr


@pytest.mark.usefixtures("folder")
def test_no_upload_is_named_for_a_bucket_that_seed_does_not_fill():
    result = call("datasets", "describe", "shop/Orders 2023.csv", "--bucket", "shop-data")
    assert "run`" in result.stderr
    assert "seed" not in result.stderr


@pytest.mark.usefixtures("folder")
def test_only_an_argument_without_wildcards_is_missed_as_a_file():
    absent = call("datasets", "describe", "a/*.csv", "none.csv").exception
    pattern = call("datasets", "describe", "a/*.csv").exception
    assert isinstance(absent, ConfigurationError)
    assert absent.message.startswith("There is no local file none.csv. The objects cannot be")
    assert "path of the file" in absent.hint
    assert isinstance(pattern, ConfigurationError)
    assert pattern.message.startswith("The objects cannot be listed")


def test_a_second_block_is_appended_to_the_first(folder: Path):
    first = call("datasets", "describe", "shop/Orders 2023.csv").stdout
    (folder / "datasets.toml").write_text(first)
    (folder / "orders.csv").write_text("id,n\n1,2\n2,3\n")
    second = call("datasets", "describe", "orders.csv", "--name", "more").stdout
    assert "version" not in second
    third = call("datasets", "describe", "orders.csv").stdout
    (folder / "datasets.toml").write_text(first + second + third)
    found = read_datasets(folder / "datasets.toml", Settings(_env_file=None))
    assert [one.name for one in found] == ["orders", "more", "orders_2"]


def test_files_that_an_earlier_dataset_reads_are_reported(folder: Path):
    first = call("datasets", "describe", "shop/Orders 2023.csv").stdout
    (folder / "datasets.toml").write_text(first)
    result = call("datasets", "describe", "shop/Orders 2023.csv")
    assert "shop/Orders 2023.csv goes to the dataset orders, which comes first" in result.stderr


def test_a_block_that_the_shell_writes_into_the_datasets_file_is_not_compared_with_itself(
    folder: Path,
):
    """The shell has emptied or opened the file before the command reads it."""
    (folder / "goods.csv").write_text("id,n\n1,2\n2,3\n")
    declared = folder / "datasets.toml"
    for file, mode in (("shop/Orders 2023.csv", "w"), ("goods.csv", "a")):
        with declared.open(mode) as output:
            command = spawn.command("etl", "datasets", "describe", file)
            found = run(
                command, env=spawn.environment(), stdout=output, stderr=PIPE, text=True, check=True
            )
        assert "Next: " in found.stderr
        assert "comes first" not in found.stderr
    found_names = [one.name for one in read_datasets(declared, Settings(_env_file=None))]
    assert found_names == ["orders", "goods"]


def test_a_name_that_the_file_has_is_refused(folder: Path):
    first = call("datasets", "describe", "shop/Orders 2023.csv").stdout
    (folder / "datasets.toml").write_text(first)
    error = call("datasets", "describe", "shop/Orders 2023.csv", "--name", "Orders").exception
    assert isinstance(error, ConfigurationError)
    assert "has a dataset named Orders already" in error.message


@pytest.mark.parametrize("content", ["", "\n", "[datasets\n"])
def test_an_empty_or_faulty_datasets_file_does_not_matter(folder: Path, content: str):
    (folder / "datasets.toml").write_text(content)
    result = call("datasets", "describe", "shop/Orders 2023.csv")
    assert result.exit_code == 0
    assert result.stdout.startswith("version = 1") is not content.strip().startswith("[")


def test_options_name_the_dataset_its_bucket_and_its_format(folder: Path):
    (folder / "x.dat").write_text(EXPORT)
    words = ("--name", "sales", "--bucket", "shop-data", "--format", "csv")
    (folder / "datasets.toml").write_text(call("datasets", "describe", "x.dat", *words).stdout)
    (one,) = read_datasets(folder / "datasets.toml", Settings(_env_file=None))
    assert (one.name, one.bucket, one.format) == ("sales", "shop-data", "csv")


def test_a_file_that_is_left_out_is_reported(folder: Path):
    (folder / "shop/Orders 2024.csv").write_text("")
    result = call("datasets", "describe", "shop/Orders 2023.csv", "shop/Orders 2024.csv")
    assert result.exit_code == 0
    assert "shop/Orders 2024.csv was left out: The file is empty" in result.stderr


def test_a_row_that_no_declaration_accepts_is_reported(folder: Path):
    (folder / "a.csv").write_text("id,n\n1,2\n2,3\n3,4,5\n")
    result = call("datasets", "describe", "a.csv")
    assert result.exit_code == 0
    assert "1 row of the sample would be rejected" in result.stderr
    assert "a.csv, line 4: long-row" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.csv"], "There is no local file none.csv"),
        (["images"], "The folder images has no file with rows"),
        (["shop", "--sheet", "Orders"], "is no workbook, so it has no sheet"),
        (["empty.csv"], "empty.csv cannot be read"),
        (["header.csv"], "header.csv has no rows"),
        (["a/{b,.csv"], "without a }"),
    ],
)
def test_errors_are_configuration_errors(folder: Path, words: list[str], said: str):
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("a,b\n")
    (folder / "images").mkdir()
    (folder / "images/1.png").write_bytes(b"png")
    error = call("datasets", "describe", *words).exception
    assert isinstance(error, ConfigurationError)
    assert said in error.message
    assert error.hint


def test_a_folder_stands_for_its_files_with_rows(folder: Path):
    for month in range(1, 4):
        (folder / f"shop/2024-{month}").mkdir()
        (folder / f"shop/2024-{month}/Orders.csv").write_text(EXPORT.replace("A-", f"{month}-"))
    (folder / "shop/photo.png").write_bytes(b"png")
    (folder / "shop/empty.csv").write_text("")
    (folder / "shop/.DS_Store").write_text("x")
    result = call("datasets", "describe", "shop")
    assert result.exit_code == 0, result.exception
    assert "8 rows of 4 files" in result.stdout
    (folder / "datasets.toml").write_text(result.stdout)
    (one,) = read_datasets(folder / "datasets.toml", Settings(_env_file=None))
    prefix = re.search(r"seed shop(?: --prefix (\S+))?`", result.stderr)
    assert prefix is not None
    include = Patterns(one.include)
    for path in sorted((folder / "shop").rglob("Orders*.csv")):
        key = path.relative_to(folder / "shop").as_posix()
        assert include.matches(folded("/".join(filter(None, [prefix[1], key]))))
    assert "datasets check orders`  checks objects against it" in result.stderr
    for name in ("photo.png", "empty.csv", ".DS_Store"):
        (folder / "shop" / name).unlink()
    (folder / "datasets.toml").unlink()
    assert "`./run.sh check shop --dataset orders`" in call("datasets", "describe", "shop").stderr
    (folder / "datasets.toml").write_text(result.stdout)
    assert call("check", "shop", "--dataset", "orders").exit_code == 0


def test_a_sample_of_a_folder_is_the_same_each_time(folder: Path):
    for number in range(30):
        (folder / f"shop/{number:02}.csv").write_text(f"id,n\n{number},{number}\n")
    (folder / "shop/Orders 2023.csv").unlink()
    first = call("datasets", "describe", "shop", "--sample", "4").stdout
    assert "4 rows of 4 files" in first
    assert call("datasets", "describe", "shop", "--sample", "4").stdout == first


@pytest.mark.parametrize("sheet", ["Orders", "2", "2024"])
def test_a_sheet_is_described_and_declared(folder: Path, sheet: str):
    book = openpyxl.Workbook()
    book.active.append(["nothing", "here"])
    named = book.create_sheet("Orders" if sheet == "2" else sheet)
    for row in (["Order No", "Units"], ["A-1", 2], ["A-2", 3]):
        named.append(row)
    book.save(folder / "book.xlsx")
    result = call("datasets", "describe", "book.xlsx", "--sheet", sheet)
    assert result.exit_code == 0, result.exception
    (folder / "datasets.toml").write_text(result.stdout)
    (one,) = read_datasets(folder / "datasets.toml", Settings(_env_file=None))
    assert one.sheet == (2 if sheet == "2" else sheet)
    assert [field.name for field in one.fields] == ["order_no", "units"]
    checked = json.loads(call("check", "book.xlsx", "--json").stdout)
    assert [(file["rows_good"], file["rows_rejected"]) for file in checked["files"]] == [(2, 0)]


def test_an_unknown_sheet_is_an_error_that_lists_the_sheets(folder: Path):
    openpyxl.Workbook().save(folder / "book.xlsx")
    error = call("datasets", "describe", "book.xlsx", "--sheet", "Nope").exception
    assert isinstance(error, ConfigurationError)
    assert "The sheets are 1: Sheet" in error.hint


@pytest.mark.usefixtures("folder")
def test_a_wrong_name_is_refused():
    assert call("datasets", "describe", "shop/Orders 2023.csv", "--name", "1 x").exit_code == 2


@pytest.mark.usefixtures("folder")
def test_a_file_that_may_not_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_words: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    result = call("datasets", "describe", "shop/Orders 2023.csv")
    assert result.exit_code == 2
    assert "cannot be read: Permission denied" in result.stderr


def five_files(folder: Path) -> list[str]:
    """Files as other programs write them: Excel's CSV, pandas' CSV and Parquet, NDJSON, xlsx."""
    (folder / "Umsatz Mai.csv").write_bytes(
        "Rechnung;Kunde;Betrag;Datum;Bezahlt\r\n"
        'R-0001;Müller;1.234,50;01.05.2026;ja\r\nR-0002;"Kern; Co";12,00;02.05.2026;nein\r\n'
        "R-0003;Özil;-;03.05.2026;ja\r\n".encode("cp1252")
    )
    frame = pd.DataFrame(
        {
            "customer_id": [1000.0, None, 1002.0],
            "score": [0.5, 0.25, None],
            "seen": pd.to_datetime(["2026-05-01", "2026-05-02", None]),
            "tier": ["gold", None, "silver"],
        }
    )
    frame.to_csv(folder / "customers.csv")
    frame.to_parquet(folder / "visits.parquet")
    (folder / "events.ndjson").write_text(
        '{"eventId": "e1", "at": 1777600000000, "payload": {"a": [1]}, "ok": true}\n'
        '{"eventId": "e2", "at": 1777600001000, "payload": {}, "ok": false, "note": "late"}\n'
    )
    rows: list[list[object]] = [["Inventory"], [], ["Item No", "Stock", "Counted on"]]
    rows += [[f"I-{number}", number, date(2026, 5, number)] for number in range(1, 4)]
    (folder / "inventory.xlsx").write_bytes(workbook(rows))
    return [
        *("Umsatz Mai.csv", "customers.csv", "visits.parquet", "events.ndjson", "inventory.xlsx")
    ]


def test_five_files_of_other_programs_become_five_datasets(folder: Path):
    names = five_files(folder)
    for name in names:
        result = call("datasets", "describe", name)
        assert result.exit_code == 0, (name, result.exception)
        with (folder / "datasets.toml").open("a") as file:
            file.write(result.stdout)
    found = read_datasets(folder / "datasets.toml", Settings(_env_file=None))
    assert [one.name for one in found] == [
        "umsatz_mai",
        "customers",
        "visits",
        "events",
        "inventory",
    ]
    checked = json.loads(call("check", *names, "--json").stdout)
    assert [one for one in checked["problems"] if one["severity"] == "error"] == []
    assert [(one["dataset"], one["rows_good"]) for one in checked["files"]] == [
        *(("umsatz_mai", 3), ("customers", 3), ("visits", 3), ("events", 2), ("inventory", 3))
    ]
    keys = {one.name: one.primary_key for one in found}
    assert keys == {
        "umsatz_mai": (),
        "customers": (),
        "visits": (),
        "events": ("event_id",),
        "inventory": ("item_no",),
    }
