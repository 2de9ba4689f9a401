"""The files that `seed` uploads, their keys, and the entries it leaves out."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.model.errors import ConfigurationError
from etl.storage.folder import LONGEST_KEY_BYTES, LocalFiles, files_of


def keys(found: LocalFiles) -> list[str]:
    return [file.key for file in found.files]


def reasons(folder: Path, found: LocalFiles) -> dict[str, str]:
    entries = [*found.skipped, *found.refused]
    return {one.name.removeprefix(f"{folder}/"): one.reason for one in entries}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files in it."""
    made = tmp_path / "folder"
    (made / "south").mkdir(parents=True)
    for name in ("b.csv", "south/a.csv"):
        (made / name).touch()
    return made


def test_folder_yields_every_file_below_it(folder: Path):
    found = files_of([folder])
    assert [(file.key, file.path) for file in found.files] == [
        ("b.csv", folder / "b.csv"),
        ("south/a.csv", folder / "south/a.csv"),
    ]
    assert reasons(folder, found) == {}


def test_single_file_is_keyed_by_its_name(folder: Path):
    assert keys(files_of([folder / "south/a.csv"])) == ["a.csv"]


def test_several_sources_give_all_their_files_once(folder: Path):
    assert keys(files_of([folder / "south", folder / "b.csv", folder / "b.csv"])) == [
        "a.csv",
        "b.csv",
    ]


def test_two_files_with_one_key_are_refused(folder: Path):
    (folder / "south/b.csv").touch()
    with pytest.raises(ConfigurationError, match=r"b\.csv and .*have the same object key, b\.csv"):
        files_of([folder, folder / "south"])


def test_folder_without_files_is_refused(tmp_path: Path):
    (tmp_path / "south").mkdir()
    with pytest.raises(ConfigurationError, match="contains no files"):
        files_of([tmp_path])


def test_folder_of_skipped_entries_names_them(tmp_path: Path):
    (tmp_path / "out").symlink_to("/etc/hostname")
    with pytest.raises(ConfigurationError, match="contains no files") as refusal:
        files_of([tmp_path])
    assert "out is a link that leads out of the folder" in refusal.value.hint


@pytest.mark.parametrize("name", ["nowhere", "new\nline", os.fsdecode(b"Ren\xe9")])
def test_missing_path_is_named(tmp_path: Path, name: str):
    with pytest.raises(ConfigurationError) as refusal:
        files_of([tmp_path / name])
    escaped = name.replace("\n", r"\n").encode(errors="surrogateescape")
    assert escaped.decode(errors="backslashreplace") in refusal.value.message
    assert "No such file or directory" in refusal.value.message


def test_links_out_of_the_folder_are_skipped(folder: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").touch()
    (folder / "file.csv").symlink_to(outside / "secret.csv")
    (folder / "relative.csv").symlink_to("../outside/secret.csv")
    (folder / "directory").symlink_to(outside)
    (folder / "south/chain.csv").symlink_to("../file.csv")
    (folder / "up").symlink_to("..")
    found = files_of([folder])
    assert keys(found) == ["b.csv", "south/a.csv"]
    assert reasons(folder, found) == dict.fromkeys(
        ("directory", "file.csv", "relative.csv", "up", "south/chain.csv"),
        "a link that leads out of the folder",
    )


def test_link_to_a_file_below_the_folder_is_followed(folder: Path):
    (folder / "again.csv").symlink_to("south/a.csv")
    found = files_of([folder])
    assert keys(found) == ["again.csv", "b.csv", "south/a.csv"]
    assert found.files[0].path == folder / "south/a.csv"


def test_link_to_a_folder_or_a_loop_is_skipped(folder: Path):
    (folder / "south/self").symlink_to("../south")
    (folder / "all").symlink_to(".")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("gone.csv")
    found = files_of([folder])
    assert keys(found) == ["b.csv", "south/a.csv"]
    assert reasons(folder, found) == {
        "all": "a link to a folder",
        "dangling": "a broken link",
        "loop": "a broken link",
        "south/self": "a link to a folder",
    }


def test_named_link_is_followed(folder: Path, tmp_path: Path):
    (tmp_path / "to-folder").symlink_to(folder)
    (tmp_path / "my.csv").symlink_to(folder / "b.csv")
    assert keys(files_of([tmp_path / "to-folder"])) == ["b.csv", "south/a.csv"]
    (file,) = files_of([tmp_path / "my.csv"]).files
    assert (file.key, file.path) == ("my.csv", folder / "b.csv")


def test_pipe_and_socket_are_skipped(folder: Path, monkeypatch: pytest.MonkeyPatch):
    os.mkfifo(folder / "pipe.csv")
    (folder / "to-pipe.csv").symlink_to("pipe.csv")
    monkeypatch.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        found = files_of([folder])
    assert keys(found) == ["b.csv", "south/a.csv"]
    assert reasons(folder, found) == dict.fromkeys(
        ("pipe.csv", "socket", "to-pipe.csv"), "neither a file nor a folder"
    )


def test_named_pipe_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ConfigurationError, match="neither a file nor a folder"):
        files_of([tmp_path / "pipe.csv"])


def test_name_that_is_not_utf_8_is_escaped_and_refused(folder: Path):
    (folder / os.fsdecode(b"Ren\xe9.csv")).touch()
    below = folder / os.fsdecode(b"\xff")
    below.mkdir()
    (below / "c.csv").touch()
    found = files_of([folder])
    assert keys(found) == ["b.csv", "south/a.csv"]
    assert reasons(folder, found) == dict.fromkeys(
        (r"Ren\xe9.csv", r"\xff/c.csv"), "its name is not UTF-8: rename it"
    )


def test_key_over_1024_bytes_is_refused_and_1024_is_not(folder: Path):
    parts = ["é" * 100, "d" * 200, "d" * 200, "d" * 200]
    name = "x" * (LONGEST_KEY_BYTES - sum(len(part.encode()) + 1 for part in parts))
    deep = folder.joinpath(*parts)
    deep.mkdir(parents=True)
    (deep / name).touch()
    (deep / f"{name}x").touch()
    found = files_of([folder])
    assert [len(key.encode()) for key in keys(found)[2:]] == [LONGEST_KEY_BYTES]
    (reason,) = reasons(folder, found).values()
    assert reason == "its path is longer than 1024 bytes: shorten it"


@pytest.mark.parametrize("name", ["back\\slash.csv", "new\nline.csv", "e\u0301.csv", "é.csv"])
def test_awkward_names_are_kept_byte_for_byte(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    assert keys(files_of([tmp_path])) == [name]


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a file 1,500 levels down; removed by `rm`, because shutil.rmtree() recurses."""
    folder = tmp_path / "deep"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    Path("x.csv").touch()
    os.chdir(tmp_path)
    yield folder
    subprocess.run(["/bin/rm", "-rf", folder], check=True)


def test_deeper_than_python_may_recurse(deep: Path):
    (deep / "d/b.csv").touch()
    found = files_of([deep])
    assert keys(found) == ["d/b.csv"]
    assert [one.reason for one in found.refused] == [
        "its path is longer than 1024 bytes: shorten it"
    ]


def test_own_files_and_folders_are_skipped(folder: Path):
    (folder / ".local/logs").mkdir(parents=True)
    (folder / ".local/credentials.json").touch()
    (folder / ".env").touch()
    (folder / "link").symlink_to(".local/credentials.json")
    found = files_of([folder], own=[folder / ".env", folder / ".local"])
    assert keys(found) == ["b.csv", "south/a.csv"]
    assert reasons(folder, found) == dict.fromkeys(
        (".env", ".local", "link"), "a file of Bucketline"
    )
