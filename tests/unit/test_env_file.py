"""`.env`: misspelled settings are reported, unrelated names are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from etl.cli.main import commands
from etl.model.errors import ConfigurationError
from etl.settings import Settings, read_settings
from etl.settings.typos import misspellings, read_misspellings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("S3_ENDPIONT", "S3_ENDPOINT"),
        ("s3_endpiont", "S3_ENDPOINT"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("API_KEY", "API_KEYS"),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_misspelled_setting_is_reported_with_its_line(name: str, meant: str):
    (found,) = misspellings(f"# mine\nAPI_PORT=5001\n\nexport {name}='a\nb'\n")
    assert (found.line, found.name, found.meant) == (4, name.upper(), meant)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no assignment at all",
        "#S3_ENDPIONT=x\n",
        "S3_ENDPOINT=http://127.0.0.1:9000\ns3_region=x\n",
        "POSTGRES_PASSWORD=x\nLOG_LEVEL=debug\n",
        "S3_ENDPOINT=http://127.0.0.1:9000\nS3_ENDPOINT_URL=http://127.0.0.1:9000\n",
    ],
)
def test_settings_and_unrelated_names_are_not_reported(text: str):
    assert misspellings(text) == []


def test_every_setting_with_two_letters_swapped_is_reported():
    for field in Settings.model_fields:
        name = field.upper()
        (found,) = misspellings(f"{name[0]}{name[2]}{name[1]}{name[3:]}=x")
        assert found.meant == name


def test_variables_of_docker_compose_are_not_reported():
    example = (ROOT / ".env.example").read_text("utf-8").replace("\n#", "\n")
    assert misspellings(example) == []


def test_command_warns_of_misspelled_setting_and_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("LOCAL_DIR=l\nAPI_KEYS_FIEL=mine\n", "utf-8")
    done = CliRunner().invoke(commands, ["keys", "list"])
    assert done.exit_code == 0
    assert "There is no key" in done.stdout
    assert "line 2: API_KEYS_FIEL" in done.stderr
    assert "API_KEYS_FILE" in done.stderr


# -- a file that cannot be read


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of `.env`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def refusal() -> ConfigurationError:
    """The error of invalid settings."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    return caught.value


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("# geänder\nAPI_PORT=5001\n".encode("cp1252"), 1),
        (b"API_PORT=5001\r\n\r\nAPI_KEYS_FILE=gr\xfcn\r\n", 3),
        ("API_PORT=5001\n".encode("utf-16"), 1),
    ],
)
def test_a_file_that_is_not_utf8_is_refused_with_its_line(
    env_file: Path, content: bytes, line: int
):
    env_file.write_bytes(content)
    error = refusal()
    assert f".env, line {line}: not UTF-8" in error.message
    assert "UTF-8" in error.hint
    assert read_misspellings() == []


def test_utf8_with_a_byte_order_mark_is_read(env_file: Path):
    env_file.write_bytes("API_PORT=5001\n".encode("utf-8-sig"))
    assert read_settings().api_port == 5001


@pytest.mark.parametrize(
    ("text", "line", "name"),
    [
        ('ETL_INTERVAL="10m\n', 1, "ETL_INTERVAL"),
        ("API_PORT=5001\n\n\nexport WEBHOOK_TOKEN='hunter2\n", 4, "WEBHOOK_TOKEN"),
        ("API_PORT=5001\r\n\r\nWEBHOOK_TOKEN='hunter2\r\n", 3, "WEBHOOK_TOKEN"),
        ('WEBHOOK_TOKEN="hunter2" hunter2\n', 1, "WEBHOOK_TOKEN"),
        ('WEBHOOK_TOKEN="hunter2\nAPI_HOST="127.0.0.1"\n', 1, "WEBHOOK_TOKEN"),
        ("API_PORT=5001\nkeep hunter2 secret\n", 2, "a line"),
        ("=hunter2\n", 1, "a line"),
    ],
)
def test_line_that_sets_nothing_is_rejected_without_its_value(
    env_file: Path, text: str, line: int, name: str
):
    env_file.write_bytes(text.encode())
    error = refusal()
    assert f".env, line {line}: {name}" in error.message
    assert "hunter2" not in error.message
    assert "quote" in error.hint


def test_broken_env_file_does_not_prevent_help(env_file: Path):
    env_file.write_text('ETL_INTERVAL="10m\n', "utf-8")
    assert CliRunner().invoke(commands, ["keys", "list", "--help"]).exit_code == 0


def test_a_broken_file_is_an_exit_code_and_no_words_of_a_library(env_file: Path):
    env_file.write_text('ETL_INTERVAL="10m\n', "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "etl", "keys", "list"],
        cwd=env_file.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(".env, line 1: ETL_INTERVAL")
    assert "dotenv" not in done.stderr
