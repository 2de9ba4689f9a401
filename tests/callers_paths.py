"""A pytest plugin for `./run.sh test`: resolves paths against the folder run.sh was called in.

pytest itself runs in Bucketline's folder. Only its own parser knows which arguments are paths.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from etl.cli.common import CALLERS_FOLDER


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    known = early_config.known_args_namespace
    known.file_or_dir = [_from_callers_folder(given) for given in known.file_or_dir]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        config.args = [_from_callers_folder(given) for given in config.args]


def _from_callers_folder(given: str) -> str:
    """A file or folder, or `file::test`."""
    return str(Path(os.environ.get(CALLERS_FOLDER, "")) / given)
