"""Run our modules as processes that import nothing from their working directory.

That folder is a user's: an `api/` or `json.py` in it is not ours. `-P` keeps it off the path, and
a package that the interpreter does not find by itself, such as a checkout's, goes by PYTHONPATH.
"""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path
from typing import NoReturn

from etl.runtime.program import PROGRAM

_HOME = Path(__file__).resolve().parents[2]
_PATH = "PYTHONPATH"


def command(module: str, *arguments: str) -> list[str]:
    """`python -P -m MODULE ARGUMENTS`, with this interpreter."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The environment in which a child finds this very package, wherever it starts."""
    inherited = {name: value for name, value in os.environ.items() if name != _PATH}
    path = os.pathsep.join(_search_path())
    return inherited | ({_PATH: path} if path else {})


def _search_path() -> list[str]:
    """PYTHONPATH without its relative entries, which mean another folder in every process."""
    given = os.environ.get(_PATH, "").split(os.pathsep)
    own = [] if _is_installed() else [str(_HOME)]
    return own + [entry for entry in given if Path(entry).is_absolute()]


def _is_installed() -> bool:
    """Whether a fresh interpreter finds this package by itself."""
    return _HOME in (Path(folder).resolve() for folder in site.getsitepackages())


def bucketline() -> NoReturn:
    """The installed command: become `python -P -m etl`, under the name it was called by."""
    os.environ.setdefault(PROGRAM, "bucketline")
    words = command("etl", *sys.argv[1:])
    os.execve(words[0], words, environment())  # noqa: S606  (ourselves, no shell)
