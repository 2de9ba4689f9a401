"""`up` with external servers, and its handling of child processes that end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from rich.console import Console
from sqlalchemy import Engine, make_url, text

from etl.cli import up as up_command
from etl.local.ports import any_free_port
from etl.model.errors import ConfigurationError
from etl.settings import Settings
from tests.brokers import relayed
from tests.conftest import TestBucket, wait_until
from tests.notification_proxy import without_notifications
from tests.processes import ROOT, environment


class Up:
    """`up` in a process of its own, in an empty folder."""

    def __init__(self, settings: Settings, folder: Path, *options: str, **extra: str) -> None:
        self.local_dir = folder / "local"
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "etl", "up", *options],
                cwd=folder,
                env=environment(settings)
                | {
                    "LOCAL_DIR": str(self.local_dir),
                    "API_PORT": str(any_free_port()),
                    "PYTHONPATH": str(ROOT),
                }
                | extra,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        return self._output.read_text("utf-8")

    def log(self, name: str) -> str:
        return (self.local_dir / "logs" / f"{name}.log").read_text("utf-8")

    def await_words(self, words: str) -> None:
        wait_until(lambda: words in self.output() or self.process.poll() is not None, seconds=120)
        assert words in self.output(), self.output()

    def await_end(self) -> int:
        return self.process.wait(120)

    def child(self, command: str) -> int:
        """The process of the child with this command."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        (pid,) = [
            int(pid)
            for pid in listed.split()
            if command in Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        ]
        return pid

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()


@pytest.fixture
def up(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts `up` on the test's own bucket and database, which are not embedded for it."""
    started: list[Up] = []

    def start(*options: str, settings: Settings = settings, **extra: str) -> Up:
        started.append(Up(settings, tmp_path, *options, **extra))
        return started[-1]

    yield start
    for one in started:
        one.end()


def run(
    settings: Settings, folder: Path, *words: str, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "etl", *words],
        cwd=folder,
        env=environment(settings) | {"LOCAL_DIR": str(folder / "l"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def changed(settings: Settings, **update: Any) -> Settings:  # noqa: ANN401 - any setting
    return settings.model_copy(update={"event_listen": False, **update})


def count_users(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM users")).scalar_one())


def test_external_bucket_and_database_get_no_sample(
    settings: Settings, up: Callable[..., Up], bucket: TestBucket, engine: Engine
):
    started = up(settings=changed(settings))
    started.await_words("Ctrl-C ends")
    assert f"The bucket {bucket.name} is empty." in started.output()
    assert f"Changes in {bucket.name} are found by the full run every 25m." in started.output()
    assert bucket.keys() == []
    assert count_users(engine) == 0


def test_embedded_store_gets_no_sample_for_an_external_database(
    settings: Settings, up: Callable[..., Up], engine: Engine
):
    store = {"s3_endpoint": None, "s3_access_key": None, "s3_secret_key": None}
    started = up(settings=changed(settings, **store))
    started.await_words("Ctrl-C ends")
    assert f"The bucket {settings.source_bucket} is empty." in started.output()
    assert count_users(engine) == 0


def test_seed_into_an_external_store_needs_a_path(
    settings: Settings, bucket: TestBucket, tmp_path: Path
):
    for words in (["seed"], ["seed", "--if-empty"]):
        refused = run(settings, tmp_path, *words)
        assert refused.returncode == 2
        assert "./run.sh seed " in refused.stderr
        assert "data/src" in refused.stderr
    assert bucket.keys() == []

    sample = str(ROOT / "data/src")
    assert "110 objects uploaded" in run(settings, tmp_path, "seed", "--if-empty", sample).stdout
    assert "is not empty" in run(settings, tmp_path, "seed", "--if-empty", sample).stdout
    bucket.user("1000.csv", first="Mine")
    removed = run(settings, tmp_path, "seed", "--remove-sample")
    assert removed.returncode == 0
    assert "109 sample objects removed" in removed.stdout
    assert "1000.csv: it differs from the sample" in removed.stderr
    assert bucket.keys() == ["1000.csv"]


def test_seed_names_skipped_files_and_fails_at_the_end(
    settings: Settings, bucket: TestBucket, tmp_path: Path
):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "good.csv").write_text("first_name,last_name,birthts\nA,B,0\n")
    (folder / "link.csv").symlink_to("/etc/hostname")
    (folder / os.fsdecode(b"Ren\xe9.csv")).touch()
    done = run(settings, tmp_path, "seed", "folder")
    assert done.returncode == 1
    assert "1 object uploaded" in done.stdout
    assert "Skipped: 1\n  folder/link.csv: a link that leads out of the folder\n" in done.stderr
    assert "Not uploaded: 1\n  folder/Ren\\xe9.csv: its name is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr
    assert bucket.keys() == ["good.csv"]
    (folder / os.fsdecode(b"Ren\xe9.csv")).unlink()
    assert run(settings, tmp_path, "seed", "folder").returncode == 0


def bound_by_modes() -> list[str]:
    """The prefix that makes file modes apply to root, too."""
    if os.getuid():
        return []
    return ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]


def test_unreadable_file_and_folder_are_named_and_stop_no_other(
    settings: Settings, bucket: TestBucket, tmp_path: Path
):
    folder = tmp_path / "folder"
    (folder / "closed").mkdir(parents=True)
    for name in ("closed/a.csv", "good.csv", "mine.csv"):
        (folder / name).write_text("first_name,last_name,birthts\nA,B,0\n")
    (folder / "mine.csv").chmod(0)
    (folder / "closed").chmod(0)
    done = run(settings, tmp_path, "seed", "folder", prefix=bound_by_modes())
    (folder / "closed").chmod(0o700)
    assert done.returncode == 1
    assert "Not uploaded: 2\n" in done.stderr
    for name in ("closed", "mine.csv"):
        assert f"folder/{name}: it cannot be read: Permission denied" in done.stderr
    assert bucket.keys() == ["good.csv"]


def test_seed_does_not_upload_files_of_bucketline_itself(
    settings: Settings, bucket: TestBucket, tmp_path: Path
):
    (tmp_path / "good.csv").write_text("first_name,last_name,birthts\nA,B,0\n")
    (tmp_path / ".env").write_text("LOG_FORMAT=json\n")
    (tmp_path / "l").mkdir()
    (tmp_path / "l/credentials.json").write_text("{}")
    done = run(settings, tmp_path, "seed", ".")
    assert done.returncode == 0, done.stderr
    assert bucket.keys() == ["good.csv"]


@pytest.mark.usefixtures("bucket")
def test_up_names_a_store_without_notifications(settings: Settings, up: Callable[..., Up]):
    arn = {"event_arns": "arn:minio:sqs::1:webhook", "event_listen": True}
    with without_notifications(settings, "treats it as a bucket") as without:
        started = up(settings=changed(without, **arn))
        started.await_words("Ctrl-C ends")
        started.end()
    assert "does not support bucket notifications" in started.output()
    assert "does not support listening" in started.output()
    assert "S3_ENDPOINT answers" not in started.output()
    assert started.log("scheduler").count("stopped listening") == 1


@pytest.mark.usefixtures("bucket")
def test_child_with_wrong_settings_at_the_start_ends_up(settings: Settings, up: Callable[..., Up]):
    started = up(settings=changed(settings), API_HOST="0.0.0.0")  # noqa: S104 - refused
    assert started.await_end() == 2
    assert "API_HOST is 0.0.0.0" in started.output()
    assert "keys new" in started.output()
    assert "Traceback" not in started.output()


@pytest.mark.usefixtures("bucket")
def test_slow_start_of_the_api_is_reported_and_ends_at_a_limit(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(up_command, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(up_command, "START_SECONDS", 0.01)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    output = StringIO()
    own = settings.model_copy(update={"local_dir": tmp_path})
    with pytest.raises(ConfigurationError, match=r"within 0.01 s:\n\(the log is empty") as caught:
        up_command.up(own, Console(file=output, width=200), sample=None, embeds_store=False)
    assert "The API is still starting." in output.getvalue()
    assert caught.value.hint == f"See {tmp_path}/logs/api.log. If the machine is busy, try again."


def test_child_with_wrong_settings_at_a_later_start_ends_up(
    settings: Settings, up: Callable[..., Up], tmp_path: Path
):
    started = up(settings=changed(settings))
    started.await_words("Ctrl-C ends")
    (tmp_path / ".env").write_text("ETL_INTERVAL=soon\n")
    os.kill(started.child("schedule"), signal.SIGKILL)
    assert started.await_end() == 2
    assert "The scheduler ended (SIGKILL); restarting it." in started.output()
    assert "ETL_INTERVAL='soon'" in started.output()


@pytest.mark.usefixtures("bucket")
def test_child_that_waits_for_the_database_is_reported_once(
    settings: Settings, up: Callable[..., Up]
):
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql")
    with relayed((url.host or "", url.port or 0)) as relay:
        through = url.set(port=relay.port).render_as_string(hide_password=False)
        started = up(settings=changed(settings, database_url=SecretStr(through)))
        started.await_words("Ctrl-C ends")
        relay.cut()
        os.kill(started.child("serve"), signal.SIGKILL)
        wait_until(lambda: started.log("api").count("DatabaseUnavailable") >= 2, seconds=180)
        assert started.output().count("The api cannot reach a service that it needs") == 1
        assert "PostgreSQL is not available" in started.output()
        assert started.process.poll() is None
        relay.restore()
        wait_until(lambda: started.log("api").count("API listening") == 2, seconds=180)
    assert started.output().count("The api") == 2  # once when killed, once when waiting


@pytest.mark.parametrize(
    ("extra", "code", "output"),
    [
        ({"S3_ENDPOINT": "http://127.0.0.1:9"}, 75, "Connection refused"),
        ({"S3_SECRET_KEY": "wrong"}, 2, "Check S3_ACCESS_KEY, S3_SECRET_KEY"),
        ({"SOURCE_BUCKET": "nowhere"}, 2, "Bucket 'nowhere' does not exist"),
        ({"DATABASE_URL": "postgresql://u:p@127.0.0.1:9/d"}, 75, "Connection refused"),
        ({"LOCAL_DIR": "/dev/null"}, 2, "LOCAL_DIR=/dev/null cannot be used"),
        ({"LOCAL_DIR": "/dev/null/below"}, 2, "LOCAL_DIR=/dev/null/below cannot be used"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_up_with_wrong_settings_ends_with_words_and_a_code(
    settings: Settings, up: Callable[..., Up], extra: dict[str, str], code: int, output: str
):
    started = up(settings=changed(settings), **extra)
    assert started.await_end() == code, started.output()
    assert output in started.output()
    assert "Traceback" not in started.output()


def test_sample_of_a_shop_is_served_with_its_own_declaration(
    up: Callable[..., Up], settings: Settings, bucket: TestBucket
):
    started = up("--sample=shop", settings=changed(settings))

    started.await_words("Ctrl-C ends")
    assert "6 sample objects uploaded" in started.output()
    url = (started.local_dir / "api.url").read_text().strip()
    with urllib.request.urlopen(f"{url}/datasets/orders/rows?limit=1000") as answer:  # noqa: S310
        rows = json.load(answer)
    assert len(rows) == 297
    assert len(bucket.keys()) == 6
