"""Upload a folder into the source bucket, file by file, under the paths it has there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from etl.errors import ConfigurationError
from etl.executor import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.bucket import ObjectStore

SAMPLE = Path(__file__).parent.parent / "data" / "src"
UPLOAD_THREADS = 8


def files_below(folder: Path) -> list[Path]:
    """Every file below the folder, in the order of their keys.

    Raises:  ConfigurationError when there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            f"{folder} is not a folder.", hint="Name the folder whose files to upload."
        )
    return sorted(path for path in folder.rglob("*") if path.is_file())


def seed(store: ObjectStore, bucket: str, folder: Path, *, uploaded: Callable[[], object]) -> int:
    """Upload every file below the folder; call `uploaded` after each; return how many."""
    files = files_below(folder)

    def upload(path: Path) -> None:
        store.put_file(bucket, path.relative_to(folder).as_posix(), path)
        uploaded()

    map_in_threads(upload, files, UPLOAD_THREADS)
    return len(files)
