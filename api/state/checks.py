"""Checks of files in processes of their own, of which only a few run at a time."""

from __future__ import annotations

import pickle
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from api.state.slots import Slots
from etl.checks.file import CheckedFile, FileCheck, check_pickled
from etl.checks.preview import FirstRows, preview_parquet
from etl.model.errors import TransientError
from etl.runtime.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.settings import Settings

MAX_CHECKS = 2

Found = TypeVar("Found")


@dataclass
class FileChecks:
    """Checks each file in a new process with the memory limit of image work."""

    settings: Settings
    check: Callable[[bytes], CheckedFile] = check_pickled
    slots: Slots = field(default_factory=lambda: Slots(MAX_CHECKS))

    def run(self, task: FileCheck) -> CheckedFile:
        """What was found in the file.

        Raises:  TransientError if too many checks are running; WorkFailed if the process exceeded a
                 limit or crashed.
        """
        return self._call(self.check, pickle.dumps(task))

    def preview(self, path: str) -> FirstRows | None:
        """The first rows of a local Parquet file; None if it has a fault.

        Raises:  as `run`.
        """
        return self._call(preview_parquet, path.encode())

    def _call(self, work: Callable[[bytes], Found], message: bytes) -> Found:
        with self.slots.try_acquire() as is_free:
            if not is_free:
                raise TransientError(
                    f"The API is already checking {MAX_CHECKS} files.",
                    hint="Try again in a few seconds.",
                )
            with closing(self._sandbox(work)) as sandbox:
                return sandbox.call(message)

    def _sandbox(self, work: Callable[[bytes], Found]) -> Sandbox[Found]:
        return Sandbox(
            work,
            processes=1,
            seconds=self.settings.check_timeout.total_seconds(),
            memory_bytes=self.settings.image_memory_mb * 1024 * 1024,
        )
