"""Uploading files to a real store: content, order, files that change, and the sample's removal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import Engine, text

from etl.model.values import Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.folder import File, files_of
from etl.storage.objects import Objects, Upload
from etl.storage.seed import SAMPLE, remove_sample, sample_files, seed
from etl.sync.manager import DataManager
from tests.conftest import TestBucket
from tests.stores import FOLDERS_TAKE_KEYS, KEEPS_BACKSLASHES

pytestmark = pytest.mark.storage

HEADER = "first_name,last_name,birthts\n"


@pytest.mark.store(KEEPS_BACKSLASHES)
def test_every_byte_of_every_file_arrives(
    store: ObjectStore, settings: Settings, bucket: TestBucket, tmp_path: Path
):
    large = os.urandom(6 * 1024 * 1024)
    contents = {
        "a.csv": HEADER.encode(),
        "back\\slash.csv": b"1",
        "e\u0301/e\u0301.csv": b"2",
        "empty.csv": b"",
        "large.bin": large,
        "new\nline.csv": b"3",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    calls = list[None]()
    done = seed(store, settings, files_of([tmp_path]).files, uploaded=lambda: calls.append(None))
    assert (done.count, done.failed, len(calls)) == (6, [], 6)
    assert {key: bucket.get(key) for key in bucket.keys()} == contents  # noqa: SIM118
    kind = bucket.client.stat_object(bucket.name, "a.csv").content_type
    assert kind == "text/csv"


def test_smallest_key_of_a_user_wins_however_fast_the_upload(
    settings: Settings, bucket: TestBucket, manager: DataManager, engine: Engine, tmp_path: Path
):
    for number in range(40):
        for place in ("a", "b", "c"):
            folder = tmp_path / place
            folder.mkdir(exist_ok=True)
            (folder / f"{number}.csv").write_text(f"{HEADER}From,{place},0\n")
            (folder / f"{number}.png").write_bytes(b"image")
    seed(ObjectStore(settings), settings, files_of([tmp_path]).files)
    manager.run(Trigger.CLI)
    with engine.connect() as connection:
        winners = connection.execute(
            text("SELECT DISTINCT last_name, split_part(img_path, '/', 2) FROM users")
        ).all()
    assert [tuple(row) for row in winners] == [("a", "a")]
    assert len(bucket.keys()) == 240


def before_each_upload(
    monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[], object]
) -> None:
    """Change the file when its size is already announced and its content is not yet read."""
    put = Objects.put

    def changed_put(objects: Objects, bucket: str, key: str, upload: Upload) -> str:
        if key.endswith(name):
            change()
        return put(objects, bucket, key, upload)

    monkeypatch.setattr(Objects, "put", changed_put)


def test_file_that_keeps_growing_is_named_and_stops_no_other(
    store: ObjectStore,
    settings: Settings,
    bucket: TestBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    growing, steady = tmp_path / "growing.csv", tmp_path / "steady.csv"
    steady.write_text(HEADER)
    growing.write_bytes(bytes(1000))
    with growing.open("ab", buffering=0) as end, monkeypatch.context() as patch:
        before_each_upload(patch, growing.name, lambda: end.write(b"x"))
        done = seed(store, settings, files_of([tmp_path]).files)
    assert done.count == 1
    assert [(Path(one.name), one.reason) for one in done.failed] == [
        (growing, "it changed during the upload: upload it again when it is complete")
    ]
    assert bucket.get("steady.csv") == HEADER.encode()
    assert seed(store, settings, files_of([tmp_path]).files).failed == []
    assert bucket.get("growing.csv") == growing.read_bytes()


def test_files_that_keep_shrinking_are_named_and_not_stored(
    store: ObjectStore,
    settings: Settings,
    bucket: TestBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    for name, size in {"in-one-request.csv": 1000, "in-parts.csv": 30_000_000}.items():
        file = tmp_path / name
        file.write_bytes(bytes(size))
        sizes = iter(range(size - 1, 0, -1))
        before_each_upload(monkeypatch, name, partial(shrink, file, sizes))
    done = seed(store, settings, files_of([tmp_path]).files)
    assert [one.reason for one in done.failed] == [
        "it changed during the upload: upload it again when it is complete"
    ] * 2
    assert bucket.keys() == []


def shrink(file: Path, sizes: Iterator[int]) -> None:
    os.truncate(file, next(sizes))


def test_replacement_of_a_file_is_not_followed(
    store: ObjectStore, settings: Settings, bucket: TestBucket, tmp_path: Path
):
    for name in ("gone", "link", "pipe"):
        (tmp_path / name).touch()
    (tmp_path / "file").write_bytes(b"1")
    files = files_of([tmp_path]).files
    for name in ("gone", "link", "pipe"):
        (tmp_path / name).unlink()
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe")
    done = seed(store, settings, files)
    assert {Path(one.name).name: one.reason.partition(": ")[2] for one in done.failed} == {
        "gone": "No such file or directory",
        "link": "Too many levels of symbolic links",
        "pipe": "it is no longer a file",
    }
    assert bucket.keys() == ["file"]


@pytest.mark.store(FOLDERS_TAKE_KEYS)
def test_key_that_is_a_folder_in_the_store_is_named(
    store: ObjectStore, settings: Settings, bucket: TestBucket, tmp_path: Path
):
    bucket.put("south/a.csv", b"1")
    for name in ("south", "north"):
        (tmp_path / name).write_bytes(b"2")
    done = seed(store, settings, files_of([tmp_path]).files)
    assert done.count == 1
    assert [Path(one.name).name for one in done.failed] == ["south"]
    assert sorted(bucket.keys()) == ["north", "south/a.csv"]


def test_sample_is_removed_but_not_what_replaced_it(
    store: ObjectStore, settings: Settings, bucket: TestBucket, manager: DataManager
):
    bucket.user("mine.csv")
    seed(store, settings, sample_files())
    bucket.user("1000.csv", first="Replaced")
    bucket.remove("1001.csv")
    manager.run(Trigger.CLI)

    removed = remove_sample(store, settings)

    assert (removed.count, removed.kept) == (len(sample_files()) - 2, ["1000.csv"])
    assert sorted(bucket.keys()) == ["1000.csv", "mine.csv"]
    assert manager.run(Trigger.CLI).counts.users_live == 2
    again = remove_sample(store, settings)
    assert (again.count, again.kept) == (0, ["1000.csv"])


def test_sample_files_are_those_of_the_folder():
    below = {path.relative_to(SAMPLE).as_posix() for path in SAMPLE.rglob("*") if path.is_file()}
    assert {file.key for file in sample_files()} == below
    assert all(isinstance(file, File) for file in sample_files())


@pytest.mark.parametrize("attempt", range(3))
def test_sample_has_the_same_winners_each_time(
    store: ObjectStore, settings: Settings, manager: DataManager, engine: Engine, attempt: int
):
    del attempt
    seed(store, settings, sample_files())
    manager.run(Trigger.CLI)
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT user_id, _source_key, split_part(img_path, '/', 2) FROM users"
                " WHERE user_id IN ('1005', '1007') ORDER BY 1"
            )
        ).all()
    assert [tuple(row) for row in found] == [
        ("1005", "1005.csv", "1005.JPG"),
        ("1007", "1007.csv", "1007.jpg"),
    ]


ORDERS = """
version = 1

[datasets.users]
preset = "users"

[datasets.orders]
include = ["orders/**/*.tsv"]
schema = { fields = [ { name = "id", type = "string" } ] }
"""


@pytest.fixture
def command(command: Callable[..., Result]) -> Callable[..., Result]:
    """Runs `seed` with the test's servers, in a folder of its own."""
    return lambda *words: command("seed", *words)


def test_seed_prints_each_key_with_its_dataset(
    command: Callable[..., Result], bucket: TestBucket, tmp_path: Path
):
    (tmp_path / "datasets.toml").write_text(ORDERS)
    (tmp_path / "up/orders").mkdir(parents=True)
    for name in ("1.csv", "1.png", "notes.txt", "orders/1.tsv"):
        (tmp_path / "up" / name).write_text(HEADER)
    assert command("up").stdout == (
        f"4 objects uploaded to {bucket.name}.\n"
        "  1.csv (users)\n"
        "  1.png (image of users)\n"
        "  notes.txt (read by no dataset)\n"
        "  orders/1.tsv (orders)\n"
    )
    shown = command("--prefix", "orders/2026/", "up/orders/1.tsv").stdout
    assert "  orders/2026/1.tsv (orders)\n" in shown
    assert bucket.get("orders/2026/1.tsv") == HEADER.encode()


@pytest.mark.usefixtures("bucket")
def test_seed_counts_the_keys_after_the_first_ones(command: Callable[..., Result], tmp_path: Path):
    (tmp_path / "up").mkdir()
    for number in range(13):
        (tmp_path / f"up/{number:02}.csv").write_text(HEADER)
    lines = command("up").stdout.splitlines()
    assert lines[1:] == [f"  {number:02}.csv (users)" for number in range(10)] + ["  and 3 more"]


def test_seed_uploads_with_a_faulty_datasets_file(
    command: Callable[..., Result], bucket: TestBucket, tmp_path: Path
):
    (tmp_path / "datasets.toml").write_text("version = 2\n")
    (tmp_path / "1.csv").write_text(HEADER)
    assert command("1.csv").stdout == f"1 object uploaded to {bucket.name}.\n  1.csv\n"


def test_removal_of_the_sample_takes_no_prefix(command: Callable[..., Result]):
    assert command("--remove-sample", "--prefix", "a").exit_code == 2
