"""The object stores that the tests run on, and what is true of each.

`./run.sh test --store seaweedfs` runs them on SeaweedFS, which the controlling process of pytest
starts for all workers. The embedded store needs nothing: the stack has it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench import seaweed
from etl.settings import Settings

EMBEDDED, SEAWEEDFS = "embedded", "seaweedfs"
STARTED = "BUCKETLINE_TEST_STORE"

# What tests may require with `@pytest.mark.store(trait)`.
NOTIFIES = "it sends notifications"
IN_BYTE_ORDER = "it lists keys in byte order"
IGNORES_CONDITIONS = "it ignores conditions of writes"
ENCRYPTS = "it encrypts on request"
FOLDERS_TAKE_KEYS = "an object cannot have the key of a folder"
KEEPS_BACKSLASHES = "it keeps backslashes in keys"
IN_FOLDER_ORDER = "it lists folders in the place of their names"
REFUSES_ENCRYPTION = "it refuses to encrypt"
VERSIONS = "it keeps versions"
PRECISE_TIMES = "it lists times in fractions of a second"
MISSING_BUCKETS = "it does not create a bucket for an object that is put into it"
STORES: dict[str, set[str]] = {
    EMBEDDED: {
        *(NOTIFIES, IN_BYTE_ORDER, IGNORES_CONDITIONS),
        *(FOLDERS_TAKE_KEYS, KEEPS_BACKSLASHES, REFUSES_ENCRYPTION),
        *(PRECISE_TIMES, MISSING_BUCKETS),
    },
    SEAWEEDFS: {ENCRYPTS, VERSIONS, IN_FOLDER_ORDER},
}


def start_store(name: str, folder: Path) -> Callable[[], None]:
    """Start the store for this process and its children; return what stops it."""
    running = ExitStack()
    if name == SEAWEEDFS:
        server = seaweed.running(Settings(_env_file=None), folder / "seaweedfs")
        try:
            filled = running.enter_context(server)
        except seaweed.SeaweedUnavailable as error:
            raise pytest.UsageError(f"--store {name}: {error}") from error
        secret = filled.s3_secret_key
        os.environ[STARTED] = json.dumps(
            {
                "s3_endpoint": filled.s3_endpoint,
                "s3_access_key": filled.s3_access_key,
                "s3_secret_key": secret.get_secret_value() if secret else "",
            }
        )
        running.callback(os.environ.pop, STARTED, None)
    return running.close


def name_of_store() -> str:
    """The store of this session."""
    return SEAWEEDFS if started_store() else EMBEDDED


def started_store() -> dict[str, str]:
    """The settings of the store that was started; empty for the embedded one."""
    found: dict[str, str] = json.loads(os.environ.get(STARTED, "{}"))
    return found
