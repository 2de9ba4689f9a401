"""Upload a folder into the source bucket, file by file, under the paths it has there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from etl.errors import ConfigurationError
from etl.executor import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.bucket import ObjectStore

_INSTALLED = Path(__file__).parent / "_sample"  # the wheel's copy of data/src
SAMPLE = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1] / "data" / "src"
UPLOAD_THREADS = 8


def files_of(source: Path) -> list[Path]:
    """Every file below a folder, in the order of their keys; or the one file that is named.

    Raises:  ConfigurationError when there is nothing of that name, or no file below it.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ConfigurationError(
            f"There is no file or folder {source}.",
            hint="Name the folder whose files to upload, or one file.",
        )
    files = sorted(path for path in source.rglob("*") if path.is_file())
    if not files:
        raise ConfigurationError(
            f"{source} holds no file.", hint="Name a folder with files in it, or one file."
        )
    return files


def seed(store: ObjectStore, bucket: str, source: Path, *, uploaded: Callable[[], object]) -> int:
    """Upload a file, or every one below a folder; call `uploaded` after each; return how many.

    Raises:  as `files_of`, before anything is uploaded.
    """
    files = files_of(source)
    folder = source if source.is_dir() else source.parent

    def upload(path: Path) -> None:
        store.put_file(bucket, path.relative_to(folder).as_posix(), path)
        uploaded()

    map_in_threads(upload, files, UPLOAD_THREADS)
    return len(files)
