"""The commands as separate processes, with a LOCAL_DIR of their own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etl.cli.main import commands
from etl.local.ports import any_free_port
from etl.local.record import running_record
from etl.runtime.program import PROGRAM
from tests.conftest import wait_until

ROOT = Path(__file__).parents[2]
TOKEN = "sixteen letters or more"  # noqa: S105 - of servers of the tests' own
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def local_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bucketline-cli-", ignore_cleanup_errors=True) as made:
        directory = Path(made)
        directory.chmod(0o755)
        yield directory / "local"
        wait_until(lambda: running_record(directory / "local") is None)


def environment(local_dir: Path) -> dict[str, str]:
    """Settings of the commands. Events arrive by webhook, so that tests can subscribe it."""
    events = {
        "EVENT_LISTEN": "0",
        "EVENT_ARNS": "arn:minio:sqs::1:webhook",
        "WEBHOOK_TOKEN": TOKEN,
    }
    return {
        "PATH": os.environ["PATH"],
        "LOCAL_DIR": str(local_dir),
        "COLUMNS": "100",
        PROGRAM: "./run.sh",
        **events,
    }


def webhook(port: int) -> dict[str, str]:
    """The settings with which the store sends its events to an API on this port."""
    return {
        "MINIO_NOTIFY_WEBHOOK_ENABLE_1": "on",
        "MINIO_NOTIFY_WEBHOOK_ENDPOINT_1": f"http://127.0.0.1:{port}/minio-event",
        "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_1": TOKEN,
    }


@pytest.fixture(scope="module")
def command(local_dir: Path) -> Command:
    def run(*words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "etl", *words],
            cwd=ROOT,
            env=environment(local_dir) | extra,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def up(local_dir: Path) -> Iterator[str]:
    """`up` in a process of its own; yields the API's URL."""
    port = any_free_port()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "etl", "up"],
            cwd=ROOT,
            env=environment(local_dir) | webhook(port) | {"API_PORT": str(port)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )

        def text() -> str:
            output.seek(0)
            return output.read()

        wait_until(lambda: process.poll() is not None or "Ctrl-C ends" in text(), seconds=90)
        assert process.poll() is None, text()
        yield (local_dir / "api.url").read_text("utf-8").strip()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, text()
        assert text().endswith("Stopping …\nStopped.\n")


def get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own server
        answer: dict[str, object] = json.load(response)
        return answer


def test_up_seeds_runs_and_serves(up: str):
    stats = get(f"{up}/stats")
    assert stats["count"] == 60
    assert get(f"{up}/health")["status"] == "ok"


@pytest.mark.usefixtures("up")
def test_status_counts_users_objects_and_problems(command: Command):
    found = command("status", "--json")
    assert found.returncode == 0, found.stderr
    facts = json.loads(found.stdout)
    assert facts["users"]["live"] == 60
    assert facts["runs"][-1]["trigger"] == "interval"
    words = command("status").stdout
    assert words.splitlines()[0] == facts["overview"]["sentence"]
    assert "46 with an image" in words
    assert "./run.sh problems" in words
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", facts["runs"][-1]["started_at"])


@pytest.mark.usefixtures("up")
def test_problems_lists_the_faults_of_the_sample(command: Command):
    everything = json.loads(command("problems", "--json").stdout)
    facts = json.loads(command("status", "--json").stdout)
    assert len(everything) == sum(facts["problems"].values())
    (dated,) = json.loads(command("problems", "--key", "1054.csv", "--json").stdout)
    assert (dated["code"], dated["line"], dated["value"]) == ("not-an-integer", 2, "31.12.1999")
    words = command("problems", "--code", "empty-file").stdout
    assert words.startswith("1058.csv: error empty-file\n")
    none = command("problems", "--key", "1000.csv").stdout
    assert none.startswith(f"No problem of '1000.csv' is open.\n{len(everything)} others are")
    assert json.loads(command("problems", "--key", "1000.csv", "--json").stdout) == []


@pytest.mark.usefixtures("up")
def test_verify_is_clean_until_the_bucket_changes(command: Command, tmp_path: Path):
    assert "1 subscription removed" in command("events", "unsubscribe").stdout
    assert command("verify").returncode == 0
    newcomer = tmp_path / "newcomer.csv"
    newcomer.write_text("first_name,last_name,birthts\nNew,Comer,0\n")
    assert "1 object uploaded" in command("seed", str(newcomer)).stdout
    words = command("verify").stdout
    assert 'in the bucket first_name "New"' in words
    assert "in the table  nothing" in words
    assert "datetime" not in words
    found = command("verify", "--json")
    assert found.returncode == 4
    assert {"user-missing", "manifest-missing"} <= {d["what"] for d in json.loads(found.stdout)}
    done = command("run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["objects_added"] == 1
    assert command("verify").returncode == 0
    assert command("events", "subscribe").stdout.count("is now subscribed") == 1


@pytest.mark.usefixtures("up")
def test_up_subscribes_and_loads_new_objects_by_events(command: Command, tmp_path: Path):
    targets = json.loads(command("events", "list", "--json").stdout)
    assert [target["id"].startswith("bucketline-") for target in targets] == [True]
    assert "The scheduler listens" in command("events", "list", EVENT_LISTEN="1").stdout
    assert command("events", "subscribe").stdout.count("was already subscribed") == 1
    here = tmp_path / "here-at-once.csv"
    here.write_text("first_name,last_name,birthts\nHere,Atonce,0\n")
    command("seed", str(here))
    wait_until(
        lambda: any(
            run["trigger"] == "event" and run["counts"].get("users_inserted") == 1
            for run in json.loads(command("status", "--json").stdout)["runs"]
        )
    )


def test_env_prints_variables_for_psql_aws_and_curl(command: Command, up: str):
    lines = command("env").stdout.splitlines()
    values = dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in lines)
    assert {"S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "PGPASSWORD", "DATABASE_URL"} <= values.keys()
    assert values["API_URL"] == up
    counted = command("status", "--json", **values)
    assert json.loads(counted.stdout)["users"]["live"] >= 60


@pytest.mark.usefixtures("up")
def test_a_second_up_in_the_same_place_is_refused(command: Command):
    second = command("up")
    assert second.returncode == 2
    assert "up already" in second.stderr


def test_env_without_a_stack_names_the_command_to_start(command: Command, tmp_path: Path):
    found = command("env", LOCAL_DIR=str(tmp_path))
    assert found.returncode == 2
    assert "./run.sh up" in found.stderr
    assert found.stdout == ""


@pytest.mark.parametrize(
    ("words", "extra", "code", "output"),
    [
        (["run"], {"ETL_INTERVAL": "soon"}, 2, "ETL_INTERVAL"),
        (["run"], {"S3_ENDPOINT": "http://127.0.0.1:9"}, 2, "S3_ACCESS_KEY"),
        (["run"], {"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:9/d"}, 75, "not available"),
        (["run"], {"DATABASE_URL": "mysql://u:hunter2@h/d"}, 2, "postgresql://"),
        (["fly"], {}, 2, "No such command"),
        (["run", "--wait", "-1"], {}, 2, "--wait"),
        (["problems", "--code", "odd"], {}, 2, "not-an-integer"),
        (["seed", "tests/nowhere"], {}, 2, "tests/nowhere"),
    ],
)
def test_an_error_is_words_and_an_exit_code(
    command: Command, words: list[str], extra: dict[str, str], code: int, output: str
):
    found = command(*words, **extra)
    assert found.returncode == code
    assert output in found.stderr
    assert "Traceback" not in found.stderr
    assert "hunter2" not in found.stderr


def test_seeding_an_empty_folder_reports_it(command: Command, tmp_path: Path):
    found = command("seed", str(tmp_path))
    assert found.returncode == 2
    assert "contains no files" in found.stderr


def test_env_prints_no_address_of_a_killed_api(tmp_path: Path, command: Command):
    (tmp_path / "api.url").write_text("http://127.0.0.1:9\n")
    (tmp_path / "up.lock").touch()
    elsewhere = {
        "LOCAL_DIR": str(tmp_path),
        "DATABASE_URL": "postgresql://u:p@127.0.0.1:9/d",
        "S3_ENDPOINT": "http://127.0.0.1:9",
        "S3_ACCESS_KEY": "key",
        "S3_SECRET_KEY": "secret",
    }
    found = command("env", **elsewhere)
    assert found.returncode == 0, found.stderr
    assert "API_URL" not in found.stdout


def test_every_command_has_help():
    for name, command in commands.commands.items():
        assert command.help, name
