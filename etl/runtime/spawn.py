"""Starts our modules as processes that import nothing from their working directory.

That folder is the user's and may contain an `api/` or `json.py`, so `-P` keeps it off the path. If
the interpreter does not find this package itself, as in a checkout, PYTHONPATH names its folder.
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
    """The environment in which a child imports this package from any working directory."""
    inherited = {name: value for name, value in os.environ.items() if name != _PATH}
    path = os.pathsep.join(_search_path())
    return inherited | ({_PATH: path} if path else {})


def _search_path() -> list[str]:
    """PYTHONPATH without relative entries, which depend on the working directory."""
    given = os.environ.get(_PATH, "").split(os.pathsep)
    own = [] if _is_installed() else [str(_HOME)]
    return own + [entry for entry in given if Path(entry).is_absolute()]


def _is_installed() -> bool:
    """Whether a new interpreter finds this package without PYTHONPATH."""
    return _HOME in (Path(folder).resolve() for folder in site.getsitepackages())


def bucketline() -> NoReturn:
    """The installed command: replace this process with `python -P -m etl`."""
    os.environ.setdefault(PROGRAM, "bucketline")
    words = command("etl", *sys.argv[1:])
    os.execve(words[0], words, environment())  # noqa: S606  (ourselves, no shell)
