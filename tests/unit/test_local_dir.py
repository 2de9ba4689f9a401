"""Errors for an unusable LOCAL_DIR, and the log lines they quote."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from etl.local import unusable
from etl.model.errors import ConfigurationError, EtlError, TransientError
from etl.runtime.files import check_writable, last_lines


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        (errno.ENOSPC, TransientError, "Free space"),
        (errno.EDQUOT, TransientError, "Free space"),
        (errno.EACCES, ConfigurationError, "another LOCAL_DIR"),
        (errno.EROFS, ConfigurationError, "another LOCAL_DIR"),
    ],
)
def test_full_disk_may_pass_and_other_faults_do_not(code: int, kind: type[EtlError], hint: str):
    failure = unusable(Path(".local"), OSError(code, os.strerror(code)))
    assert type(failure) is kind
    assert os.strerror(code) in failure.message
    assert hint in failure.hint


def test_check_leaves_no_file_and_fails_if_not_writable(tmp_path: Path):
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        check_writable(tmp_path / "nowhere")


def test_log_is_quoted_from_the_start_of_this_process(tmp_path: Path):
    log = tmp_path / "api.log"
    log.write_text("of the one before\n")
    start = log.stat().st_size
    assert last_lines(log, start=start) == "(the log is empty)"
    with log.open("a") as end:
        end.write("of this one\n")
    assert last_lines(log, start=start) == "of this one"
    assert last_lines(log) == "of the one before\nof this one"
