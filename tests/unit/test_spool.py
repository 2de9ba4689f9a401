"""Content kept in a file while it is read: in memory, on disk, on a full disk."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.model.errors import ObjectChanged, TemporaryFileFailed
from etl.read.spool import MEMORY_BYTES, spooled

LARGEST_FILE_BYTES = MEMORY_BYTES + 100_000


@pytest.fixture
def limited_files() -> Iterator[None]:
    """No file of this process may grow beyond the limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_content_is_one_file_in_memory_or_on_disk():
    for size in (0, 1, MEMORY_BYTES, MEMORY_BYTES + 1, 3 * MEMORY_BYTES):
        content = os.urandom(size)
        parts = [content[start : start + 1_000_003] for start in range(0, size, 1_000_003)]
        with spooled(parts) as file:
            assert file.read() == content
            file.seek(size // 2)
            assert file.read() == content[size // 2 :]
        assert file.closed


@pytest.mark.usefixtures("limited_files")
def test_full_disk_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    parts = [bytes(MEMORY_BYTES), b"x" * 200_000]
    with pytest.raises(TemporaryFileFailed, match="File too large") as raised, spooled(parts):
        pass
    assert "TMPDIR" in raised.value.hint
    assert list(tmp_path.iterdir()) == []
    with spooled([bytes(MEMORY_BYTES), b"x"]) as file:
        assert len(file.read()) == MEMORY_BYTES + 1


def test_missing_folder_of_temporary_files_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with (
        pytest.raises(TemporaryFileFailed, match="No such file or directory"),
        spooled([bytes(MEMORY_BYTES + 1)]),
    ):
        pass


def test_failures_of_the_source_and_of_the_reader_pass():
    def parts() -> Iterator[bytes]:
        yield b"x"
        raise ObjectChanged("gone")

    with pytest.raises(ObjectChanged), spooled(parts()):
        pass
    with pytest.raises(OSError, match="of the reader"), spooled([b"x"]):
        raise OSError("of the reader")
