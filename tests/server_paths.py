"""Where the servers that only tests use are installed: tests/servers/requirements.txt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ENVIRONMENT = Path(__file__).parent / "servers" / ".venv"


def server(name: str, pattern: str) -> Path:
    """The path of a file in the environment of the servers.

    Without it the test is skipped, or fails in CI.
    """
    found = next(ENVIRONMENT.glob(pattern), None)
    if found is None:
        message = f"{name} is not in tests/servers/.venv; `./run.sh test` installs it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
